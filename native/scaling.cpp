#include "scaling.hpp"

namespace neuralcodec {

void scale(const int64_t* values, const int64_t* digits, Factors up, Factors down, ptrdiff_t count, int64_t* quotient,
           uint32_t* rest) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const int64_t scaled = int64_t(uint64_t(values[i]) * up[i] + uint64_t(digits[i])), by = down[i];
        int64_t whole = scaled / by, left = scaled % by;
        // Division cuts towards zero; these are rounded down.
        whole -= left < 0;
        left += left < 0 ? by : 0;
        quotient[i] = whole;
        rest[i] = uint32_t(left);
    }
}

}  // namespace neuralcodec
