/* Convolutions whose weights lie output channel by output channel, `depth` bytes each, the inputs in the order in which
 * they lie: for vectors of inputs, and for sums that pex_pairs.c has no bits for. */
#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__)
#pragma GCC optimize("O1") /* without, too few registers are left to the loops in assembly */
#endif

#include "pex_requantise.h"
#include "pex_window.h"

#if PEX_MVE

#include "pex_lanes_mve.h"

#else

PEX_INLINE int32_t sum_of(const struct pex_window* window, int32_t bytes, const int8_t* w) {
  int32_t sum = 0;
  for (int32_t k = 0; k < window->count; k++)
    for (const int8_t *x = window->lines.at[k], *end = x + bytes; x != end; x++) sum += *x * *w++;
  return sum;
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t bytes, int32_t found, const int8_t* w,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  for (;;) {
    for (int32_t c = 0; c < p->outputs; c++) {
      const struct pex_block* of = block + c / 4;
      int32_t sum = of->bias[c % 4] + sum_of(window, bytes, w + c * p->depth);
      int32_t shifted = (int32_t)((uint32_t)sum << p->left_shifts[0]);
      int32_t twice = pex_twice(shifted, of->multiplier[c % 4], ~of->shift[c % 4], p->offset);
      y[c] = (int8_t)pex_clip(twice >> 1, p->low, p->high);
    }
    if (--found <= 0) return;
    pex_move_on(window, 1);
    y += p->output_pitch;
  }
}

static void pixels_by_patch(int8_t* patch, const int8_t* x, int32_t row, int32_t column, int32_t pixels, const int8_t* w,
                            const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  struct pex_window window;
  window.lines.at[0] = patch, window.count = window.columns = window.pixels = 1;
  for (; pixels > 0; pixels--, column++, y += p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    pixels_of(&window, p->depth, 1, w, block, p, y);
  }
}

#endif

int32_t pex_lanes(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                  int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->depth;
  struct pex_window window;
  while (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels, 1);
    int32_t found = window.pixels;
    pixels -= found, column += found;
    pixels_of(&window, window.columns * p->channels, found, w, block, p, y);
    y += found * p->output_pitch;
  }
  return 0;
}

int32_t pex_lanes_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  pixels_by_patch(patch, x, row, column, pixels, weights + 4 * first * p->depth, pex_blocks(parameters) + first, p, y);
  return 0;
}
