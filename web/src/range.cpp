#include "range.hpp"

#include <cmath>

namespace web {
namespace {

Numbers gaps_of(Stream stream) {
    const Numbers tokens = stream.list(size_t(stream.digits(1 << 16, 1)[0]), 28);
    std::vector<uint32_t> large;
    size_t runs = 0;
    for (int64_t token : tokens) {
        if (token >= 16) large.push_back(uint32_t(1) << (token - 12));
        runs += token == 0;
    }
    const Numbers rests = stream.digits(large);
    const Numbers lengths = stream.number_list(runs, 17), distances = stream.number_list(runs, 17);
    check(stream.told() == 0, damaged);
    Numbers gaps;
    size_t rest = 0, run = 0;
    for (int64_t token : tokens) {
        if (token >= 16) {
            gaps.push_back(large[rest] + rests[rest]);
            rest++;
        } else if (token) {
            gaps.push_back(token);
        } else {
            const size_t length = size_t(lengths[run] + 16), distance = size_t(distances[run] + 1);
            run++;
            check(distance <= gaps.size() && gaps.size() + length <= 1 << 16, damaged);
            for (size_t i = 0; i < length; i++) gaps.push_back(gaps[gaps.size() - distance]);
        }
    }
    return gaps;
}

}  // namespace

Range::Range(Fields& fields) : low(fields.u16()) {
    const int span = fields.u16(), ranked = fields.u8();
    check(ranked < 2 && low + span <= 65535, damaged);
    mapping.top = span;
    if (ranked) {
        table.push_back(uint16_t(low));
        int64_t sample = low;
        for (int64_t gap : gaps_of(Stream(fields.part(fields.varint())))) {
            sample += gap;
            check(sample <= low + span, damaged);
            table.push_back(uint16_t(sample));
        }
        check(sample == low + span, damaged);
        mapping.top = int(table.size()) - 1;
    }
    int octaves = 0;
    while (std::round(std::exp2((octaves + 1) / 16.0)) <= mapping.top + 1) octaves++;
    mapping.log_gain = octaves - 128;
}

}  // namespace web
