/* The sums of pex_lanes.c by VMLADAVA: sixteen products a time, which it adds up in one of the even registers. Loops that
 * end with LETP mask the last, incomplete vector of a run by themselves; LCTP ends the mask early. */
#ifndef PEX_LANES_MVE_H
#define PEX_LANES_MVE_H

#include "pex_requantise_mve.h"
#include "pex_window.h"

#define SLICE 16 /* output channels whose sums are kept at once */
#define PIXELS 3 /* whose sums are */
#define LOW 5    /* rows of a window then, at most */

/* 1. Inputs of at most four vectors, which stay in registers: all products of a pixel with four channels at a time. */

#define INPUT(q) "vldrb.8 " #q ", [%[w]], #16\n"
#define LAST_INPUT(q) "dlstp.8 lr, %[tail]\nvldrb.8 " #q ", [%[w]]\nlctp\n"
#define PRODUCT(sum, q) "vldrb.8 q4, [%[w]], #16\nvmladava.s8 %[" #sum "], " #q ", q4\n"
#define LAST_PRODUCT(sum, q) "vldrb.8 q4, [%[w]]\nadd %[w], %[tail]\nvmladava.s8 %[" #sum "], " #q ", q4\n"

#define INPUTS1 LAST_INPUT(q0)
#define INPUTS2 INPUT(q0) LAST_INPUT(q1)
#define INPUTS3 INPUT(q0) INPUT(q1) LAST_INPUT(q2)
#define INPUTS4 INPUT(q0) INPUT(q1) INPUT(q2) LAST_INPUT(q3)
#define PRODUCTS1(sum, LAST) LAST(sum, q0)
#define PRODUCTS2(sum, LAST) PRODUCT(sum, q0) LAST(sum, q1)
#define PRODUCTS3(sum, LAST) PRODUCT(sum, q0) PRODUCT(sum, q1) LAST(sum, q2)
#define PRODUCTS4(sum, LAST) PRODUCT(sum, q0) PRODUCT(sum, q1) PRODUCT(sum, q2) LAST(sum, q3)

/* A pixel: in memory, because there are few registers. `tail` are the bytes of the last vector; what the weights' last
 * vector has beyond them is multiplied by zeros. `blocks` are those of four channels, all of them complete. */
struct short_pixel {
  const int8_t* x;
  int32_t tail;
  const int8_t* w;
  const struct pex_block* block;
  int8_t* y;
  int32_t blocks, zero;
};

#define SHORT_PIXEL(inputs, products, LAST)                                                                     \
  {                                                                                                             \
    const struct short_pixel* at = pixel;                                                                       \
    const int8_t* w;                                                                                            \
    const struct pex_block* block;                                                                              \
    int8_t* y;                                                                                                  \
    int32_t a, b, c, d, tail;                                                                                   \
    __asm__ volatile("ldrd %[w], %[tail], [%[at]]\n"                                                            \
                     inputs                                                                                     \
                     "ldrd %[w], %[block], [%[at], #8]\n"                                                       \
                     "ldrd %[y], lr, [%[at], #16]\n"                                                            \
                     "ldr %[at], [%[at], #24]\n" /* now the zero point */                                       \
                     "dls lr, lr\n"                                                                             \
                     "1:\n"                                                                                     \
                     "ldrd %[a], %[b], [%[block]], #8\n"                                                        \
                     "ldrd %[c], %[d], [%[block]], #8\n"                                                        \
                     products(a, LAST) products(b, LAST) products(c, LAST) products(d, LAST)                    \
                     "vmov q5[2], q5[0], %[a], %[c]\n"                                                          \
                     "vmov q5[3], q5[1], %[b], %[d]\n"                                                          \
                     "vldrw.32 q4, [%[block]], #16\n"                                                           \
                     PEX_HIGHS("q5", "q4")                                                                      \
                     "vldrw.32 q4, [%[block]], #16\n"                                                           \
                     "vrshl.s32 q5, q5, q4\n"                                                                   \
                     "vadd.i32 q5, q5, %[at]\n"                                                                 \
                     "vmax.s32 q5, q5, %q[low]\n"                                                               \
                     "vmin.s32 q5, q5, %q[high]\n"                                                              \
                     "vstrb.32 q5, [%[y]], #4\n"                                                                \
                     "le lr, 1b\n"                                                                              \
                     : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [w] "=&r"(w),                \
                       [block] "=&r"(block), [y] "=&l"(y), [tail] "=&r"(tail), [at] "+&r"(at)                   \
                     : [low] "w"(low), [high] "w"(high)                                                         \
                     : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "memory");                                     \
    break;                                                                                                      \
  }

