/* Convolutions of each channel by itself, four channels at a time. Weights: for each four channels the window's
 * positions, four bytes each. */
#include "pex_memory.h"
#include "pex_requantise.h"
#include "pex_window.h"

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

struct sums {
  int32_t s0, s1, s2, s3;
};

PEX_INLINE struct sums begun(const struct pex_block* block) {
  return (struct sums){block->bias[0], block->bias[1], block->bias[2], block->bias[3]};
}

PEX_INLINE void put(int8_t* y, struct sums s, const struct pex_block* block, const struct pex_parameters* p) {
  pex_put(y, s.s0, s.s1, s.s2, s.s3, block, p, 4);
}

#if defined(__ARM_FEATURE_DSP)

/* Four weights or inputs, widened to 16 bits: of channels 0 and 2, of channels 1 and 3. */
struct four {
  int32_t even, odd;
};

PEX_INLINE struct four widened(int32_t word) {
  return (struct four){pex_even_bytes(word), pex_odd_bytes(word)};
}

PEX_INLINE struct four read_weights(const int8_t* w) { return widened(*(const pex_two_pairs*)w); }

PEX_INLINE struct sums added(struct sums s, const int8_t* x, struct four w) {
  struct four v = widened(pex_load(x));
  s.s0 = __smlabb(v.even, w.even, s.s0);
  s.s1 = __smlabb(v.odd, w.odd, s.s1);
  s.s2 = __smlatt(v.even, w.even, s.s2);
  s.s3 = __smlatt(v.odd, w.odd, s.s3);
  return s;
}

#else

struct four {
  int32_t w0, w1, w2, w3;
};

PEX_INLINE struct four read_weights(const int8_t* w) { return (struct four){w[0], w[1], w[2], w[3]}; }

PEX_INLINE struct sums added(struct sums s, const int8_t* x, struct four w) {
  s.s0 += x[0] * w.w0;
  s.s1 += x[1] * w.w1;
  s.s2 += x[2] * w.w2;
  s.s3 += x[3] * w.w3;
  return s;
}

#endif

/* gcc's first scheduler moves loads so far ahead that sums get spilled. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__arm__)
#define TIGHT __attribute__((noinline, optimize("no-schedule-insns")))
#else
#define TIGHT
#endif

/* 3 rows of 3 positions, two pixels. */
TIGHT static void two_3x3(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                          const struct pex_parameters* p, int8_t* y) {
  const int8_t *r0 = window->at[0], *r1 = window->at[1], *r2 = window->at[2];
  for (const struct pex_block* end = block + p->outputs / 4; block != end; block++, y += 4, w += 36) {
    struct sums a = begun(block), b = a;
#define POSITION(k)                        \
  {                                        \
    struct four taps = read_weights(w + k); \
    a = added(a, x, taps);                 \
    b = added(b, z, taps);                 \
  }
#define ROW(r, k)                                                \
  {                                                              \
    const int8_t *x = r##k, *z = x + window->moves[k].next;      \
    int32_t step = window->moves[k].step;                        \
    POSITION(12 * k) x += step, z += step;                       \
    POSITION(12 * k + 4) x += step, z += step;                   \
    POSITION(12 * k + 8) r##k += 4;                              \
  }
    ROW(r, 0)
    ROW(r, 1)
    ROW(r, 2)
    put(y, a, block, p);
    put(y + p->output_pitch, b, block, p);
  }
}

/* Lines of any number of positions. */
TIGHT static void one_of_any_size(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                                  const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    struct sums s = begun(block);
    for (int32_t k = 0; k < window->count; k++) {
      const int8_t* x = window->at[k] + channel;
      for (int32_t m = 0; m < window->columns; m++, w += 4, x += window->moves[k].step) s = added(s, x, read_weights(w));
    }
    put(y + channel, s, block, p);
  }
}

/* Each line is a single position. */
TIGHT static void positions(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                            const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    struct sums s = begun(block);
    const int8_t *const *at = window->at, *const *end = at + window->count;
    do {
      s = added(s, *at + channel, read_weights(w));
      w += 4;
    } while (++at != end);
    put(y + channel, s, block, p);
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
    int32_t found = window.pixels;
    pixels -= found, column += found;
    while (found > 0) {
      int32_t done = 1;
      if (found > 1 && window.count == 3 && window.columns == 3)
        two_3x3(&window, w, block, p, y), done = 2;
      else if (window.columns == 1)
        positions(&window, w, block, p, y);
      else
        one_of_any_size(&window, w, block, p, y);
      y += done * p->output_pitch;
      found -= done;
      if (found > 0) pex_move_on(&window, done);
    }
  }
  return 0;
}
