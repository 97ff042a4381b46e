/* The inner loops of pex_pairs.c: products of inputs with weights that lie in pairs of channels.
 *
 * `sums` are, of each pixel: even channel 0, both 0 and 1 (256 * odd + even), even channel 2, both 2 and 3. For Thumb-2
 * they are written by hand, because the sums need all registers but one and compilers spill them. */
#ifndef PEX_PAIRS_DOT_H
#define PEX_PAIRS_DOT_H

#include "pex_memory.h"

#if defined(__thumb2__)
#define PEX_THUMB2 1
#define PEX_BY_HAND __attribute__((naked, noinline, unused)) static
#endif

#if defined(PEX_THUMB2) && defined(__ARM_FEATURE_DSP)
#define PEX_DOT_WIDE 1
#else
#define PEX_DOT_TWO 1
#endif

#if !defined(PEX_THUMB2)

PEX_INLINE void pex_add_products(int32_t sums[4], int32_t value, int32_t pair0, int32_t pair1) {
  sums[0] += value * (int8_t)pair0;
  sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)(value * pair0)); /* may wrap around: only differences count */
  sums[2] += value * (int8_t)pair1;
  sums[3] = (int32_t)((uint32_t)sums[3] + (uint32_t)(value * pair1));
}

/* One pixel, `bytes` inputs side by side. Gives the weights behind those that it read. */
PEX_INLINE const int8_t* pex_dot_one(int32_t sums[4], const int8_t* x, const int8_t* weights, int32_t bytes) {
  const int8_t* end = x + bytes;
  do {
    const pex_pair* w = (const pex_pair*)weights;
    pex_add_products(sums, x[0], w[0], w[2]);
    pex_add_products(sums, x[2], w[1], w[3]);
    pex_add_products(sums, x[1], w[4], w[6]);
    pex_add_products(sums, x[3], w[5], w[7]);
    x += 4, weights += 16;
  } while (x != end);
  return weights;
}

/* Two pixels, whose inputs lie `next` bytes apart. */
PEX_INLINE const int8_t* pex_dot_two(int32_t sums[8], const int8_t* x, const int8_t* weights, int32_t bytes,
                                     int32_t next) {
  pex_dot_one(sums, x, weights, bytes);
  return pex_dot_one(sums + 4, x + next, weights, bytes);
}

#elif defined(__ARM_FEATURE_DSP)

PEX_BY_HAND const int8_t* pex_dot_one(int32_t sums[4], const int8_t* x, const int8_t* weights, int32_t bytes) {
  __asm__(
      "push {r4-r11, lr}\n"
      "add r3, r1\n"
      "ldm r0, {r4-r7}\n"
      "1:\n"
      "ldr lr, [r1], #4\n"
      "ldm r2!, {r8-r11}\n"
      "sxtb16 r12, lr\n" /* inputs 0 and 2 */
      "sxtb16 lr, lr, ror #8\n" /* inputs 1 and 3 */
      "smlad r5, r12, r8, r5\n"
      "smlad r7, r12, r9, r7\n"
      "sxtb16 r8, r8\n"
      "sxtb16 r9, r9\n"
      "smlad r4, r12, r8, r4\n"
      "smlad r6, r12, r9, r6\n"
      "smlad r5, lr, r10, r5\n"
      "smlad r7, lr, r11, r7\n"
      "sxtb16 r10, r10\n"
      "sxtb16 r11, r11\n"
      "smlad r4, lr, r10, r4\n"
      "smlad r6, lr, r11, r6\n"
      "cmp r1, r3\n"
      "bne 1b\n"
      "stm r0, {r4-r7}\n"
      "mov r0, r2\n"
      "pop {r4-r11, pc}\n");
}

