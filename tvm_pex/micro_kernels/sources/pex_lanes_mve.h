/* The sums of pex_lanes.c by VMLADAVA: sixteen products a time, which it adds up in one of the even registers. Loops that
 * end with LETP mask the last, incomplete vector of a run by themselves; LCTP ends the mask early. */
#ifndef PEX_LANES_MVE_H
#define PEX_LANES_MVE_H

#include "pex_requantise_mve.h"
#include "pex_window.h"

#define SLICE 16 /* output channels whose sums are kept at once */
#define PIXELS 3 /* whose sums are */

/* 1. Inputs of at most four vectors, which stay in registers: all products of a pixel with four channels at a time. */

#define INPUT(q) "vldrb.8 " #q ", [%[x]], #16\n"
#define LAST_INPUT(q) "dlstp.8 lr, %[tail]\nvldrb.8 " #q ", [%[x]]\nlctp\n"
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

/* `tail` are the bytes of the last vector. What the weights' last vector has beyond them is multiplied by zeros. */
#define WITH_INPUTS(inputs, products, LAST)                                                                        \
  {                                                                                                               \
    int32_t a, b, c, d;                                                                                           \
    __asm__ volatile(inputs                                                                                       \
                     "dls lr, %[blocks]\n"                                                                        \
                     "1:\n"                                                                                       \
                     "ldrd %[a], %[b], [%[block]], #8\n"                                                          \
                     "ldrd %[c], %[d], [%[block]], #8\n"                                                          \
                     products(a, LAST) products(b, LAST) products(c, LAST) products(d, LAST)                      \
                     "vmov q5[2], q5[0], %[a], %[c]\n"                                                            \
                     "vmov q5[3], q5[1], %[b], %[d]\n"                                                            \
                     "vldrw.32 q4, [%[block]], #16\n"                                                             \
                     "vmulh.s32 q5, q5, q4\n"                                                                     \
                     "vldrw.32 q4, [%[block]], #16\n"                                                             \
                     "vrshl.s32 q5, q5, q4\n"                                                                     \
                     "vadd.i32 q5, q5, %[zero]\n"                                                                 \
                     "vmax.s32 q5, q5, %q[low]\n"                                                                 \
                     "vmin.s32 q5, q5, %q[high]\n"                                                                \
                     "vstrb.32 q5, [%[y]], #4\n"                                                                  \
                     "le lr, 1b\n"                                                                                \
                     : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "+&r"(x), [w] "+&r"(w),    \
                       [block] "+&r"(block), [y] "+&r"(y)                                                         \
                     : [tail] "r"(tail), [blocks] "r"(blocks), [zero] "r"(limits.zero), [low] "w"(limits.low),    \
                       [high] "w"(limits.high)                                                                    \
                     : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "memory");                                       \
    return;                                                                                                       \
  }

/* `depth` is at most 64; `blocks` are those of four channels, all of them complete. */
static void short_pixel(const int8_t* x, int32_t depth, int32_t blocks, const int8_t* w, const struct pex_block* block,
                        struct pex_limits limits, int8_t* y) {
  int32_t tail = (depth - 1) % 16 + 1;
  switch ((depth - 1) / 16 + (tail == 16 ? 4 : 0)) {
    case 0: WITH_INPUTS(INPUTS1, PRODUCTS1, LAST_PRODUCT)
    case 1: WITH_INPUTS(INPUTS2, PRODUCTS2, LAST_PRODUCT)
    case 2: WITH_INPUTS(INPUTS3, PRODUCTS3, LAST_PRODUCT)
    case 3: WITH_INPUTS(INPUTS4, PRODUCTS4, LAST_PRODUCT)
    case 4: WITH_INPUTS(INPUTS1, PRODUCTS1, PRODUCT)
    case 5: WITH_INPUTS(INPUTS2, PRODUCTS2, PRODUCT)
    case 6: WITH_INPUTS(INPUTS3, PRODUCTS3, PRODUCT)
    case 7: WITH_INPUTS(INPUTS4, PRODUCTS4, PRODUCT)
  }
}

/* 2. Any inputs: sums of a slice of channels are kept, then requantised. */

/* Runs of `bytes` inputs of three pixels; the last one has no `x`. `beyond` is how far vectors reach behind them. */
struct run {
  const int8_t* x[PIXELS];
  int32_t bytes, beyond;
};

