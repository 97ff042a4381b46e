/* y = 3 x + side, in x's place; and the misdeeds that the first byte of side asks for. */
#include <tvmgen_default.h>

enum { X = 600, SIDE = 20, FAIL = 100, OVERFLOW_STACK = 101, HANG = 102 };

static int32_t deep(volatile uint8_t* below, int32_t levels) {
  volatile uint8_t here[256];
  here[0] = (uint8_t)levels;
  if (below) here[1] = below[0];
  return levels ? deep(here, levels - 1) + here[0] : here[0];
}

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs,
                           struct tvmgen_default_workspace_pools* pools) {
  int8_t* side = inputs->side;
  int8_t* y = outputs->y;
  if ((int8_t*)inputs->x != y || y != (int8_t*)pools->arena + 112) return -2;
  if (side[0] == FAIL) return -7;
  if (side[0] == OVERFLOW_STACK) return deep(0, 20) & 0;
  while (side[0] == HANG) {
  }
  for (int k = 0; k < X; k++) y[k] = (int8_t)(3 * y[k] + side[k % SIDE]);
  return 0;
}
