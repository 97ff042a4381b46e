#include "pex_requantise.h"

#define SHIFT 22

int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count) {
  int32_t scale_a = parameters[0], half_a = parameters[1], scale_b = parameters[2], half_b = parameters[3];
  int32_t low = parameters[4], high = parameters[5];
  for (int32_t k = 0; k < count; k++) {
    int32_t sum = ((a[k] * scale_a + half_a) >> SHIFT) + ((b[k] * scale_b + half_b) >> SHIFT);
    y[k] = (int8_t)pex_clip(sum, low, high);
  }
  return 0;
}
