# Adds to the target `kernels` the translation units of each instruction set that this compiler knows, with their flags.
#
# The architecture is asked of the compiler and not of CMake, whose CMAKE_SYSTEM_PROCESSOR names the machine that
# compiles. MSVC needs other flags than GCC and Clang; clang-cl takes those of Clang.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)

if(CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
  set(AVX2_FLAGS /arch:AVX2)
  set(AVXVNNI_FLAGS /arch:AVX2)
  set(AVX512VNNI_FLAGS /arch:AVX512)
  set(AMX_FLAGS /arch:AVX512)
  set(NEON_FLAGS "")
else()
  set(AVX2_FLAGS -mavx2)
  set(AVXVNNI_FLAGS -mavx2 -mavxvnni)
  set(AVX512VNNI_FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  set(AMX_FLAGS ${AVX512VNNI_FLAGS} -mamx-tile -mamx-int8)
  set(NEON_FLAGS -march=armv8.2-a+dotprod)
endif()

check_cxx_source_compiles("
#if !defined(__x86_64__) && !(defined(_M_X64) && !defined(_M_ARM64EC))
#error
#endif
int main() {}" NEURALCODEC_X86)
check_cxx_source_compiles("
#if !defined(__aarch64__) && !defined(_M_ARM64)
#error
#endif
int main() {}" NEURALCODEC_ARM)

# add_instruction_set(NAME FILE...): FILEs for the instruction set NAME, and the definition NEURALCODEC_NAME for
# the dispatch, if the compiler takes the set's flags.
function(add_instruction_set name)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
    string(REPLACE ";" " " flags "${${name}_FLAGS}")
    check_cxx_compiler_flag("${flags}" NEURALCODEC_TAKES_${name})
    if(NOT NEURALCODEC_TAKES_${name})
      message(STATUS "without kernels for ${name}: the compiler does not take ${flags}")
      return()
    endif()
  endif()
  target_sources(kernels PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${${name}_FLAGS}")
  target_compile_definitions(kernels PRIVATE NEURALCODEC_${name})
endfunction()
