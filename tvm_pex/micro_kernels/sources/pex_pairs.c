/* Convolutions whose weights lie in pairs of output channels, an even one and the odd one behind it: a 16-bit number
 * 256 * odd + even, which multiplies both at once. One more product with its low byte gives the even sum alone, and the
 * difference of the two is 256 times the odd sum. That saves half of the work of widening weights to 16 bits, in plain
 * C as with SMLAD. Odd sums have to fit 24 bits, which tvm_pex.micro_kernels sees to.
 *
 * For each four output channels and each four inputs there are 16 bytes: pairs of input 0 and of input 2 for the first
 * two channels, the same for the other two; and so for inputs 1 and 3. */
#include "pex_pairs_dot.h"
#include "pex_requantise.h"
#include "pex_window.h"

PEX_INLINE void begin(int32_t sums[4], const struct pex_block* block) {
  for (int32_t k = 0; k < 4; k++) sums[k] = block->bias[k];
}

PEX_INLINE void put(int8_t* y, const int32_t sums[4], const struct pex_block* block, const struct pex_parameters* p,
                    int32_t count) {
  int32_t even0 = sums[0], even1 = sums[2];
  int32_t odd0 = (int32_t)((uint32_t)sums[1] - (uint32_t)even0), odd1 = (int32_t)((uint32_t)sums[3] - (uint32_t)even1);
  pex_put(y, even0, odd0, even1, odd1, block, p, count);
}

/* `at` are the starts of `count` runs of `bytes` inputs. */
static void one_pixel(const int8_t* const* at, int32_t count, int32_t bytes, const int8_t* weights,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  const int8_t* const* end = at + count;
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++) {
    int32_t sums[4];
    begin(sums, block);
    const int8_t* const* run = at;
    do weights = pex_dot_one(sums, *run, weights, bytes);
    while (++run != end);
    put(y, sums, block, p, left);
  }
}

#if PEX_DOT_TWO

/* The same for two pixels. */
static void two_pixels(const struct pex_window* window, int32_t bytes, const int8_t* weights,
                       const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++) {
    int32_t sums[8];
    begin(sums, block);
    begin(sums + 4, block);
    for (int32_t k = 0; k < window->count; k++)
      weights = pex_dot_two(sums, window->at[k], weights, bytes, window->moves[k].next);
    put(y, sums, block, p, left);
    put(y + p->output_pitch, sums + 4, block, p, left);
  }
}

#endif

int32_t pex_pairs(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                  int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->depth;
  struct pex_window window;
  while (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels, 1);
    int32_t bytes = window.columns * p->channels, found = window.pixels;
    pixels -= found, column += found;
    while (found > 0) {
      int32_t done = 1;
#if PEX_DOT_TWO
      if (found > 1)
        two_pixels(&window, bytes, w, block, p, y), done = 2;
      else
#endif
        one_pixel(window.at, window.count, bytes, w, block, p, y);
      y += done * p->output_pitch;
      found -= done;
      if (found > 0) pex_move_on(&window, done);
    }
  }
  return 0;
}

int32_t pex_pairs_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->depth;
  const int8_t* const at[1] = {patch};
#if PEX_DOT_TWO
  struct pex_window window;
  window.at[0] = patch;
  window.moves[0].next = p->depth;
  window.count = 1;
  for (; pixels > 1; pixels -= 2, column += 2, y += 2 * p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    pex_copy_window(patch + p->depth, x, p, row, column + 1);
    two_pixels(&window, p->depth, w, block, p, y);
  }
#endif
  for (; pixels > 0; pixels--, column++, y += p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    one_pixel(at, 1, p->depth, w, block, p, y);
  }
  return 0;
}

#if PEX_DOT_WIDE

/* The places of `bytes` inputs of one of two pixels in what pex_dot_wide reads; gives the place behind them. */
static int32_t* widen(int32_t* wide, const int8_t* x, int32_t bytes) {
  const int8_t* end = x + bytes;
  do {
    int32_t word = pex_load(x);
    wide[0] = pex_even_bytes(word);
    wide[2] = pex_odd_bytes(word);
    x += 4, wide += 4;
  } while (x != end);
  return wide;
}

static void two_wide_pixels(const int32_t* wide, const int8_t* weights, const struct pex_block* block,
                            const struct pex_parameters* p, int8_t* y) {
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++) {
    int32_t sums[8];
    begin(sums, block);
    begin(sums + 4, block);
    weights = pex_dot_wide(sums, wide, weights, 4 * p->depth);
    put(y, sums, block, p, left);
    put(y + p->output_pitch, sums + 4, block, p, left);
  }
}

int32_t pex_pairs_wide(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                       int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->depth;
  int32_t* wide = (int32_t*)(void*)patch;
  struct pex_window window;
  window.pixels = 0;
  for (; pixels > 1; pixels -= 2, y += 2 * p->output_pitch) {
    for (int32_t k = 0; k < 2; k++, column++, window.pixels--) {
      int32_t* to = wide + k;
      if (window.pixels > 0)
        pex_move_on(&window, 1);
      else
        pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels - k, 1);
      for (int32_t m = 0; m < window.count; m++) to = widen(to, window.at[m], window.columns * p->channels);
    }
    two_wide_pixels(wide, w, block, p, y);
  }
  return pixels ? pex_pairs(x, weights, parameters, y, row, column, 1, first) : 0;
}

int32_t pex_pairs_wide_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                             int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->depth;
  int32_t* wide = (int32_t*)(void*)patch;
  int8_t* narrow = patch + 4 * p->depth;
  for (; pixels > 1; pixels -= 2, y += 2 * p->output_pitch) {
    for (int32_t k = 0; k < 2; k++, column++) {
      pex_copy_window(narrow, x, p, row, column);
      widen(wide + k, narrow, p->depth);
    }
    two_wide_pixels(wide, w, block, p, y);
  }
  return pixels ? pex_pairs_patch(x, weights, parameters, y, row, column, 1, first, narrow) : 0;
}

#else

int32_t pex_pairs_wide(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                       int32_t pixels, int32_t first, int8_t* patch) {
  (void)patch;
  return pex_pairs(x, weights, parameters, y, row, column, pixels, first);
}

int32_t pex_pairs_wide_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                             int32_t pixels, int32_t first, int8_t* patch) {
  return pex_pairs_patch(x, weights, parameters, y, row, column, pixels, first, patch);
}

#endif
