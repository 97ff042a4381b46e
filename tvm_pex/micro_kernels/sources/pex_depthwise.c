/* Convolutions of each channel by itself, four channels at a time. Weights: for each four channels the window's
 * positions, four bytes each. */
#include "pex_memory.h"
#include "pex_requantise.h"
#include "pex_window.h"

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

#if defined(__ARM_FEATURE_DSP)

/* Bytes 1 and 3. */
PEX_INLINE int32_t odd_bytes(int32_t word) {
  int32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
  return result;
}

/* Weights of one position, widened to 16 bits: of channels 0 and 2, of channels 1 and 3. */
struct weights {
  int32_t even, odd;
};

PEX_INLINE struct weights read_weights(const int8_t* w) {
  int32_t word = *(const pex_two_pairs*)w;
  return (struct weights){__sxtb16(word), odd_bytes(word)};
}

PEX_INLINE void add(int32_t sums[4], const int8_t* x, struct weights w) {
  int32_t word = pex_load(x), even = __sxtb16(word), odd = odd_bytes(word);
  sums[0] = __smlabb(even, w.even, sums[0]);
  sums[1] = __smlabb(odd, w.odd, sums[1]);
  sums[2] = __smlatt(even, w.even, sums[2]);
  sums[3] = __smlatt(odd, w.odd, sums[3]);
}

#else

struct weights {
  int32_t of[4];
};

PEX_INLINE struct weights read_weights(const int8_t* w) { return (struct weights){{w[0], w[1], w[2], w[3]}}; }

PEX_INLINE void add(int32_t sums[4], const int8_t* x, struct weights w) {
  for (int32_t k = 0; k < 4; k++) sums[k] += x[k] * w.of[k];
}

#endif

PEX_INLINE void begin(int32_t sums[4], const struct pex_block* block) {
  for (int32_t k = 0; k < 4; k++) sums[k] = block->bias[k];
}

/* `rows` lines of `columns` positions; `pixels` is 1 or 2. */
PEX_INLINE void windows(const struct pex_window* window, int32_t rows, int32_t columns, int32_t pixels,
                        const int8_t* w, const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    int32_t sums[4], more[4];
    begin(sums, block);
    begin(more, block);
    for (int32_t k = 0; k < rows; k++) {
      const int8_t *x = window->at[k] + channel, *z = x + window->moves[k].next;
      int32_t step = window->moves[k].step;
      for (int32_t m = 0; m < columns; m++, w += 4, x += step, z += step) {
        struct weights taps = read_weights(w);
        add(sums, x, taps);
        if (pixels == 2) add(more, z, taps);
      }
    }
    pex_put(y + channel, sums, block, p, 4);
    if (pixels == 2) pex_put(y + channel + p->output_pitch, more, block, p, 4);
  }
}

static void two_3x3(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                    const struct pex_parameters* p, int8_t* y) {
  windows(window, 3, 3, 2, w, block, p, y);
}

static void one_of_any_size(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                            const struct pex_parameters* p, int8_t* y) {
  windows(window, window->count, window->columns, 1, w, block, p, y);
}

static void two_of_any_size(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                            const struct pex_parameters* p, int8_t* y) {
  windows(window, window->count, window->columns, 2, w, block, p, y);
}

/* Each line is a single position. */
static void positions(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    int32_t sums[4];
    begin(sums, block);
    for (int32_t k = 0; k < window->count; k++, w += 4) add(sums, window->at[k] + channel, read_weights(w));
    pex_put(y + channel, sums, block, p, 4);
  }
}

int32_t pex_depthwise(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                      int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->kernel_rows * p->kernel_columns;
  struct pex_window window;
  while (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels, 0);
    int32_t left = window.pixels, is_3x3 = window.count == 3 && window.columns == 3;
    pixels -= left, column += left;
    if (left == 1 && window.columns == 1) {
      positions(&window, w, block, p, y);
      y += p->output_pitch;
      continue;
    }
    for (; left > 1; left -= 2, y += 2 * p->output_pitch) {
      (is_3x3 ? two_3x3 : two_of_any_size)(&window, w, block, p, y);
      pex_move_on(&window, 2);
    }
    if (left) one_of_any_size(&window, w, block, p, y), y += p->output_pitch;
  }
  return 0;
}