/* `vectors` hold the inputs of a pixel. */
static __attribute__((noinline)) void short_pixel(const struct short_pixel* pixel, int32_t vectors, int32x4_t low,
                                                  int32x4_t high) {
  switch (vectors + (pixel->tail == 16 ? 4 : 0)) {
    case 1: SHORT_PIXEL(INPUTS1, PRODUCTS1, LAST_PRODUCT)
    case 2: SHORT_PIXEL(INPUTS2, PRODUCTS2, LAST_PRODUCT)
    case 3: SHORT_PIXEL(INPUTS3, PRODUCTS3, LAST_PRODUCT)
    case 4: SHORT_PIXEL(INPUTS4, PRODUCTS4, LAST_PRODUCT)
    case 5: SHORT_PIXEL(INPUTS1, PRODUCTS1, PRODUCT)
    case 6: SHORT_PIXEL(INPUTS2, PRODUCTS2, PRODUCT)
    case 7: SHORT_PIXEL(INPUTS3, PRODUCTS3, PRODUCT)
    case 8: SHORT_PIXEL(INPUTS4, PRODUCTS4, PRODUCT)
  }
}

PEX_INLINE int32_t is_short(const struct pex_parameters* p, int32_t bytes) {
  return bytes <= 64 && p->left_shifts[0] == 0 && p->outputs % 4 == 0;
}

/* Pixels whose inputs lie `next` bytes apart. */
static void short_pixels(const int8_t* x, int32_t next, int32_t bytes, int32_t pixels, const int8_t* w,
                         const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  struct pex_limits limits = pex_limits(p);
  int32_t vectors = (bytes + 15) / 16;
  struct short_pixel pixel = {x, bytes - 16 * (vectors - 1), w, block, y, p->outputs / 4, limits.zero};
  for (; pixels > 0; pixels--, pixel.x += next, pixel.y += p->output_pitch)
    short_pixel(&pixel, vectors, limits.low, limits.high);
}

/* 2. Any inputs: sums of a slice of channels are kept, then requantised. */

/* Runs of `bytes` inputs; `beyond` is how far vectors reach behind them. */
struct runs {
  const int8_t *const *at, *const *end;
  int32_t bytes, beyond;
};

/* Of one pixel and four channels, whose weights lie `depth` apart. */
PEX_INLINE void add_one_pixel(int32_t sums[4], const struct runs* runs, const int8_t* w, int32_t depth) {
  const int8_t *w1 = w + depth, *w2 = w1 + depth, *w3 = w2 + depth, *x, *const* at = runs->at;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  __asm__(
      "2:\n"
      "ldr lr, [%[runs], #8]\n"
      "ldr %[x], [%[at]], #4\n"
      "dlstp.8 lr, lr\n"
      "1:\n"
      "vldrb.8 q0, [%[x]], #16\n"
      "vldrb.8 q1, [%[w0]], #16\n"
      "vmladava.s8 %[a], q0, q1\n"
      "vldrb.8 q1, [%[w1]], #16\n"
      "vmladava.s8 %[b], q0, q1\n"
      "vldrb.8 q1, [%[w2]], #16\n"
      "vmladava.s8 %[c], q0, q1\n"
      "vldrb.8 q1, [%[w3]], #16\n"
      "vmladava.s8 %[d], q0, q1\n"
      "letp lr, 1b\n"
      "ldrd lr, %[x], [%[runs], #4]\n"
      "cmp %[at], lr\n"
      "beq 3f\n"
      "tst %[x], #15\n"
      "beq 2b\n"
      "ldr lr, [%[runs], #12]\n"
      "sub %[w0], lr\n"
      "sub %[w1], lr\n"
      "sub %[w2], lr\n"
      "sub %[w3], lr\n"
      "b 2b\n"
      "3:\n"
      : [a] "+&Te"(a), [b] "+&Te"(b), [c] "+&Te"(c), [d] "+&Te"(d), [x] "=&r"(x), [w0] "+&r"(w), [w1] "+&r"(w1),
        [w2] "+&r"(w2), [w3] "+&r"(w3), [at] "+&r"(at)
      : [runs] "r"(runs)
      : "q0", "q1", "lr", "cc", "memory");
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* A run of each of three pixels; the last one has no `x`. */
struct run {
  const int8_t* x[PIXELS];
  int32_t bytes, beyond;
};

/* Of three pixels and two channels, whose weights lie `depth` apart: the pixels of the first channel, then the others. */
PEX_INLINE void add_three_pixels(int32_t sums[6], const struct run* run, const int8_t* w, int32_t depth) {
  const int8_t *w1 = w + depth, *x0, *x1, *x2;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], e = sums[4], f = sums[5];
  __asm__(
      "ldrd %[x0], %[x1], [%[run]], #8\n"
      "2:\n"
      "ldrd %[x2], lr, [%[run]], #12\n"
      "dlstp.8 lr, lr\n"
      "1:\n"
      "vldrb.8 q0, [%[w0]], #16\n"
      "vldrb.8 q1, [%[w1]], #16\n"
      "vldrb.8 q2, [%[x0]], #16\n"
      "vmladava.s8 %[a], q0, q2\n"
      "vmladava.s8 %[d], q1, q2\n"
      "vldrb.8 q2, [%[x1]], #16\n"
      "vmladava.s8 %[b], q0, q2\n"
      "vmladava.s8 %[e], q1, q2\n"
      "vldrb.8 q2, [%[x2]], #16\n"
      "vmladava.s8 %[c], q0, q2\n"
      "vmladava.s8 %[f], q1, q2\n"
      "letp lr, 1b\n"
      "ldr lr, [%[run], #-4]\n"
      "ldrd %[x0], %[x1], [%[run]], #8\n"
      "cbz %[x0], 3f\n"
      "sub %[w0], lr\n"
      "sub %[w1], lr\n"
      "b 2b\n"
      "3:\n"
      : [a] "+&Te"(a), [b] "+&Te"(b), [c] "+&Te"(c), [d] "+&Te"(d), [e] "+&Te"(e), [f] "+&Te"(f), [x0] "=&l"(x0),
        [x1] "=&r"(x1), [x2] "=&r"(x2), [w0] "+&r"(w), [w1] "+&r"(w1), [run] "+&r"(run)
      :
      : "q0", "q1", "q2", "lr", "memory");
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d, sums[4] = e, sums[5] = f;
}

