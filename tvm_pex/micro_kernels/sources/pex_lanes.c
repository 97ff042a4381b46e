/* Convolutions whose weights lie output channel by output channel, `depth` bytes each, the inputs in the order in which
 * they lie: for vectors of inputs, and for sums that pex_pairs.c has no bits for. */
#include "pex_memory.h"
#include "pex_requantise.h"
#include "pex_window.h"

#if PEX_MVE

#include "pex_lanes_mve.h"

#else

/* Adds the products of `bytes` inputs at `x` with the weights of four channels, which lie `depth` apart. */
PEX_INLINE void add_run(int32_t sums[4], const int8_t* x, const int8_t* w, int32_t depth, int32_t bytes) {
  const int8_t *w1 = w + depth, *w2 = w1 + depth, *w3 = w2 + depth, *end = x + bytes;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  do {
    int32_t value = *x++;
    a += value * *w++, b += value * *w1++, c += value * *w2++, d += value * *w3++;
  } while (x != end);
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* `at` are the starts of `count` runs of `bytes` inputs. */
static void one_pixel(const int8_t* const* at, int32_t count, int32_t bytes, const int8_t* weights,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++, weights += 4 * p->depth) {
    int32_t sums[4] = {block->bias[0], block->bias[1], block->bias[2], block->bias[3]};
    for (int32_t k = 0; k < count; k++) add_run(sums, at[k], weights + k * bytes, p->depth, bytes);
    pex_put(y, sums, block, p, left);
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
    int32_t bytes = window.columns * p->channels, found = window.pixels;
    pixels -= found, column += found;
#if PEX_MVE
    for (; found > 2; found -= 3, y += 3 * p->output_pitch) {
      three_pixels(&window, bytes, w, block, p, y);
      pex_move_on(&window, 3);
    }
#endif
    for (;;) {
      if (found > 0) one_pixel(window.at, window.count, bytes, w, block, p, y), y += p->output_pitch;
      if (--found <= 0) break;
      pex_move_on(&window, 1);
    }
  }
  return 0;
}

int32_t pex_lanes_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const int8_t* const at[1] = {patch};
  for (; pixels > 0; pixels--, column++, y += p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    one_pixel(at, 1, p->depth, weights + 4 * first * p->depth, pex_blocks(parameters) + first, p, y);
  }
  return 0;
}
