/* Convolutions whose weights lie in pairs of output channels, an even one and the odd one behind it: a 16-bit number
 * 256 * odd + even, which multiplies both at once. One more product with its low byte gives the even sum alone, and the
 * difference of the two is 256 times the odd sum. That saves half of the work of widening weights to 16 bits, in plain
 * C as with SMLAD. Sums have to fit 24 bits, which tvm_pex.micro_kernels sees to.
 *
 * For each four output channels and each four inputs there are 16 bytes: pairs of input 0 and of input 2 for the first
 * two channels, the same for the other two; and so for inputs 1 and 3. */
#include "pex_memory.h"
#include "pex_requantise.h"
#include "pex_window.h"

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

/* Of four channels: the even ones, and even + 256 * odd. */
struct sums {
  int32_t even0, both0, even1, both1;
};

PEX_INLINE struct sums begun(const struct pex_block* block) {
  return (struct sums){block->bias[0], block->bias[1], block->bias[2], block->bias[3]};
}

PEX_INLINE void put(int8_t* y, struct sums s, const struct pex_block* block, const struct pex_parameters* p,
                    int32_t count) {
  int32_t sums[4] = {s.even0, (int32_t)((uint32_t)s.both0 - (uint32_t)s.even0), s.even1,
                     (int32_t)((uint32_t)s.both1 - (uint32_t)s.even1)};
  pex_put(y, sums, block, p, count);
}

#if defined(__ARM_FEATURE_DSP)

/* Bytes 1 and 3. */
PEX_INLINE int32_t odd_bytes(int32_t word) {
  int32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
  return result;
}

/* Adds the products of `bytes` inputs; gives the weights behind them. */
PEX_INLINE const int8_t* add_run(struct sums* sums, const int8_t* x, const int8_t* weights, int32_t bytes) {
  struct sums s = *sums;
  const int8_t* end = x + bytes;
  do {
    const pex_two_pairs* w = (const pex_two_pairs*)weights;
    int32_t word = pex_load(x), even = __sxtb16(word), odd = odd_bytes(word), t;
    t = w[0], s.both0 = __smlad(even, t, s.both0), s.even0 = __smlad(even, __sxtb16(t), s.even0);
    t = w[1], s.both1 = __smlad(even, t, s.both1), s.even1 = __smlad(even, __sxtb16(t), s.even1);
    t = w[2], s.both0 = __smlad(odd, t, s.both0), s.even0 = __smlad(odd, __sxtb16(t), s.even0);
    t = w[3], s.both1 = __smlad(odd, t, s.both1), s.even1 = __smlad(odd, __sxtb16(t), s.even1);
    x += 4, weights += 16;
  } while (x != end);
  *sums = s;
  return weights;
}

#else

/* Products of input x[k] with the pairs at w: unsigned, because the sums of pairs may wrap around. */
#define ADD(s, value, pair0, pair1)                              \
  s.even0 += (value) * (int8_t)(pair0);                          \
  s.even1 += (value) * (int8_t)(pair1);                          \
  s.both0 = (int32_t)((uint32_t)s.both0 + (uint32_t)((value) * (pair0))); \
  s.both1 = (int32_t)((uint32_t)s.both1 + (uint32_t)((value) * (pair1)));

PEX_INLINE const int8_t* add_run(struct sums* sums, const int8_t* x, const int8_t* weights, int32_t bytes) {
  struct sums s = *sums;
  const int8_t* end = x + bytes;
  do {
    const pex_pair* w = (const pex_pair*)weights;
    int32_t value, pair0, pair1;
    value = x[0], pair0 = w[0], pair1 = w[2];
    ADD(s, value, pair0, pair1)
    value = x[2], pair0 = w[1], pair1 = w[3];
    ADD(s, value, pair0, pair1)
    value = x[1], pair0 = w[4], pair1 = w[6];
    ADD(s, value, pair0, pair1)
    value = x[3], pair0 = w[5], pair1 = w[7];
    ADD(s, value, pair0, pair1)
    x += 4, weights += 16;
  } while (x != end);
  *sums = s;
  return weights;
}

/* The same for two pixels, whose inputs lie `next` bytes apart. */
PEX_INLINE const int8_t* add_two_runs(struct sums* first, struct sums* second, const int8_t* x, int32_t next,
                                      const int8_t* weights, int32_t bytes) {
  struct sums s = *first, z = *second;
  const int8_t* end = x + bytes;
  do {
    const pex_pair* w = (const pex_pair*)weights;
    int32_t value, other, pair0, pair1;
#define ADD_TWO(k, m)                              \
  value = x[k], other = x[next + k], pair0 = w[m]; \
  pair1 = w[(m) + 2];                              \
  ADD(s, value, pair0, pair1)                      \
  ADD(z, other, pair0, pair1)
    ADD_TWO(0, 0)
    ADD_TWO(2, 1)
    ADD_TWO(1, 4)
    ADD_TWO(3, 5)
    x += 4, weights += 16;
  } while (x != end);
  *first = s, *second = z;
  return weights;
}

static void two_pixels(const struct pex_window* window, int32_t bytes, const int8_t* weights,
                       const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++) {
    struct sums s = begun(block), z = s;
    for (int32_t k = 0; k < window->count; k++)
      weights = add_two_runs(&s, &z, window->at[k], window->moves[k].next, weights, bytes);
    put(y, s, block, p, left);
    put(y + p->output_pitch, z, block, p, left);
  }
}

#endif

/* `at` are the starts of `count` runs of `bytes` inputs. */
static void one_pixel(const int8_t* const* at, int32_t count, int32_t bytes, const int8_t* weights,
                      const struct pex_block* block, const struct pex_parameters* p, int8_t* y) {
  const int8_t* const* end = at + count;
  for (int32_t left = p->outputs; left > 0; left -= 4, y += 4, block++) {
    struct sums s = begun(block);
    const int8_t* const* run = at;
    do weights = add_run(&s, *run, weights, bytes);
    while (++run != end);
    put(y, s, block, p, left);
  }
}

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
#if !defined(__ARM_FEATURE_DSP)
    for (; found > 1; found -= 2, y += 2 * p->output_pitch) {
      two_pixels(&window, bytes, w, block, p, y);
      pex_move_on(&window, 2);
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

int32_t pex_pairs_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  const int8_t* const at[1] = {patch};
  for (; pixels > 0; pixels--, column++, y += p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    one_pixel(at, 1, p->depth, weights + 4 * first * p->depth, pex_blocks(parameters) + first, p, y);
  }
  return 0;
}