/* The results of a slice of channels; `pixels` is 1 or PIXELS. */
PEX_INLINE void requantise(const int32_t* sums, int32_t pixels, int32_t channels, const struct pex_block* block,
                           int32_t pitch, struct pex_limits limits, int8_t* y) {
  for (; channels > 0; channels -= 4, sums += 4, block++, y += 4) {
    int32x4_t multiplier = vld1q_s32(block->multiplier), shift = vld1q_s32(block->shift);
    for (int32_t k = 0; k < pixels; k++) {
      int32x4_t results = pex_results(vld1q_s32(sums + k * SLICE), multiplier, shift, limits);
      int8_t* to = y + k * pitch;
      __asm__ volatile("dlstp.32 lr, %[channels]\nvstrb.32 %q[results], [%[to]]\nlctp\n"
                       :
                       : [channels] "r"(channels), [results] "w"(results), [to] "l"(to)
                       : "lr", "memory");
    }
  }
}

/* These two are not inlined, so that their sums lie on the stack in turn. */
__attribute__((noinline)) static void one_pixel(const struct runs* runs, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, const struct pex_limits* given, int8_t* y) {
  struct pex_limits limits = *given; /* in registers */
  int32_t kept[SLICE], depth = p->depth;
  for (int32_t left = p->outputs; left > 0; left -= SLICE, y += SLICE) {
    int32_t channels = left < SLICE ? left : SLICE;
    const struct pex_block* of = block;
    for (int32_t *sums = kept, *end = kept + channels; sums < end; sums += 4, w += 4 * depth, block++) {
      sums[0] = block->bias[0], sums[1] = block->bias[1], sums[2] = block->bias[2], sums[3] = block->bias[3];
      add_one_pixel(sums, runs, w, depth);
    }
    requantise(kept, 1, channels, of, 0, limits, y);
  }
}

/* Of the first window and the next two. */
PEX_INLINE void find_runs(struct run* runs, const struct pex_window* window, int32_t bytes) {
  for (int32_t k = 0; k < window->count; k++) {
    const int8_t* x = window->lines.at[k];
    int32_t next = window->lines.rows.moves[k].next;
    runs[k] = (struct run){{x, x + next, x + 2 * next}, bytes, -bytes & 15};
  }
  runs[window->count].x[0] = 0;
}

