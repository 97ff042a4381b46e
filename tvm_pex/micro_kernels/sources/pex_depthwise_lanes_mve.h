/* pex_depthwise_lanes.c for vectors: sixteen channels a time, two positions a time, whose products have a sum of 16 bits.
 * Of vectors of bytes, VMULLB takes the even ones and VMULLT the odd ones, and so do VMOVLB and VMOVLT when sums are
 * widened again: sums of channels 0, 4, 8, 12, of those behind them, and so on. Narrowing undoes it. */
#ifndef PEX_DEPTHWISE_LANES_MVE_H
#define PEX_DEPTHWISE_LANES_MVE_H

#include <arm_mve.h>

#include "pex_kernels.h"
#include "pex_window.h"

/* Sums of channels k, k + 4, k + 8 and k + 12. */
struct sums {
  int32x4_t of0, of1, of2, of3;
};

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
/* Masks all vectors in between after the first `count` channels. */
#define BEGIN "dlstp.8 lr, %[count]\n"
#define END "lctp\n"

#define RESULTS(s) [of0] "+w"(s.of0), [of1] "+w"(s.of1), [of2] "+w"(s.of2), [of3] "+w"(s.of3)
#define SCRATCH [t] "=&w"(t), [v] "=&w"(v), [even] "=&w"(even), [odd] "=&w"(odd)

PEX_INLINE const int8_t* add_one(struct sums* sums, const int8_t* x, const int8_t* w, int32_t count) {
  struct sums s = *sums;
  int8x16_t t, v, even, odd;
  __asm__(BEGIN FIRST(x, "") WIDEN END
          : RESULTS(s), SCRATCH, [w] "+r"(w)
          : [x] "r"(x), [count] "r"(count)
          : "lr", "memory");
  *sums = s;
  return w;
}

PEX_INLINE const int8_t* add_two(struct sums* sums, const int8_t* x, const int8_t* x1, const int8_t* w,
                                 int32_t count) {
  struct sums s = *sums;
  int8x16_t t, v, even, odd;
  __asm__(BEGIN FIRST(x, "") SECOND(x1, "") WIDEN END
          : RESULTS(s), SCRATCH, [w] "+r"(w)
          : [x] "r"(x), [x1] "r"(x1), [count] "r"(count)
          : "lr", "memory");
  *sums = s;
  return w;
}

PEX_INLINE struct sums begun(const struct pex_block* block) {
  return (struct sums){vld1q_s32(block[0].bias), vld1q_s32(block[1].bias), vld1q_s32(block[2].bias),
                       vld1q_s32(block[3].bias)};
}

PEX_INLINE int32x4_t scaled(int32x4_t sums, const struct pex_block* block) {
  return vrshlq_s32(vmulhq_s32(sums, vld1q_s32(block->multiplier)), vld1q_s32(block->shift));
}

PEX_INLINE void finish(int8_t* y, struct sums s, const struct pex_block* block, const struct pex_parameters* p,
                       int32_t zero, int32_t count) {
  if (p->special) {
    int32_t bits = p->left_shifts[0];
    s = (struct sums){vshlq_r_s32(s.of0, bits), vshlq_r_s32(s.of1, bits), vshlq_r_s32(s.of2, bits),
                      vshlq_r_s32(s.of3, bits)};
  }
  int16x8_t even = vqmovnbq_s32(vuninitializedq_s16(), scaled(s.of0, block));
  int16x8_t odd = vqmovnbq_s32(vuninitializedq_s16(), scaled(s.of1, block + 1));
  even = vqaddq_n_s16(vqmovntq_s32(even, scaled(s.of2, block + 2)), (int16_t)zero);
  odd = vqaddq_n_s16(vqmovntq_s32(odd, scaled(s.of3, block + 3)), (int16_t)zero);
  int8x16_t results = vqmovntq_s16(vqmovnbq_s16(vuninitializedq_s8(), even), odd);
  if (p->special) {
    results = vmaxq_s8(results, vdupq_n_s8((int8_t)p->low));
    results = vminq_s8(results, vdupq_n_s8((int8_t)p->high));
  }
  __asm__ volatile(BEGIN "vstrb.8 %q[results], [%[y]]\n" END
                   :
                   : [count] "r"(count), [results] "w"(results), [y] "r"(y)
                   : "lr", "memory");
}

/* All channels of the pixel whose window this is. */
static void one_pixel(const struct pex_window* window, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, int8_t* y) {
  int32_t lines = window->count, columns = window->columns, zero = p->offset >> 1;
  for (int32_t channel = 0, left = p->outputs; left > 0; channel += 16, left -= 16, block += 4) {
    struct sums sums = begun(block);
    if (columns == 1) {
      const int8_t *const *at = window->at, *const *end = at + lines;
      for (; end - at > 1; at += 2) w = add_two(&sums, at[0] + channel, at[1] + channel, w, left);
      if (at != end) w = add_one(&sums, at[0] + channel, w, left);
    } else {
      for (int32_t k = 0; k < lines; k++) {
        const int8_t* x = window->at[k] + channel;
        int32_t m = columns, step = window->moves[k].step;
        for (; m > 1; m -= 2, x += 2 * step) w = add_two(&sums, x, x + step, w, left);
        if (m) w = add_one(&sums, x, w, left);
      }
    }
    finish(y + channel, sums, block, p, zero, left);
  }
}

