#include "case.h"

#include "pex_kernels.h"

void run_call(const struct call* call, uint8_t* const bases[PARTS]) {
  int8_t* of[PARTS];
  for (int k = 0; k < PARTS; k++) of[k] = (int8_t*)bases[k] + call->parts[k].start;
  int8_t *x = of[X], *w = of[WEIGHTS], *y = of[Y];
  int32_t *p = (int32_t*)of[PARAMETERS], row = call->row, column = call->column, pixels = call->pixels;
  switch (call->kernel) {
    case PAIRS: pex_pairs(x, w, p, y, row, column, pixels, call->first); break;
    case PAIRS_PATCH: pex_pairs_patch(x, w, p, y, row, column, pixels, call->first, of[PATCH]); break;
    case WIDE: pex_pairs_wide(x, w, p, y, row, column, pixels, call->first, of[PATCH]); break;
    case WIDE_PATCH: pex_pairs_wide_patch(x, w, p, y, row, column, pixels, call->first, of[PATCH]); break;
    case LANES: pex_lanes(x, w, p, y, row, column, pixels, call->first); break;
    case LANES_PATCH: pex_lanes_patch(x, w, p, y, row, column, pixels, call->first, of[PATCH]); break;
    case DEPTHWISE: pex_depthwise(x, w, p, y, row, column, pixels, call->first); break;
    case DEPTHWISE_LANES: pex_depthwise_lanes(x, w, p, y, row, column, pixels, call->first); break;
    case ADD: pex_add(x, of[B], p, y, pixels); break;
    case SUM_INT16: pex_sum_int16(x, (int16_t*)y, pixels, call->channels, call->pitch); break;
    case SUM_INT32: pex_sum_int32(x, (int32_t*)y, pixels, call->channels, call->pitch); break;
  }
}