/* Of one pixel and four channels, whose weights lie `depth` apart. */
PEX_INLINE void add_one_pixel(int32_t sums[4], const struct run* run, const int8_t* w, int32_t depth) {
  const int8_t *w1 = w + depth, *w2 = w1 + depth, *w3 = w2 + depth, *x;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  __asm__(
      "ldr %[x], [%[run]], #12\n"
      "2:\n"
      "ldr lr, [%[run]], #8\n"
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
      "ldr lr, [%[run], #-4]\n"
      "ldr %[x], [%[run]], #12\n"
      "cbz %[x], 3f\n"
      "sub %[w0], lr\n"
      "sub %[w1], lr\n"
      "sub %[w2], lr\n"
      "sub %[w3], lr\n"
      "b 2b\n"
      "3:\n"
      : [a] "+&Te"(a), [b] "+&Te"(b), [c] "+&Te"(c), [d] "+&Te"(d), [x] "=&l"(x), [w0] "+&r"(w), [w1] "+&r"(w1),
        [w2] "+&r"(w2), [w3] "+&r"(w3), [run] "+&r"(run)
      :
      : "q0", "q1", "lr", "memory");
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

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

/* `pixels` is 1 or PIXELS; the last block may be incomplete. */
PEX_INLINE void requantise(int32_t sums[PIXELS][SLICE], int32_t pixels, int32_t channels, const struct pex_block* block,
                           const struct pex_parameters* p, struct pex_limits limits, int8_t* y) {
  for (int32_t channel = 0; channel < channels; channel += 4, block++) {
    int32x4_t multiplier = vld1q_s32(block->multiplier), shift = vld1q_s32(block->shift);
    mve_pred16_t present = vctp32q((uint32_t)(channels - channel));
    for (int32_t k = 0; k < pixels; k++) {
      int32x4_t results = pex_results(vld1q_s32(sums[k] + channel), multiplier, shift, limits);
      vstrbq_p_s32(y + k * p->output_pitch + channel, results, present);
    }
  }
}

/* The pixels whose runs these are. */
PEX_INLINE void long_pixels(const struct run* runs, int32_t pixels, const int8_t* w, const struct pex_block* block,
                            const struct pex_parameters* p, struct pex_limits limits, int8_t* y) {
  int32_t kept[PIXELS][SLICE], depth = p->depth;
  for (int32_t left = p->outputs; left > 0; left -= SLICE, block += SLICE / 4, y += SLICE) {
    int32_t channels = left < SLICE ? left : SLICE;
    for (int32_t channel = 0; channel < channels; channel += 4, w += 4 * depth) {
      const int32_t* bias = block[channel / 4].bias;
      if (pixels == 1) {
        int32_t sums[4] = {bias[0], bias[1], bias[2], bias[3]};
        add_one_pixel(sums, runs, w, depth);
        for (int32_t k = 0; k < 4; k++) kept[0][channel + k] = sums[k];
        continue;
      }
      for (int32_t k = 0; k < 4; k += 2) {
        int32_t first = bias[k], second = bias[k + 1], sums[6] = {first, first, first, second, second, second};
        add_three_pixels(sums, runs, w + k * depth, depth);
        for (int32_t m = 0; m < PIXELS; m++) {
          kept[m][channel + k] = sums[m];
          kept[m][channel + k + 1] = sums[PIXELS + m];
        }
      }
    }
    requantise(kept, pixels, channels, block, p, limits, y);
  }
}

/* For the first window, and with `pixels` 3 for the next two. */
PEX_INLINE void find_runs(struct run* runs, const struct pex_window* window, int32_t pixels, int32_t bytes) {
  for (int32_t k = 0; k < window->count; k++) {
    const int8_t* x = window->at[k];
    int32_t next = pixels > 1 ? window->moves[k].next : 0;
    runs[k] = (struct run){{x, x + next, x + 2 * next}, bytes, -bytes & 15};
  }
  runs[window->count].x[0] = 0;
}

static void three_pixels(const struct run* runs, const int8_t* w, const struct pex_block* block,
                         const struct pex_parameters* p, struct pex_limits limits, int8_t* y) {
  long_pixels(runs, PIXELS, w, block, p, limits, y);
}

static void one_pixel(const struct run* runs, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, struct pex_limits limits, int8_t* y) {
  long_pixels(runs, 1, w, block, p, limits, y);
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t bytes, int32_t found, const int8_t* w,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  struct pex_limits limits = pex_limits(p);
  struct run runs[PEX_TAPS + 1];
  if (window->count == 1 && bytes <= 64 && !limits.left_shift && p->outputs % 4 == 0) {
    int32_t next = window->columns > 1 || found > 1 ? window->moves[0].next : 0;
    const int8_t* x = window->at[0];
    for (; found > 0; found--, x += next, y += p->output_pitch)
      short_pixel(x, bytes, p->outputs / 4, w, block, limits, y);
    return;
  }
  while (found > 0) {
    int32_t pixels = found >= PIXELS ? PIXELS : 1;
    find_runs(runs, window, pixels, bytes);
    (pixels > 1 ? three_pixels : one_pixel)(runs, w, block, p, limits, y);
    found -= pixels, y += pixels * p->output_pitch;
    if (found) pex_move_on(window, pixels);
  }
}

#endif
