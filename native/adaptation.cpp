#include "adaptation.hpp"

namespace neuralcodec {

void solve(double* matrix, double* right, int rows) {
    const auto at = [&](int row, int column) -> double& { return matrix[row * rows + column]; };
    for (int i = 0; i < rows; i++)
        for (int j = i + 1; j < rows; j++) {
            const double factor = at(j, i) / at(i, i);
            for (int m = i + 1; m < rows; m++) at(j, m) -= factor * at(i, m);
            right[j] -= factor * right[i];
        }
    for (int i = rows; i-- > 0;) {
        for (int j = i + 1; j < rows; j++) right[i] -= at(i, j) * right[j];
        right[i] /= at(i, i);
    }
}

}  // namespace neuralcodec