/* Two pixels, widened: for each four inputs the words (0, 2) of both pixels, (1, 3) of both. */
PEX_BY_HAND const int8_t* pex_dot_wide(int32_t sums[8], const int32_t* x, const int8_t* weights, int32_t bytes) {
#define PEX_TWO_CHANNELS(even0, both0, even1, both1) \
  "ldr lr, [r2], #4\n"                               \
  "smlad " both0 ", r0, lr, " both0 "\n"             \
  "smlad " both1 ", r12, lr, " both1 "\n"            \
  "sxtb16 lr, lr\n"                                  \
  "smlad " even0 ", r0, lr, " even0 "\n"             \
  "smlad " even1 ", r12, lr, " even1 "\n"
  __asm__(
      "push {r0, r4-r11, lr}\n"
      "add r3, r1\n"
      "ldm r0, {r4-r11}\n"
      "1:\n"
      "ldm r1!, {r0, r12}\n"
      PEX_TWO_CHANNELS("r4", "r5", "r8", "r9")
      PEX_TWO_CHANNELS("r6", "r7", "r10", "r11")
      "ldm r1!, {r0, r12}\n"
      PEX_TWO_CHANNELS("r4", "r5", "r8", "r9")
      PEX_TWO_CHANNELS("r6", "r7", "r10", "r11")
      "cmp r1, r3\n"
      "bne 1b\n"
      "pop {r0}\n"
      "stm r0, {r4-r11}\n"
      "mov r0, r2\n"
      "pop {r4-r11, pc}\n");
#undef PEX_TWO_CHANNELS
}

#else

#define PEX_ONE_PAIR(offset, even, both)    \
  "ldrsh lr, [r2" offset "\n"             \
  "mla " both ", r12, lr, " both "\n"       \
  "sxtb lr, lr\n"                           \
  "mla " even ", r12, lr, " even "\n"

PEX_BY_HAND const int8_t* pex_dot_one(int32_t sums[4], const int8_t* x, const int8_t* weights, int32_t bytes) {
#define PEX_ONE_INPUT(input, pair0, pair1) \
  "ldrsb r12, [r1" input "\n" PEX_ONE_PAIR(pair0, "r4", "r5") PEX_ONE_PAIR(pair1, "r6", "r7")
  __asm__(
      "push {r4-r7, lr}\n"
      "add r3, r1\n"
      "ldm r0, {r4-r7}\n"
      "1:\n"
      PEX_ONE_INPUT("], #4", "], #16", ", #-12]") /* moves on: from here on offsets are less 4 and less 16 */
      PEX_ONE_INPUT(", #-2]", ", #-14]", ", #-10]")
      PEX_ONE_INPUT(", #-3]", ", #-8]", ", #-4]")
      PEX_ONE_INPUT(", #-1]", ", #-6]", ", #-2]")
      "cmp r1, r3\n"
      "bne 1b\n"
      "stm r0, {r4-r7}\n"
      "mov r0, r2\n"
      "pop {r4-r7, pc}\n");
#undef PEX_ONE_INPUT
}
#undef PEX_ONE_PAIR

PEX_BY_HAND const int8_t* pex_dot_two(int32_t sums[8], const int8_t* x, const int8_t* weights, int32_t bytes,
                                      int32_t next) {
#define PEX_TWO(offset, even0, both0, even1, both1) \
  "ldrsh lr, [r2" offset "\n"                     \
  "mla " both0 ", r3, lr, " both0 "\n"              \
  "mla " both1 ", r12, lr, " both1 "\n"             \
  "sxtb lr, lr\n"                                   \
  "mla " even0 ", r3, lr, " even0 "\n"              \
  "mla " even1 ", r12, lr, " even1 "\n"
#define PEX_TWO_INPUTS(input, pair0, pair1) \
  "ldrsb r3, [r1" input "\n"              \
  "ldrsb r12, [r0" input "\n"             \
  PEX_TWO(pair0, "r4", "r5", "r8", "r9")    \
  PEX_TWO(pair1, "r6", "r7", "r10", "r11")
  __asm__(
      "push {r0, r4-r11, lr}\n"
      "ldr r12, [sp, #40]\n"
      "add r3, r1\n"
      "push {r3}\n"
      "ldm r0, {r4-r11}\n"
      "add r0, r1, r12\n" /* the second pixel */
      "1:\n"
      PEX_TWO_INPUTS("], #4", "], #16", ", #-12]") /* as above */
      PEX_TWO_INPUTS(", #-2]", ", #-14]", ", #-10]")
      PEX_TWO_INPUTS(", #-3]", ", #-8]", ", #-4]")
      PEX_TWO_INPUTS(", #-1]", ", #-6]", ", #-2]")
      "ldr r3, [sp]\n"
      "cmp r1, r3\n"
      "bne 1b\n"
      "pop {r0, r1}\n" /* the end, the sums */
      "stm r1, {r4-r11}\n"
      "mov r0, r2\n"
      "pop {r4-r11, pc}\n");
#undef PEX_TWO_INPUTS
#undef PEX_TWO
}

#endif

#endif
