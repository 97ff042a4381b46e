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

/* Lines of any number of positions. */
TIGHT static void one_of_any_size(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                                  const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    struct sums s = begun(block);
    for (int32_t k = 0; k < window->count; k++) {
      const int8_t* x = window->lines.at[k] + channel;
      for (int32_t m = 0; m < window->columns; m++, w += 4, x += window->lines.rows.moves[k].step) s = added(s, x, read_weights(w));
    }
    put(y + channel, s, block, p);
  }
}

/* Each line is a single position. */
TIGHT static void positions(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                            const struct pex_parameters* p, int8_t* y) {
  for (int32_t channel = 0; channel < p->outputs; channel += 4, block++) {
    struct sums s = begun(block);
    const int8_t *const *at = window->lines.at, *const *end = at + window->count;
    do {
      s = added(s, *at + channel, read_weights(w));
      w += 4;
    } while (++at != end);
    put(y + channel, s, block, p);
  }
}

/* noinline: its window should not lie on the stack while another function runs. */
__attribute__((noinline)) static void one_pixel(const int8_t* x, const int8_t* weights, const int8_t* w,
                                                const struct pex_block* block, const struct pex_parameters* p,
                                                int8_t* y, int32_t row, int32_t column) {
  struct pex_window window;
  pex_find_window(&window, x, weights + p->zeros, p, row, column, 1, 0);
  (window.columns == 1 ? positions : one_of_any_size)(&window, w, block, p, y);
}

#if defined(__thumb2__)

#include "pex_depthwise_3x3.h"

/* The positions in `count` columns from `left` on. */
static void find_columns(struct pex_columns* columns, const int8_t* x, const int8_t* zeros,
                         const struct pex_parameters* p, int32_t row, int32_t left, int32_t count) {
  *columns = (struct pex_columns){zeros, {0, 0, 0, 0, 0}};
  if (row < 0 || row >= p->height) return;
  int32_t position = row * p->stored_width + left;
  if (position >= p->ring) position %= p->ring; /* negative only if the first column is */
  for (int32_t k = 0; k < count; k++, position++) {
    if (position == p->ring) position = 0;
    int32_t inside = left + k >= 0 && left + k < p->width;
    const int8_t* at = inside ? x + position * p->pitch : zeros;
    if (k == 0)
      columns->first = at;
    else
      columns->apart[k - 1] = (int32_t)((uintptr_t)at - (uintptr_t)columns->first);
  }
}

/* 3 x 3 positions, the pixels from (row, column) on: computes three or four, or none, and says how many. */
__attribute__((noinline)) static int32_t some_3x3(const int8_t* x, const int8_t* weights, const int8_t* w, const struct pex_block* block,
                        const struct pex_parameters* p, int8_t* y, int32_t row, int32_t column, int32_t pixels) {
  int32_t top = row * p->stride_rows - p->pad_rows, left = column * p->stride_columns - p->pad_columns;
  if (p->special || pixels < 3 || p->kernel_rows != 3 || p->kernel_columns != 3 || p->dilation_columns > 1) return 0;
  struct pex_job job = {.weights = w, .block = block, .y = y, .pitch = p->output_pitch, .channels = p->outputs,
                        .offset = p->offset};
  if (p->stride_columns == 1) {
    for (int32_t k = 0; k < 3; k++)
      find_columns(&job.rows[k], x, weights + p->zeros, p, top + k * p->dilation_rows, left, 6);
    (pixels > 3 ? pex_four_apart_by_1 : pex_three_apart_by_1)(&job);
    return pixels > 3 ? 4 : 3;
  }
  if (p->stride_columns != 2 || pixels < 4 || left < 0 || left + 9 > p->width) return 0;
  for (int32_t k = 0; k < 3; k++) {
    struct pex_columns* columns = &job.rows[k];
    find_columns(columns, x, weights + p->zeros, p, top + k * p->dilation_rows, left, 2);
    int32_t step = columns->first == weights + p->zeros ? 0 : p->pitch;
    if (step && (columns->first - x) / step + 9 > p->ring) return 0; /* the ring ends between them */
    *columns = (struct pex_columns){columns->first, {step, 3 * step, 5 * step, 7 * step, 0}};
  }
  pex_four_apart_by_2(&job);
  return 4;
}

#endif

int32_t pex_depthwise(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                      int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const struct pex_block* block = pex_blocks(parameters) + first;
  const int8_t* w = weights + 4 * first * p->kernel_rows * p->kernel_columns;
  while (pixels > 0) {
    int32_t done = 0;
#if defined(__thumb2__)
    done = some_3x3(x, weights, w, block, p, y, row, column, pixels);
#endif
    if (done == 0) {
      one_pixel(x, weights, w, block, p, y, row, column);
      done = 1;
    }
    pixels -= done, column += done, y += done * p->output_pitch;
  }
  return 0;
}
