/* pex_depthwise_lanes.c for vectors: sixteen channels a time, two positions a time, whose products have sums of 16 bits.
 * Of vectors of bytes, VMULLB takes the even ones and VMULLT the odd ones, and so do VMOVLB and VMOVLT when sums are
 * widened again: sums of channels 0, 4, 8, 12, of those behind them, and so on. Narrowing undoes it. */
#ifndef PEX_DEPTHWISE_LANES_MVE_H
#define PEX_DEPTHWISE_LANES_MVE_H

#include "pex_kernels.h"
#include "pex_rounding.h"
#include "pex_window.h"

#define FIRST(x, increment)                    \
  "vldrb.8 %q[t], [%[" #x "]]" increment "\n"  \
  "vldrb.8 %q[v], [%[w]], #16\n"   \
  "vmullb.s8 %q[even], %q[t], %q[v]\n" \
  "vmullt.s8 %q[odd], %q[t], %q[v]\n"
#define SECOND(x, increment)                   \
  "vldrb.8 %q[t], [%[" #x "]]\n"   \
  "vldrb.8 %q[v], [%[w]], #16\n"   \
  "vmullb.s8 %q[t], %q[t], %q[v]\n" \
  "vadd.i16 %q[even], %q[even], %q[t]\n" \
  "vldrb.8 %q[t], [%[" #x "]]" increment "\n"  \
  "vmullt.s8 %q[t], %q[t], %q[v]\n" \
  "vadd.i16 %q[odd], %q[odd], %q[t]\n"
#define WIDEN                             \
  "vmovlb.s16 %q[t], %q[even]\n"          \
  "vmovlt.s16 %q[even], %q[even]\n"       \
  "vadd.i32 %q[of0], %q[of0], %q[t]\n"    \
  "vadd.i32 %q[of2], %q[of2], %q[even]\n" \
  "vmovlb.s16 %q[t], %q[odd]\n"           \
  "vmovlt.s16 %q[odd], %q[odd]\n"         \
  "vadd.i32 %q[of1], %q[of1], %q[t]\n"    \
  "vadd.i32 %q[of3], %q[of3], %q[odd]\n"
