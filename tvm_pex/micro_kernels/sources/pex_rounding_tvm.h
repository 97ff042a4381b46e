/* How results are rounded: as stock TVM does it, by floor((v * m + 2^(s - 1)) / 2^s), for s >= 33.
 *
 * The low word of the product cannot change the floor. The half that rounds is the last of the bits that are shifted
 * out, so it comes with the zero point: ((high word >> (s - 33)) + 1 + 2 z) >> 1. The parameters hold s - 33. */
#ifndef PEX_ROUNDING_H
#define PEX_ROUNDING_H

#include "pex_kernels.h"

/* Twice the result, and a fraction. */
PEX_INLINE int32_t pex_twice(int32_t sum, int32_t multiplier, int32_t shift, int32_t offset) {
  int32_t high = (int32_t)(((int64_t)sum * multiplier) >> 32);
  return (high >> shift) + offset;
}

/* An odd sum of pex_pairs.c, 256 times as large, which its parameters know. */
PEX_INLINE int32_t pex_odd(int32_t sum) { return sum; }

/* The same for loops written by hand: before a shift to the right. Registers are `sum`, which is changed, `factor`, and
 * `low`, which is lost. */
#define PEX_EVEN_SUM(sum) ""
#define PEX_ODD_SUM(sum) ""
#if defined(__ARM_FEATURE_DSP)
#define PEX_HIGH(sum, factor, low) "smmul " sum ", " sum ", " factor "\n"
#else
#define PEX_HIGH(sum, factor, low) "smull " low ", " sum ", " factor ", " sum "\n"
#endif

/* And for vectors, before a rounding shift by s - 32: to the left by its negative, which is the complement of s - 33. */
#define PEX_HIGHS(sums, factors) "vmulh.s32 " sums ", " sums ", " factors "\n"
#if PEX_MVE
#include <arm_mve.h>

PEX_INLINE int32x4_t pex_highs(int32x4_t sums, int32x4_t factors) { return vmulhq_s32(sums, factors); }
#endif

#endif