__attribute__((noinline)) static void three_pixels(const struct pex_window* window, int32_t bytes, const int8_t* w,
                                                   const struct pex_block* block, const struct pex_parameters* p,
                                                   const struct pex_limits* given, int8_t* y) {
  struct pex_limits limits = *given; /* in registers */
  struct run runs[LOW + 1];
  find_runs(runs, window, bytes);
  int32_t kept[PIXELS * SLICE], depth = p->depth;
  for (int32_t left = p->outputs; left > 0; left -= SLICE, block += SLICE / 4, y += SLICE) {
    int32_t channels = left < SLICE ? left : SLICE;
    const int32_t* bias = block->bias;
    for (int32_t *sums = kept, *end = kept + channels; sums < end; sums += 2, w += 2 * depth) {
      int32_t first = bias[0], second = bias[1], six[6] = {first, first, first, second, second, second};
      add_three_pixels(six, runs, w, depth);
      sums[0] = six[0], sums[1] = six[3];
      sums[SLICE] = six[1], sums[SLICE + 1] = six[4];
      sums[2 * SLICE] = six[2], sums[2 * SLICE + 1] = six[5];
      bias += (sums - kept) % 4 ? 2 + 8 : 2; /* multipliers and shifts lie between biases of different blocks */
    }
    requantise(kept, PIXELS, channels, block, p->output_pitch, limits, y);
  }
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t bytes, int32_t found, const int8_t* w,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  if (window->count == 1 && is_short(p, bytes)) {
    short_pixels(window->lines.at[0], found > 1 ? window->lines.rows.moves[0].next : 0, bytes, found, w, block, p, y);
    return;
  }
  struct pex_limits limits = pex_limits(p);
  struct runs one = {window->lines.at, window->lines.at + window->count, bytes, -bytes & 15};
  while (found > 0) {
    int32_t pixels = found >= PIXELS && window->count <= LOW ? PIXELS : 1;
    if (pixels == PIXELS) {
      three_pixels(window, bytes, w, block, p, &limits, y);
    } else {
      one_pixel(&one, w, block, p, &limits, y);
    }
    found -= pixels, y += pixels * p->output_pitch;
    if (found) pex_move_on(window, pixels);
  }
}

/* 3. Windows that are copied to a patch. */

PEX_INLINE void copy(int8_t* to, const int8_t* from, int32_t bytes) {
  __asm__ volatile(
      "dlstp.8 lr, %[bytes]\n"
      "1:\n"
      "vldrb.8 q0, [%[from]], #16\n"
      "vstrb.8 q0, [%[to]], #16\n"
      "letp lr, 1b\n"
      : [to] "+r"(to), [from] "+r"(from)
      : [bytes] "r"(bytes)
      : "q0", "lr", "memory");
}

PEX_INLINE void fill(int8_t* to, int32_t value, int32_t bytes) {
  __asm__ volatile(
      "vdup.8 q0, %[value]\n"
      "dlstp.8 lr, %[bytes]\n"
      "1:\n"
      "vstrb.8 q0, [%[to]], #16\n"
      "letp lr, 1b\n"
      : [to] "+r"(to)
      : [bytes] "r"(bytes), [value] "r"(value)
      : "q0", "lr", "memory");
}

/* The window of output pixel (row, column), whose positions lie side by side in each of its rows. False if one of them
 * goes on at the ring's start: then nothing is copied, or a part. What is behind the window stays as it is, because the
 * weights there are zeros. */
static int32_t copy_rows(int8_t* patch, const int8_t* x, const struct pex_parameters* p, int32_t row, int32_t column) {
  int32_t top = row * p->stride_rows - p->pad_rows, left = column * p->stride_columns - p->pad_columns;
  int32_t before = left < 0 ? -left : 0, count = p->kernel_columns - before, last = p->width - left - before;
  int32_t bottom = top + (p->kernel_rows - 1) * p->dilation_rows, channels = p->channels;
  if (count > last) count = last;
  if (top < 0 || bottom >= p->height || count < p->kernel_columns) fill(patch, p->zero, p->depth);
  if (count <= 0) return 1;
  int32_t line = p->kernel_columns * channels;
  patch += before * channels;
  for (; top < 0; top += p->dilation_rows) patch += line;
  if (bottom >= p->height) bottom = p->height - 1;
  int32_t position = top * p->stored_width + left + before;
  for (; top <= bottom; top += p->dilation_rows, patch += line, position += p->dilation_rows * p->stored_width) {
    if (position >= p->ring) position %= p->ring;
    if (position + count > p->ring) return 0;
    copy(patch, x + position * channels, count * channels);
  }
  return 1;
}

static void pixels_by_patch(int8_t* patch, const int8_t* x, int32_t row, int32_t column, int32_t pixels, const int8_t* w,
                            const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  const int8_t* const at[1] = {patch};
  int32_t bytes = p->depth, vectors = (bytes + 15) / 16, shorter = is_short(p, bytes);
  int32_t dense = p->dilation_columns == 1 && p->pitch == p->channels;
  struct pex_limits limits = pex_limits(p);
  struct runs runs = {at, at + 1, bytes, -bytes & 15};
  struct short_pixel pixel = {patch, bytes - 16 * (vectors - 1), w, block, y, p->outputs / 4, limits.zero};
  for (; pixels > 0; pixels--, column++, pixel.y += p->output_pitch) {
    if (!dense || !copy_rows(patch, x, p, row, column)) pex_copy_window(patch, x, p, row, column);
    if (shorter)
      short_pixel(&pixel, vectors, limits.low, limits.high);
    else
      one_pixel(&runs, w, block, p, &limits, pixel.y);
  }
}

#endif
