/* pex_requantise.h for vectors of four sums. The shift, the half and the loss of the last bit are a rounding shift by one
 * bit more. To the left by its negative: that is what parameters for vectors hold, the complement of the shift. */
#ifndef PEX_REQUANTISE_MVE_H
#define PEX_REQUANTISE_MVE_H

#include "pex_kernels.h"
#include "pex_rounding.h"

/* What holds for all channels. */
struct pex_limits {
  int32x4_t low, high;
  int32_t left_shift, zero;
};

PEX_INLINE struct pex_limits pex_limits(const struct pex_parameters* p) {
  return (struct pex_limits){vdupq_n_s32(p->low), vdupq_n_s32(p->high), p->left_shifts[0], p->offset >> 1};
}

/* Four results, of 32 bits. */
PEX_INLINE int32x4_t pex_results(int32x4_t sums, int32x4_t multiplier, int32x4_t shift, struct pex_limits limits) {
  int32x4_t high = pex_highs(vshlq_r_s32(sums, limits.left_shift), multiplier);
  int32x4_t result = vaddq_n_s32(vrshlq_s32(high, shift), limits.zero);
  return vminq_s32(vmaxq_s32(result, limits.low), limits.high);
}

#endif
