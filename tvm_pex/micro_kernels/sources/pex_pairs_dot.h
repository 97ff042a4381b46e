/* The loops of pex_pairs.c: products of inputs with weights that lie in pairs of channels.
 *
 * Sums are, of each pixel: even channel 0, both 0 and 1 (256 * odd + even), even channel 2, both 2 and 3. For Thumb-2
 * they are written by hand, because the sums need most registers and compilers spill them. */
#ifndef PEX_PAIRS_DOT_H
#define PEX_PAIRS_DOT_H

#include "pex_memory.h"
#include "pex_requantise.h"

#if defined(__thumb2__) && defined(__ARM_FEATURE_DSP)
#define PEX_DOT_WIDE 1
#else
#define PEX_DOT_TWO 1
#endif
#if defined(__thumb2__)
#define PEX_FAST_BLOCKS 1
#endif

/* What is done of a pixel, or of two: blocks of four channels, from `block` up to `end`. */
struct pex_job {
  const int8_t* const* runs;     /* 0: starts of runs of inputs; of two pixels: the second one's, the first one's */
  const int8_t* const* runs_end; /* 4 */
  int32_t bytes;                 /* 8: of a run */
  const int8_t* weights;         /* 12 */
  const struct pex_block* block; /* 16: moves on */
  const struct pex_block* end;   /* 20 */
  int32_t offset;                /* 24 */
  int8_t *y, *y2;                /* 28, 32: of results; move on */
  int32_t* sums;                 /* 36: of sums, of one block */
};

#if !defined(__thumb2__)

PEX_INLINE void pex_add_products(int32_t sums[4], int32_t value, int32_t pair0, int32_t pair1) {
  sums[0] += value * (int8_t)pair0;
  sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)(value * pair0)); /* may wrap around: only differences count */
  sums[2] += value * (int8_t)pair1;
  sums[3] = (int32_t)((uint32_t)sums[3] + (uint32_t)(value * pair1));
}

/* Sums of one block of pixel number `pixel` of `pixels`. */
PEX_INLINE const int8_t* pex_sums(const struct pex_job* job, int32_t pixel, int32_t pixels) {
  int32_t* sums = job->sums + 4 * pixel;
  const int8_t* weights = job->weights;
  for (int32_t k = 0; k < 4; k++) sums[k] = job->block->bias[k];
  for (const int8_t* const* run = job->runs; run != job->runs_end; run += pixels) {
    const int8_t* x = run[pixels - 1 - pixel];
    for (int32_t k = 0; k < job->bytes; k += 4, x += 4, weights += 16) {
      const pex_pair* w = (const pex_pair*)weights;
      pex_add_products(sums, x[0], w[0], w[2]);
      pex_add_products(sums, x[2], w[1], w[3]);
      pex_add_products(sums, x[1], w[4], w[6]);
      pex_add_products(sums, x[3], w[5], w[7]);
    }
  }
  sums[1] = (int32_t)((uint32_t)sums[1] - (uint32_t)sums[0]);
  sums[3] = (int32_t)((uint32_t)sums[3] - (uint32_t)sums[2]);
  return weights;
}

PEX_INLINE const int8_t* pex_one_sums(struct pex_job* job) { return pex_sums(job, 0, 1); }

PEX_INLINE const int8_t* pex_two_sums(struct pex_job* job) {
  pex_sums(job, 0, 2);
  return pex_sums(job, 1, 2);
}

#else

#define PEX_BY_HAND __attribute__((naked, noinline, unused)) static

/* `step` is what four inputs take of `bytes`; they are added two times in a row, beginning with the second of the two
 * where their number is odd. Registers: r4 to r7 the sums of the first pixel, r8 to r11 those of the second, r2 weights. On the stack: where the
 * present run ends, the next run, the job. The functions give the weights behind the last that they read. */
#define PEX_BLOCKS(copy_sums, step, find_run, add_four, at_end, put)  \
  "push {r0, r4-r11, lr}\n"                            \
  "sub sp, #8\n"                                       \
  "ldr r2, [r0, #12]\n"                                \
  "1:\n" /* a block */                                 \
  "ldr r12, [r0, #16]\n"                               \
  "ldm r12!, {r4-r7}\n"                                \
  "str r12, [r0, #16]\n" copy_sums                     \
  "ldr r3, [r0]\n"                                     \
  "2:\n" /* a run */                                   \
  "ldr r12, [r0, #8]\n"                                \
  "tst r12, #" step "\n" find_run                      \
  "bne 4f\n" /* an odd number of fours */              \
  "3:\n" add_four                                      \
  "4:\n" add_four at_end                               \
  "bne 3b\n"                                           \
  "ldr r0, [sp, #8]\n"                                 \
  "ldr r3, [sp, #4]\n"                                 \
  "ldr r12, [r0, #4]\n"                                \
  "cmp r3, r12\n"                                      \
  "bne 2b\n"                                           \
  "ldr r1, [r0, #16]\n" /* multipliers and shifts */   \
  "ldr r3, [r0, #24]\n" put                            \
  "add r1, #32\n"                                      \
  "str r1, [r0, #16]\n"                                \
  "ldr r12, [r0, #20]\n"                               \
  "cmp r1, r12\n"                                      \
  "bne 1b\n"                                           \
  "mov r0, r2\n"                                       \
  "add sp, #12\n"                                      \
  "pop {r4-r11, pc}\n"