#define STEP(k) "add %[x" #k "], %[step" #k "]\n"
#define BACK(k) "sub %[x" #k "], %[x" #k "], %[step" #k "], lsl #1\n"
#define BEGIN(k) "vldrw.32 %q[of" #k "], [%[block], #48 * " #k "]\n"
#define SHIFT(k) "vshl.s32 %q[of" #k "], %[x]\n"
#define SCALE(k)                                            \
  "vldrw.32 %q[t], [%[block], #48 * " #k " + 16]\n"         \
  "vldrw.32 %q[v], [%[block], #48 * " #k " + 32]\n"         \
  PEX_HIGHS("%q[of" #k "]", "%q[t]")                        \
  "vrshl.s32 %q[of" #k "], %q[of" #k "], %q[v]\n"
#define NARROW(zero)                                        \
  "vqmovnb.s32 %q[even], %q[of0]\n"                         \
  "vqmovnt.s32 %q[even], %q[of2]\n"                         \
  "vqmovnb.s32 %q[odd], %q[of1]\n"                          \
  "vqmovnt.s32 %q[odd], %q[of3]\n"                          \
  "vqadd.s16 %q[even], %q[even], %[" #zero "]\n"            \
  "vqadd.s16 %q[odd], %q[odd], %[" #zero "]\n"              \
  "vqmovnb.s16 %q[t], %q[even]\n"                           \
  "vqmovnt.s16 %q[t], %q[odd]\n"
#define VECTORS                                                                                             \
  [of0] "=&w"(of0), [of1] "=&w"(of1), [of2] "=&w"(of2), [of3] "=&w"(of3), [t] "=&w"(t), [v] "=&w"(v), \
      [even] "=&w"(even), [odd] "=&w"(odd)

/* What the loops over channels need: in memory, because there are few registers. `at` are the window's positions; or
 * else it has three rows, whose positions begin at `x` and lie `step` apart. */
struct pixel {
  const int8_t* x[3];
  int32_t step[3];
  const int8_t* w;
  const struct pex_block* block;
  int8_t* y;
  int32_t channels, zero, low, high, left_shift;
  const int8_t *const *at, *const *end;
};

/* Three rows of three positions, and results that have all 8 bits. Loads of a row's last position leave the pointer 16
 * bytes behind, so that two steps back the next channels are. */
PEX_INLINE void rows_3x3(const struct pixel* pixel) {
  int8x16_t of0, of1, of2, of3, t, v, even, odd;
  int32_t x0, x1, x2, step0, step1, step2, w, block, y;
  __asm__ volatile(
      "ldrd %[x0], %[x1], [%[pixel]]\n"
      "ldrd %[x2], %[step0], [%[pixel], #8]\n"
      "ldrd %[step1], %[step2], [%[pixel], #16]\n"
      "ldrd %[w], %[block], [%[pixel], #24]\n"
      "ldrd %[y], lr, [%[pixel], #32]\n"
      "ldr %[pixel], [%[pixel], #40]\n" /* now the zero point */
      "dlstp.8 lr, lr\n"
      "1:\n"
      BEGIN(0) BEGIN(1) BEGIN(2) BEGIN(3)
      FIRST(x0, "") STEP(0) SECOND(x0, "") WIDEN
      STEP(0) FIRST(x0, ", #16") SECOND(x1, "") WIDEN
      STEP(1) FIRST(x1, "") STEP(1) SECOND(x1, ", #16") WIDEN
      FIRST(x2, "") STEP(2) SECOND(x2, "") WIDEN
      STEP(2) FIRST(x2, ", #16") WIDEN
      BACK(0) BACK(1) BACK(2)
      SCALE(0) SCALE(1) SCALE(2) SCALE(3)
      "add %[block], #192\n"
      NARROW(pixel)
      "vstrb.8 %q[t], [%[y]], #16\n"
      "letp lr, 1b\n"
      : VECTORS, [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [step0] "=&r"(step0), [step1] "=&r"(step1),
        [step2] "=&r"(step2), [w] "=&r"(w), [block] "=&r"(block), [y] "=&r"(y), [pixel] "+&r"(pixel)
      :
      : "lr", "memory");
}

/* Any positions, any results. */
static void positions(const struct pixel* pixel) {
  int8x16_t of0, of1, of2, of3, t, v, even, odd;
  int32_t x, at, end, first, w, block, y;
  __asm__ volatile(
      "ldrd %[w], %[block], [%[pixel], #24]\n"
      "ldrd %[y], lr, [%[pixel], #32]\n"
      "mov %[first], #0\n"
      "dlstp.8 lr, lr\n"
      "1:\n"
      BEGIN(0) BEGIN(1) BEGIN(2) BEGIN(3)
      "ldrd %[at], %[end], [%[pixel], #56]\n"
      "2:\n"
      "ldr %[x], [%[at]], #4\n"
      "add %[x], %[first]\n"
      FIRST(x, "")
      "cmp %[at], %[end]\n"
      "beq 3f\n"
      "ldr %[x], [%[at]], #4\n"
      "add %[x], %[first]\n"
      SECOND(x, "")
      "3:\n"
      WIDEN
      "cmp %[at], %[end]\n"
      "bne 2b\n"
      "ldr %[x], [%[pixel], #52]\n"
      SHIFT(0) SHIFT(1) SHIFT(2) SHIFT(3)
      SCALE(0) SCALE(1) SCALE(2) SCALE(3)
      "add %[block], #192\n"
      "add %[first], #16\n"
      "ldrd %[x], %[at], [%[pixel], #40]\n"
      NARROW(x)
      "vdup.8 %q[v], %[at]\n"
      "vmax.s8 %q[t], %q[t], %q[v]\n"
      "ldr %[x], [%[pixel], #48]\n"
      "vdup.8 %q[v], %[x]\n"
      "vmin.s8 %q[t], %q[t], %q[v]\n"
      "vstrb.8 %q[t], [%[y]], #16\n"
      "letp lr, 1b\n"
      : VECTORS, [x] "=&r"(x), [at] "=&r"(at), [end] "=&r"(end), [first] "=&r"(first), [w] "=&r"(w),
        [block] "=&r"(block), [y] "=&r"(y)
      : [pixel] "r"(pixel)
      : "lr", "cc", "memory");
}

/* A window whose lines are rows of positions, none of them alone. For a while they lie where the rows were; not inlined,
 * so that the rows lie on the stack only then. */
__attribute__((noinline)) static void listed_positions(struct pex_window* window, struct pixel* pixel) {
  const struct pex_rows rows = window->lines.rows;
  const int8_t** end = window->lines.at;
  for (int32_t k = 0; k < window->count; k++)
    for (int32_t m = 0; m < window->columns; m++) *end++ = rows.at[k] + m * rows.moves[k].step;
  pixel->at = window->lines.at, pixel->end = end;
  positions(pixel);
  window->lines.rows = rows;
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t found, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, int8_t* y) {
  struct pixel pixel = {
      .w = w, .block = block, .y = y, .channels = p->outputs, .zero = p->offset >> 1, .low = p->low, .high = p->high,
      .left_shift = p->left_shifts[0], .at = window->lines.at, .end = window->lines.at + window->count,
  };
  if (window->count == 3 && window->columns == 3 && !p->special) {
    for (int32_t k = 0; k < 3; k++) pixel.x[k] = window->lines.at[k], pixel.step[k] = window->lines.rows.moves[k].step;
    for (; found > 0; found--, pixel.y += p->output_pitch) {
      rows_3x3(&pixel);
      for (int32_t k = 0; k < 3; k++) pixel.x[k] += window->lines.rows.moves[k].next;
    }
    return;
  }
  for (; found > 0; found--, pixel.y += p->output_pitch) {
    if (window->columns == 1)
      positions(&pixel);
    else
      listed_positions(window, &pixel);
    if (found > 1) pex_move_on(window, 1);
  }
}

#endif
