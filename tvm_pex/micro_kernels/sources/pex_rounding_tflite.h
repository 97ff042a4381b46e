/* How results are rounded: as TFLite's reference kernels do it, twice. First h = floor((v * m + 2^30) / 2^31), which is
 * the high word of 2 * v * m, rounded; then h / 2^(s - 31) with halves away from zero, for s >= 32.
 *
 * The second is floor((h - 1) / 2^(s - 31) + 1/2) for a negative h. Its half is the last of the bits that are shifted out,
 * so it comes with the zero point: ((h or h - 1) >> (s - 32)) + 1 + 2 z) >> 1. The parameters hold s - 32. */
#ifndef PEX_ROUNDING_H
#define PEX_ROUNDING_H

#include "pex_kernels.h"

/* Twice the result, and a fraction. */
PEX_INLINE int32_t pex_twice(int32_t sum, int32_t multiplier, int32_t shift, int32_t offset) {
  int32_t high = (int32_t)(((int64_t)(2 * sum) * multiplier + 0x80000000LL) >> 32);
  return ((high + (high >> 31)) >> shift) + offset;
}

/* An odd sum of pex_pairs.c, 256 times as large. */
PEX_INLINE int32_t pex_odd(int32_t sum) { return sum >> 8; }

/* The same for loops written by hand: before a shift to the right. Registers are `sum`, which is changed, `factor`, and
 * `low`, which is lost. Sums are doubled first. */
#define PEX_EVEN_SUM(sum) "lsl " sum ", " sum ", #1\n"
#define PEX_ODD_SUM(sum) "asr " sum ", " sum ", #7\n"
#if defined(__ARM_FEATURE_DSP)
#define PEX_HIGH(sum, factor, low) "smmulr " sum ", " sum ", " factor "\n" PEX_ONE_LESS(sum)
#else
#define PEX_HIGH(sum, factor, low)                                                                          \
  "smull " low ", " sum ", " factor ", " sum "\nadds " low ", " low ", #0x80000000\nadc " sum ", " sum ", #0\n" \
  PEX_ONE_LESS(sum)
#endif
#define PEX_ONE_LESS(sum) "add " sum ", " sum ", " sum ", asr #31\n"

/* And for vectors, before a rounding shift by s - 31: to the left by its negative, which is the complement of s - 32.
 * `factors` are lost. */
#define PEX_HIGHS(sums, factors)                                                           \
  "vqrdmulh.s32 " sums ", " sums ", " factors "\nvshr.s32 " factors ", " sums ", #31\n" \
  "vadd.i32 " sums ", " sums ", " factors "\n"
#if PEX_MVE
#include <arm_mve.h>

PEX_INLINE int32x4_t pex_highs(int32x4_t sums, int32x4_t factors) {
  int32x4_t high = vqrdmulhq_s32(sums, factors);
  return vaddq_s32(high, vshrq_n_s32(high, 31));
}
#endif

#endif