#define PEX_COPY_SUMS "mov r8, r4\nmov r9, r5\nmov r10, r6\nmov r11, r7\n"

/* The results of channel k, see pex_requantise.h; `SUM` is PEX_EVEN_SUM or PEX_ODD_SUM. */
#define PEX_HALF(sum) "add " sum ", r3\nssat " sum ", #8, " sum ", asr #1\n"
#define PEX_SCALE_ONE(SUM, a, multiplier, shift)                                                           \
  "ldr r12, [r1, #" multiplier "]\n" SUM(a) PEX_HIGH(a, "r12", "lr") "ldr r12, [r1, #" shift "]\n"       \
  "asr " a ", r12\n" PEX_HALF(a)
#define PEX_SCALE_TWO(SUM, a, b, multiplier, shift)                                                        \
  "ldr r12, [r1, #" multiplier "]\n" SUM(a) PEX_HIGH(a, "r12", "lr") SUM(b) PEX_HIGH(b, "r12", "lr")      \
  "ldr r12, [r1, #" shift "]\nasr " a ", r12\nasr " b ", r12\n" PEX_HALF(a) PEX_HALF(b)
#define PEX_STORE(a, b, c, d, y) \
  "strb " a ", [" y "], #1\nstrb " b ", [" y "], #1\nstrb " c ", [" y "], #1\nstrb " d ", [" y "], #1\n"
#define PEX_PUT_ONE                                                               \
  "sub r5, r4\nsub r7, r6\n"                                                      \
  PEX_SCALE_ONE(PEX_EVEN_SUM, "r4", "0", "16") PEX_SCALE_ONE(PEX_ODD_SUM, "r5", "4", "20")       \
  PEX_SCALE_ONE(PEX_EVEN_SUM, "r6", "8", "24") PEX_SCALE_ONE(PEX_ODD_SUM, "r7", "12", "28")      \
  "ldr r12, [r0, #28]\n" PEX_STORE("r4", "r5", "r6", "r7", "r12") "str r12, [r0, #28]\n"
#define PEX_PUT_TWO                                                               \
  "sub r5, r4\nsub r7, r6\nsub r9, r8\nsub r11, r10\n"                            \
  PEX_SCALE_TWO(PEX_EVEN_SUM, "r4", "r8", "0", "16") PEX_SCALE_TWO(PEX_ODD_SUM, "r5", "r9", "4", "20")     \
  PEX_SCALE_TWO(PEX_EVEN_SUM, "r6", "r10", "8", "24") PEX_SCALE_TWO(PEX_ODD_SUM, "r7", "r11", "12", "28")  \
  "ldrd r12, lr, [r0, #28]\n" PEX_STORE("r4", "r5", "r6", "r7", "r12")            \
  PEX_STORE("r8", "r9", "r10", "r11", "lr") "strd r12, lr, [r0, #28]\n"

/* Or the sums. */
#define PEX_KEEP_ONE "sub r5, r4\nsub r7, r6\nldr r12, [r0, #36]\nstm r12, {r4-r7}\n"
#define PEX_KEEP_TWO "sub r5, r4\nsub r7, r6\nsub r9, r8\nsub r11, r10\nldr r12, [r0, #36]\nstm r12, {r4-r11}\n"

#if defined(__ARM_FEATURE_DSP)

/* r1 inputs, r3 their end. */
#define PEX_FIND_ONE "ldr r1, [r3], #4\nstr r3, [sp, #4]\nadd r3, r1, r12\n"
#define PEX_ADD_ONE                        \
  "ldr lr, [r1], #4\n"                     \
  "ldm r2!, {r8-r11}\n"                    \
  "sxtb16 r12, lr\n" /* inputs 0 and 2 */  \
  "sxtb16 lr, lr, ror #8\n" /* 1 and 3 */  \
  "smlad r5, r12, r8, r5\n"                \
  "smlad r7, r12, r9, r7\n"                \
  "sxtb16 r8, r8\n"                        \
  "sxtb16 r9, r9\n"                        \
  "smlad r4, r12, r8, r4\n"                \
  "smlad r6, r12, r9, r6\n"                \
  "smlad r5, lr, r10, r5\n"                \
  "smlad r7, lr, r11, r7\n"                \
  "sxtb16 r10, r10\n"                      \
  "sxtb16 r11, r11\n"                      \
  "smlad r4, lr, r10, r4\n"                \
  "smlad r6, lr, r11, r6\n"

/* Two pixels, widened: for each four inputs the words (0, 2) of both pixels, (1, 3) of both. */
#define PEX_TWO_CHANNELS(even0, both0, even1, both1) \
  "ldr lr, [r2], #4\n"                               \
  "smlad " both0 ", r0, lr, " both0 "\n"             \
  "smlad " both1 ", r12, lr, " both1 "\n"            \
  "sxtb16 lr, lr\n"                                  \
  "smlad " even0 ", r0, lr, " even0 "\n"             \
  "smlad " even1 ", r12, lr, " even1 "\n"
