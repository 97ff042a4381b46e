/* Convolutions of each channel by itself, sixteen channels at a time. Weights: for each sixteen channels the window's
 * positions, sixteen bytes each. */
#include "pex_requantise.h"
#include "pex_window.h"

#if PEX_MVE

#include "pex_depthwise_lanes_mve.h"

#else

PEX_INLINE int32_t sum_of(const struct pex_window* window, int32_t channel, const int8_t* w) {
  int32_t sum = 0;
  for (int32_t k = 0; k < window->count; k++) {
    const int8_t* x = window->lines.at[k] + channel;
    int32_t step = window->columns > 1 ? window->lines.rows.moves[k].step : 0;
    for (int32_t m = 0; m < window->columns; m++, w += 16) sum += x[m * step] * *w;
  }
  return sum;
}

/* All channels of the pixel whose window this is. */
static void one_pixel(const struct pex_window* window, const int8_t* w, const struct pex_block* blocks,
                      const struct pex_parameters* p, int8_t* y) {
  int32_t positions = window->count * window->columns;
  for (int32_t channel = 0; channel < p->outputs; channel++) {
    const struct pex_block* block = blocks + channel / 16 * 4 + channel % 4;
    int32_t lane = channel % 16 / 4, shift = ~block->shift[lane];
    int32_t sum = block->bias[lane] + sum_of(window, channel, w + channel / 16 * 16 * positions + channel % 16);
    int32_t twice = pex_twice((int32_t)((uint32_t)sum << p->left_shifts[0]), block->multiplier[lane], shift, p->offset);
    y[channel] = (int8_t)pex_clip(twice >> 1, p->low, p->high);
  }
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t found, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, int8_t* y) {
  for (; found > 0; found--, y += p->output_pitch) {
    one_pixel(window, w, block, p, y);
    if (found > 1) pex_move_on(window, 1);
  }
}

#endif

int32_t pex_depthwise_lanes(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                           int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->kernel_rows * p->kernel_columns;
  struct pex_window window;
  while (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels, 0);
    int32_t found = window.pixels;
    pixels -= found, column += found;
    pixels_of(&window, found, w, block, p, y);
    y += found * p->output_pitch;
  }
  return 0;
}
