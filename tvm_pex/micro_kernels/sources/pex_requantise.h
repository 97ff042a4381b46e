/* The requantise of tvm_pex.graph in few instructions. pex_rounding.h is pex_rounding_tvm.h or pex_rounding_tflite.h, as
 * the program was asked to round. */
#ifndef PEX_REQUANTISE_H
#define PEX_REQUANTISE_H

#include "pex_kernels.h"
#include "pex_rounding.h"

PEX_INLINE int32_t pex_clip(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}

/* Half of pex_twice, within 8 bits: one instruction where compilers do not find it by themselves. */
PEX_INLINE int8_t pex_half(int32_t twice) {
#if defined(__ARM_FEATURE_SAT)
  int32_t result;
  __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(twice));
  return (int8_t)result;
#else
  return (int8_t)pex_clip(twice >> 1, -128, 127);
#endif
}

PEX_INLINE int8_t pex_special(int32_t sum, int32_t k, const struct pex_block* block, const struct pex_parameters* p) {
  int32_t shifted = (int32_t)((uint32_t)sum << p->left_shifts[k % 2]);
  return (int8_t)pex_clip(pex_twice(shifted, block->multiplier[k], block->shift[k], p->offset) >> 1, p->low, p->high);
}

/* The results of a block, from its four sums; the first `count` are stored. */
PEX_INLINE void pex_put(int8_t* y, int32_t sum0, int32_t sum1, int32_t sum2, int32_t sum3,
                        const struct pex_block* block, const struct pex_parameters* p, int32_t count) {
  if (p->special || count < 4) {
    y[0] = pex_special(sum0, 0, block, p);
    if (count > 1) y[1] = pex_special(sum1, 1, block, p);
    if (count > 2) y[2] = pex_special(sum2, 2, block, p);
    if (count > 3) y[3] = pex_special(sum3, 3, block, p);
    return;
  }
  int32_t offset = p->offset;
  y[0] = pex_half(pex_twice(sum0, block->multiplier[0], block->shift[0], offset));
  y[1] = pex_half(pex_twice(sum1, block->multiplier[1], block->shift[1], offset));
  y[2] = pex_half(pex_twice(sum2, block->multiplier[2], block->shift[2], offset));
  y[3] = pex_half(pex_twice(sum3, block->multiplier[3], block->shift[3], offset));
}

#endif
