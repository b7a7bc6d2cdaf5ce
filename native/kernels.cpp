#include "kernels.hpp"

namespace neuralcodec {

const Kernels& kernels(InstructionSet set) {
    static const Kernels tables[] = {
        {InstructionSet::portable, convolution_portable, mixtures_portable, bands_portable,
         predictor_portable, backward_portable, adaptation_portable},
#if defined(NEURALCODEC_NEON)
        {InstructionSet::neon, convolution_neon, mixtures_portable, bands_portable,
         predictor_portable, backward_portable, adaptation_portable},
#endif
#if defined(NEURALCODEC_AVX2)
        {InstructionSet::avx2, convolution_avx2, mixtures_avx2, bands_avx2,
         predictor_avx2, backward_avx2, adaptation_avx2},
#endif
#if defined(NEURALCODEC_AVXVNNI)
        {InstructionSet::avxvnni, convolution_avxvnni, mixtures_avx2, bands_avx2,
         predictor_avx2, backward_avx2, adaptation_avx2},
#endif
#if defined(NEURALCODEC_AVX512VNNI)
        {InstructionSet::avx512vnni, convolution_avx512vnni, mixtures_avx512vnni, bands_avx512vnni,
         predictor_avx512vnni, backward_avx512vnni, adaptation_avx512vnni},
#endif
#if defined(NEURALCODEC_AMX)
        {InstructionSet::amx, convolution_amx, mixtures_avx512vnni, bands_avx512vnni,
         predictor_avx512vnni, backward_avx512vnni, adaptation_avx512vnni},
#endif
#if defined(NEURALCODEC_EMULATE_AMX)
        {InstructionSet::amx_emulated, convolution_amx_emulated, mixtures_portable, bands_portable,
         predictor_portable, backward_portable, adaptation_portable},
#endif
    };
    for (const Kernels& table : tables)
        if (table.set == set) return table;
    return tables[0];
}

}  // namespace neuralcodec
