#include "pex_requantise.h"

#define SHIFT 22

#if PEX_MVE

#include <arm_mve.h>

int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count) {
  int32x4_t scale_a = vdupq_n_s32(parameters[0]), scale_b = vdupq_n_s32(parameters[2]);
  int32x4_t low = vdupq_n_s32(parameters[4]), high = vdupq_n_s32(parameters[5]);
  __asm__ volatile(
      "wlstp.32 lr, %[count], 2f\n"
      "1:\n"
      "vldrb.s32 q0, [%[a]], #4\n"
      "vldrb.s32 q1, [%[b]], #4\n"
      "vmlas.s32 q0, %q[scale_a], %[half_a]\n"
      "vmlas.s32 q1, %q[scale_b], %[half_b]\n"
      "vshr.s32 q0, q0, #22\n"
      "vshr.s32 q1, q1, #22\n"
      "vadd.i32 q0, q0, q1\n"
      "vmax.s32 q0, q0, %q[low]\n"
      "vmin.s32 q0, q0, %q[high]\n"
      "vstrb.32 q0, [%[y]], #4\n"
      "letp lr, 1b\n"
      "2:\n"
      : [a] "+l"(a), [b] "+l"(b), [y] "+l"(y)
      : [count] "r"(count), [scale_a] "w"(scale_a), [half_a] "r"(parameters[1]), [scale_b] "w"(scale_b),
        [half_b] "r"(parameters[3]), [low] "w"(low), [high] "w"(high)
      : "q0", "q1", "lr", "memory");
  return 0;
}

#else

int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count) {
  int32_t scale_a = parameters[0], half_a = parameters[1], scale_b = parameters[2], half_b = parameters[3];
  int32_t low = parameters[4], high = parameters[5];
  for (int32_t k = 0; k < count; k++) {
    int32_t sum = ((a[k] * scale_a + half_a) >> SHIFT) + ((b[k] * scale_b + half_b) >> SHIFT);
    y[k] = (int8_t)pex_clip(sum, low, high);
  }
  return 0;
}

#endif