/* The same for windows of three rows of three positions, and results that have all 8 bits: loads of the last position of
 * a row leave its pointer 16 bytes behind, where after two steps back the next channels are. */
#define STEP(k) "add %[x" #k "], %[step" #k "]\n"
#define BACK(k) "sub %[x" #k "], %[x" #k "], %[step" #k "], lsl #1\n"
#define BEGIN_SUMS(k) "vldrw.32 %q[of" #k "], [%[block], #48 * " #k "]\n"
#define SCALE(k)                                            \
  "vldrw.32 %q[t], [%[block], #48 * " #k " + 16]\n"         \
  "vldrw.32 %q[v], [%[block], #48 * " #k " + 32]\n"         \
  "vmulh.s32 %q[of" #k "], %q[of" #k "], %q[t]\n"           \
  "vrshl.s32 %q[of" #k "], %q[of" #k "], %q[v]\n"

/* A pixel: in memory, because there are few registers. */
struct pixel {
  const int8_t* x[3];
  int32_t step[3];
  const int8_t* w;
  const struct pex_block* block;
  int8_t* y;
  int32_t count, zero;
};

PEX_INLINE void one_3x3(const struct pixel* pixel) {
  const int8_t *x0, *x1, *x2, *w;
  const struct pex_block* block;
  int32_t step0, step1, step2;
  int8_t* y;
  struct sums s;
  int8x16_t t, v, even, odd;
  __asm__ volatile(
      "ldrd %[x0], %[x1], [%[pixel]]\n"
      "ldrd %[x2], %[step0], [%[pixel], #8]\n"
      "ldrd %[step1], %[step2], [%[pixel], #16]\n"
      "ldrd %[w], %[block], [%[pixel], #24]\n"
      "ldrd %[y], lr, [%[pixel], #32]\n"
      "ldr %[pixel], [%[pixel], #40]\n" /* now the zero point */
      "dlstp.8 lr, lr\n"
      "1:\n"
      BEGIN_SUMS(0) BEGIN_SUMS(1) BEGIN_SUMS(2) BEGIN_SUMS(3)
      FIRST(x0, "") STEP(0) SECOND(x0, "") WIDEN
      STEP(0) FIRST(x0, ", #16") SECOND(x1, "") WIDEN
      STEP(1) FIRST(x1, "") STEP(1) SECOND(x1, ", #16") WIDEN
      FIRST(x2, "") STEP(2) SECOND(x2, "") WIDEN
      STEP(2) FIRST(x2, ", #16") WIDEN
      BACK(0) BACK(1) BACK(2)
      SCALE(0) SCALE(1) SCALE(2) SCALE(3)
      "add %[block], #192\n"
      "vqmovnb.s32 %q[even], %q[of0]\n"
      "vqmovnt.s32 %q[even], %q[of2]\n"
      "vqmovnb.s32 %q[odd], %q[of1]\n"
      "vqmovnt.s32 %q[odd], %q[of3]\n"
      "vqadd.s16 %q[even], %q[even], %[pixel]\n"
      "vqadd.s16 %q[odd], %q[odd], %[pixel]\n"
      "vqmovnb.s16 %q[t], %q[even]\n"
      "vqmovnt.s16 %q[t], %q[odd]\n"
      "vstrb.8 %q[t], [%[y]], #16\n"
      "letp lr, 1b\n"
      : [of0] "=&w"(s.of0), [of1] "=&w"(s.of1), [of2] "=&w"(s.of2), [of3] "=&w"(s.of3), SCRATCH, [x0] "=&r"(x0),
        [x1] "=&r"(x1), [x2] "=&r"(x2), [step0] "=&r"(step0), [step1] "=&r"(step1), [step2] "=&r"(step2),
        [w] "=&r"(w), [block] "=&r"(block), [y] "=&r"(y), [pixel] "+&r"(pixel)
      :
      : "lr", "memory");
}

/* `found` pixels, whose windows move on from each to the next. */
static void pixels_of(struct pex_window* window, int32_t found, const int8_t* w, const struct pex_block* block,
                      const struct pex_parameters* p, int8_t* y) {
  if (window->count == 3 && window->columns == 3 && !p->special) {
    struct pixel pixel = {{window->at[0], window->at[1], window->at[2]},
                          {window->moves[0].step, window->moves[1].step, window->moves[2].step},
                          w, block, y, p->outputs, p->offset >> 1};
    for (; found > 0; found--, pixel.y += p->output_pitch) {
      one_3x3(&pixel);
      for (int32_t k = 0; k < 3; k++) pixel.x[k] += window->moves[k].next;
    }
    return;
  }
  for (; found > 0; found--, y += p->output_pitch) {
    one_pixel(window, w, block, p, y);
    if (found > 1) pex_move_on(window, 1);
  }
}

#endif
