/* pex_add as TFLite's reference kernels do it: differences to the zero points, 2^20 times as large, are rescaled and
 * added, and the sum is rescaled once more. `parameters` are zero point, multiplier and shift of both operands, those of
 * the sum, then low and high. A rescale multiplies by multiplier / 2^31, rounds, and shifts, halves away from zero. */
#include "pex_kernels.h"

#define BITS 20

#if PEX_MVE

#include <arm_mve.h>

/* The sign goes into the halves of a shift, if there is one. */
struct rescale {
  int32x4_t signs;
  int32_t multiplier, left_shift;
};

PEX_INLINE struct rescale rescale_of(int32_t multiplier, int32_t shift) {
  return (struct rescale){vdupq_n_s32(shift > 0 ? -1 : 0), multiplier, -shift};
}

PEX_INLINE int32x4_t rescaled(int32x4_t values, const struct rescale* by) {
  int32x4_t high = vqrdmulhq_n_s32(values, by->multiplier);
  int32x4_t negative = vandq_s32(vshrq_n_s32(high, 31), by->signs);
  return vrshlq_n_s32(vaddq_s32(high, negative), by->left_shift);
}

int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count) {
  const int32_t* p = parameters;
  struct rescale of_a = rescale_of(p[1], p[2]), of_b = rescale_of(p[4], p[5]), of_sum = rescale_of(p[7], p[8]);
  for (; count > 0; count -= 4, a += 4, b += 4, y += 4) {
    mve_pred16_t there = vctp32q((uint32_t)count);
    int32x4_t va = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(a, there), p[0]), BITS);
    int32x4_t vb = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(b, there), p[3]), BITS);
    int32x4_t sum = rescaled(vaddq_s32(rescaled(va, &of_a), rescaled(vb, &of_b)), &of_sum);
    sum = vminq_s32(vmaxq_s32(vaddq_n_s32(sum, p[6]), vdupq_n_s32(p[9])), vdupq_n_s32(p[10]));
    vstrbq_p_s32(y, sum, there);
  }
  return 0;
}

#else

#include "pex_requantise.h"

/* `sign`: -1, or 0 where nothing is shifted out. */
struct rescale {
  int32_t multiplier, shift, half, sign;
};

PEX_INLINE struct rescale rescale_of(int32_t multiplier, int32_t shift) {
  return (struct rescale){multiplier, shift, (int32_t)((1U << shift) >> 1), shift > 0 ? -1 : 0};
}

PEX_INLINE int32_t rescaled(int32_t value, struct rescale by) {
  int32_t high = (int32_t)(((int64_t)(2 * value) * by.multiplier + 0x80000000LL) >> 32);
  return (high + by.half + ((high >> 31) & by.sign)) >> by.shift;
}

int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count) {
  const int32_t* p = parameters;
  struct rescale of_a = rescale_of(p[1], p[2]), of_b = rescale_of(p[4], p[5]), of_sum = rescale_of(p[7], p[8]);
  for (int32_t k = 0; k < count; k++) {
    int32_t sum = rescaled((a[k] - p[0]) * (1 << BITS), of_a) + rescaled((b[k] - p[3]) * (1 << BITS), of_b);
    y[k] = (int8_t)pex_clip(rescaled(sum, of_sum) + p[6], p[9], p[10]);
  }
  return 0;
}

#endif
