#include "pex_kernels.h"

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
