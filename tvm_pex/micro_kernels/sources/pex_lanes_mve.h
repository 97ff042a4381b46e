/* The sums of pex_lanes.c by VMLADAVA: sixteen products a time, which it adds up in one of the even registers. Its loops
 * mask the last, incomplete vector of a run by themselves. */
#ifndef PEX_LANES_MVE_H
#define PEX_LANES_MVE_H

#include "pex_requantise_mve.h"
#include "pex_window.h"

/* Adds the products of `bytes` inputs at `x` with the weights of four channels, which lie `depth` apart. */
PEX_INLINE void add_run(int32_t sums[4], const int8_t* x, const int8_t* w, int32_t depth, int32_t bytes) {
  const int8_t *w1 = w + depth, *w2 = w1 + depth, *w3 = w2 + depth;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  __asm__(
      "dlstp.8 lr, %[bytes]\n"
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
      : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [x] "+r"(x), [w0] "+r"(w), [w1] "+r"(w1),
        [w2] "+r"(w2), [w3] "+r"(w3)
      : [bytes] "r"(bytes)
      : "q0", "q1", "lr", "memory");
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* The same for two channels and three pixels, `next` bytes apart: sums of the first channel, then of the second. */
PEX_INLINE void add_three_runs(int32_t first[3], int32_t second[3], const int8_t* x, int32_t next, const int8_t* w,
                               const int8_t* w1, int32_t bytes) {
  const int8_t *x1 = x + next, *x2 = x1 + next;
  int32_t a = first[0], b = first[1], c = first[2], d = second[0], e = second[1], f = second[2];
  __asm__(
      "dlstp.8 lr, %[bytes]\n"
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
      : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [e] "+Te"(e), [f] "+Te"(f), [x0] "+r"(x),
        [x1] "+r"(x1), [x2] "+r"(x2), [w0] "+r"(w), [w1] "+r"(w1)
      : [bytes] "r"(bytes)
      : "q0", "q1", "q2", "lr", "memory");
  first[0] = a, first[1] = b, first[2] = c, second[0] = d, second[1] = e, second[2] = f;
}

PEX_INLINE int32x4_t with_even_lanes(int32x4_t vector, int32_t lane0, int32_t lane2) {
  __asm__("vmov %q0[2], %q0[0], %1, %2" : "+w"(vector) : "r"(lane0), "r"(lane2));
  return vector;
}

PEX_INLINE int32x4_t with_odd_lanes(int32x4_t vector, int32_t lane1, int32_t lane3) {
  __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(vector) : "r"(lane1), "r"(lane3));
  return vector;
}

PEX_INLINE void put(int8_t* y, int32x4_t results, int32_t count) {
  if (count >= 4)
    vstrbq_s32(y, results);
  else
    vstrbq_p_s32(y, results, vctp32q((uint32_t)count));
}

/* `at` are the starts of `count` runs of `bytes` inputs. */
static void one_pixel(const int8_t* const* at, int32_t count, int32_t bytes, const int8_t* weights,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  struct pex_limits limits = pex_limits(p);
  int32_t depth = p->depth;
  const int8_t* const* end = at + count;
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++, weights += 4 * depth) {
    int32_t sums[4] = {block->bias[0], block->bias[1], block->bias[2], block->bias[3]};
    const int8_t* w = weights;
    const int8_t* const* run = at;
    do {
      add_run(sums, *run, w, depth, bytes);
      w += bytes;
    } while (++run != end);
    int32x4_t vector = with_odd_lanes(with_even_lanes(vuninitializedq_s32(), sums[0], sums[2]), sums[1], sums[3]);
    put(y, pex_results(vector, vld1q_s32(block->multiplier), vld1q_s32(block->shift), limits), left);
  }
}

static void three_pixels(const struct pex_window* window, int32_t bytes, const int8_t* weights,
                         const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  struct pex_limits limits = pex_limits(p);
  int32_t depth = p->depth;
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++, weights += 4 * depth) {
    int32x4_t vectors[3] = {vuninitializedq_s32(), vuninitializedq_s32(), vuninitializedq_s32()};
    for (int32_t odd = 0; odd < 2; odd++) {
      int32_t first = block->bias[odd], second = block->bias[odd + 2];
      int32_t sums[3] = {first, first, first}, others[3] = {second, second, second};
      const int8_t *w = weights + odd * depth, *w2 = w + 2 * depth;
      for (int32_t k = 0; k < window->count; k++, w += bytes, w2 += bytes)
        add_three_runs(sums, others, window->at[k], window->moves[k].next, w, w2, bytes);
      for (int32_t k = 0; k < 3; k++)
        vectors[k] = (odd ? with_odd_lanes : with_even_lanes)(vectors[k], sums[k], others[k]);
    }
    int32x4_t multiplier = vld1q_s32(block->multiplier), shift = vld1q_s32(block->shift);
    for (int32_t k = 0; k < 3; k++)
      put(y + k * p->output_pitch, pex_results(vectors[k], multiplier, shift, limits), left);
  }
}

#endif
