#include "exact.hpp"

#include <cmath>

namespace web {

using namespace neuralcodec;

namespace {

constexpr int32_t total = logistic::total;

// Rounding errors of doubles are far too small to change one of these integers; a model's id has their checksum.
std::vector<int32_t> sigmoid() {
    std::vector<int32_t> table(2 * logistic::reach + 1);
    for (int z = 0; z <= logistic::reach; z++) {
        const int32_t s = z == logistic::reach ? total : int32_t(total / (1 + std::exp(z / -1024.0)) + 0.5);
        table[size_t(logistic::reach - z)] = total - s;
        table[size_t(logistic::reach + z)] = s;
    }
    return table;
}

std::vector<int32_t> inverse_scale() {
    std::vector<int32_t> table;
    for (int s = logistic::least_scale; s <= logistic::largest_scale; s++)
        table.push_back(int32_t(std::round(std::exp2(24 - s / 16.0))));
    return table;
}

std::vector<int32_t> log2_fractions() {
    std::vector<int32_t> table;
    for (int b = 0; b < 4096; b++) table.push_back(int32_t(65536 * std::log2((8193 + 2 * b) / 8192.0)));
    return table;
}

}  // namespace

Exact::Exact() : logistic(sigmoid().data(), inverse_scale().data(), log2_fractions().data()) {
    for (int d = 0; d < bands::weight_steps; d++) powers.push_back(int64_t(std::round(std::exp2(16 - d / 16.0))));
    for (int i = 0; i < backward::scale_steps; i++) {
        const double sd = std::sqrt(3.29 * std::exp2((i + logistic::least_scale) / 8.0) + 1 / 12.0);
        deviations.inverse[i] = int32_t(std::round(16384 / sd));
        deviations.deviation[i] = int32_t(std::round(256 * sd));
        deviations.reach[i] = (128 << 16) / deviations.inverse[i] + 1;
    }
}

const Exact& exact() {
    static const Exact* found = new Exact;
    return *found;
}

}  // namespace web
