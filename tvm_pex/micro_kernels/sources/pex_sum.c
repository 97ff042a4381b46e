#include "pex_kernels.h"

#if PEX_MVE

/* Pixel by pixel, as many channels at a time as a vector has sums of `bits` bits. */
#define SUM(bits, letter, lanes)                                                                                        \
  int32_t pex_sum_int##bits(int8_t* x, int##bits##_t* sums, int32_t pixels, int32_t channels, int32_t pitch) {        \
    for (; pixels > 0; pixels--, x += pitch) {                                                                       \
      const int8_t* from = x;                                                                                        \
      int##bits##_t* at = sums;                                                                                      \
      __asm__ volatile(                                                                                              \
          "wlstp." #bits " lr, %[channels], 2f\n"                                                                    \
          "1:\n"                                                                                                     \
          "vldrb.s" #bits " q0, [%[from]], #" #lanes "\n"                                                            \
          "vldr" #letter "." #bits " q1, [%[at]]\n"                                                         \
          "vadd.i" #bits " q1, q1, q0\n"                                                                             \
          "vstr" #letter "." #bits " q1, [%[at]], #16\n"                                                    \
          "letp lr, 1b\n"                                                                                            \
          "2:\n"                                                                                                     \
          : [from] "+l"(from), [at] "+r"(at)                                                                         \
          : [channels] "r"(channels)                                                                                 \
          : "q0", "q1", "lr", "memory");                                                                             \
    }                                                                                                                \
    return 0;                                                                                                        \
  }

SUM(16, h, 8)
SUM(32, w, 4)

#else

#define SUM(dtype)                                                                                               \
  int32_t pex_sum_##dtype(int8_t* x, dtype##_t* sums, int32_t pixels, int32_t channels, int32_t pitch) {          \
    for (int32_t channel = 0; channel < channels; channel++) {                                                    \
      const int8_t *at = x + channel, *end = at + pixels * pitch;                                                 \
      int32_t sum = sums[channel];                                                                                \
      for (; at != end; at += pitch) sum += *at;                                                                  \
      sums[channel] = (dtype##_t)sum;                                                                             \
    }                                                                                                             \
    return 0;                                                                                                     \
  }

SUM(int16)
SUM(int32)

#endif