#define PEX_ADD_WIDE                                                                            \
  "ldm r1!, {r0, r12}\n"                                                                        \
  PEX_TWO_CHANNELS("r4", "r5", "r8", "r9") PEX_TWO_CHANNELS("r6", "r7", "r10", "r11")           \
  "ldm r1!, {r0, r12}\n"                                                                        \
  PEX_TWO_CHANNELS("r4", "r5", "r8", "r9") PEX_TWO_CHANNELS("r6", "r7", "r10", "r11")

PEX_BY_HAND const int8_t* pex_two_pixels(struct pex_job* job) {
  __asm__(PEX_BLOCKS(PEX_COPY_SUMS, "16", PEX_FIND_ONE, PEX_ADD_WIDE, "cmp r1, r3\n", PEX_PUT_TWO));
}

PEX_BY_HAND const int8_t* pex_two_sums(struct pex_job* job) {
  __asm__(PEX_BLOCKS(PEX_COPY_SUMS, "16", PEX_FIND_ONE, PEX_ADD_WIDE, "cmp r1, r3\n", PEX_KEEP_TWO));
}

#else

/* r1 inputs, r3 their end, r12 an input, lr a pair of weights. The first input and pair move the pointers on, so that
 * the offsets of the others are less 4 and less 16. */
#define PEX_FIND_ONE "ldr r1, [r3], #4\nstr r3, [sp, #4]\nadd r3, r1, r12\n"
#define PEX_ONE_PAIR(offset, even, both) \
  "ldrsh lr, [r2" offset "\nmla " both ", r12, lr, " both "\nsxtb lr, lr\nmla " even ", r12, lr, " even "\n"
#define PEX_ONE_INPUT(input, pair0, pair1) \
  "ldrsb r12, [r1" input "\n" PEX_ONE_PAIR(pair0, "r4", "r5") PEX_ONE_PAIR(pair1, "r6", "r7")
#define PEX_ADD_ONE                                                                            \
  PEX_ONE_INPUT("], #4", "], #16", ", #-12]") PEX_ONE_INPUT(", #-2]", ", #-14]", ", #-10]")    \
  PEX_ONE_INPUT(", #-3]", ", #-8]", ", #-4]") PEX_ONE_INPUT(", #-1]", ", #-6]", ", #-2]")

/* r1 and r0 inputs of both pixels, r3 and r12 one of each, lr a pair of weights. */
#define PEX_FIND_TWO "ldm r3!, {r0, r1}\nstr r3, [sp, #4]\nadd r12, r1\nstr r12, [sp]\n"
#define PEX_TWO_PAIRS(offset, even0, both0, even1, both1)                                        \
  "ldrsh lr, [r2" offset "\nmla " both0 ", r3, lr, " both0 "\nmla " both1 ", r12, lr, " both1    \
  "\nsxtb lr, lr\nmla " even0 ", r3, lr, " even0 "\nmla " even1 ", r12, lr, " even1 "\n"
#define PEX_TWO_INPUTS(input, pair0, pair1)                         \
  "ldrsb r3, [r1" input "\nldrsb r12, [r0" input "\n"               \
  PEX_TWO_PAIRS(pair0, "r4", "r5", "r8", "r9") PEX_TWO_PAIRS(pair1, "r6", "r7", "r10", "r11")
#define PEX_ADD_TWO                                                                              \
  PEX_TWO_INPUTS("], #4", "], #16", ", #-12]") PEX_TWO_INPUTS(", #-2]", ", #-14]", ", #-10]")    \
  PEX_TWO_INPUTS(", #-3]", ", #-8]", ", #-4]") PEX_TWO_INPUTS(", #-1]", ", #-6]", ", #-2]")

PEX_BY_HAND const int8_t* pex_two_pixels(struct pex_job* job) {
  __asm__(PEX_BLOCKS(PEX_COPY_SUMS, "4", PEX_FIND_TWO, PEX_ADD_TWO, "ldr r3, [sp]\ncmp r1, r3\n", PEX_PUT_TWO));
}

PEX_BY_HAND const int8_t* pex_two_sums(struct pex_job* job) {
  __asm__(PEX_BLOCKS(PEX_COPY_SUMS, "4", PEX_FIND_TWO, PEX_ADD_TWO, "ldr r3, [sp]\ncmp r1, r3\n", PEX_KEEP_TWO));
}

#endif

PEX_BY_HAND const int8_t* pex_one_pixel(struct pex_job* job) {
  __asm__(PEX_BLOCKS("", "4", PEX_FIND_ONE, PEX_ADD_ONE, "cmp r1, r3\n", PEX_PUT_ONE));
}

PEX_BY_HAND const int8_t* pex_one_sums(struct pex_job* job) {
  __asm__(PEX_BLOCKS("", "4", PEX_FIND_ONE, PEX_ADD_ONE, "cmp r1, r3\n", PEX_KEEP_ONE));
}

#endif

#endif
