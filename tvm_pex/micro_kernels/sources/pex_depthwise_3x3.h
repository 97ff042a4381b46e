/* The inner loop of pex_depthwise.c for windows of 3 x 3 positions, written by hand for Thumb-2: channel by channel, some
 * output pixels side by side, so that a weight is loaded once for all of them and an input once for those that share it. */
#ifndef PEX_DEPTHWISE_3X3_H
#define PEX_DEPTHWISE_3X3_H

#include "pex_kernels.h"
#include "pex_rounding.h"

/* A row of inputs, of one channel: the first one, and bytes from it to those in the columns behind it. */
struct pex_columns {
  const int8_t* first;
  int32_t apart[5];
};

struct pex_job {
  struct pex_columns rows[3];
  const int8_t* weights;
  const struct pex_block* block;
  int8_t* y;
  int32_t pitch; /* bytes from an output pixel to the next */
  int32_t channels;
  int32_t offset;
};

#define PEX_BY_HAND __attribute__((naked, noinline, unused)) static

/* Registers: r0 to r3 sums, r4 to r6 weights of a row, r7 input, r8 to lr the row's struct pex_columns. The job is copied
 * to the stack, because no register is left that could point to it. */
#define PEX_BEGIN                                        \
  "push {r4-r11, lr}\n"                                  \
  "sub sp, #96\n"                                        \
  "ldm r0!, {r1-r12}\n"                                  \
  "stm sp, {r1-r12}\n"                                   \
  "ldm r0!, {r1-r12}\n"                                  \
  "add lr, sp, #48\n"                                    \
  "stm lr, {r1-r12}\n"                                   \
  "1:\n"                                                 \
  "ldr r7, [sp, #76]\n" /* the block's biases */         \
  "ldr r0, [r7]\n"                                       \
  "mov r1, r0\n"                                         \
  "mov r2, r0\n"                                         \
  "mov r3, r0\n"
#define PEX_ROW(at, w0, w1, w2)                          \
  "add r7, sp, #" at "\n"                                \
  "ldm r7, {r8-r12, lr}\n"                               \
  "add r4, r8, #1\n" /* where the next channel begins */ \
  "str r4, [r7]\n"                                       \
  "ldr r6, [sp, #72]\n"                                  \
  "ldrsb r4, [r6, #" w0 "]\n"                            \
  "ldrsb r5, [r6, #" w1 "]\n"                            \
  "ldrsb r6, [r6, #" w2 "]\n"
#define PEX_LOAD(column) "ldrsb r7, [r8" column "]\n"
#define PEX_ADD(sum, weight) "mla " sum ", r7, " weight ", " sum "\n"
#define PEX_FOUR_APART_BY_1                                                              \
  PEX_LOAD("") PEX_ADD("r0", "r4")                                                       \
  PEX_LOAD(", r9") PEX_ADD("r0", "r5") PEX_ADD("r1", "r4")                               \
  PEX_LOAD(", r10") PEX_ADD("r0", "r6") PEX_ADD("r1", "r5") PEX_ADD("r2", "r4")          \
  PEX_LOAD(", r11") PEX_ADD("r1", "r6") PEX_ADD("r2", "r5") PEX_ADD("r3", "r4")          \
  PEX_LOAD(", r12") PEX_ADD("r2", "r6") PEX_ADD("r3", "r5")                              \
  PEX_LOAD(", lr") PEX_ADD("r3", "r6")
#define PEX_THREE_APART_BY_1                                                             \
  PEX_LOAD("") PEX_ADD("r0", "r4")                                                       \
  PEX_LOAD(", r9") PEX_ADD("r0", "r5") PEX_ADD("r1", "r4")                               \
  PEX_LOAD(", r10") PEX_ADD("r0", "r6") PEX_ADD("r1", "r5") PEX_ADD("r2", "r4")          \
  PEX_LOAD(", r11") PEX_ADD("r1", "r6") PEX_ADD("r2", "r5")                              \
  PEX_LOAD(", r12") PEX_ADD("r2", "r6")
/* Columns one, three, five, seven: the others are multiples of one and three. */
#define PEX_FOUR_APART_BY_2                                                              \
  PEX_LOAD("") PEX_ADD("r0", "r4")                                                       \
  PEX_LOAD(", r9") PEX_ADD("r0", "r5")                                                   \
  PEX_LOAD(", r9, lsl #1") PEX_ADD("r0", "r6") PEX_ADD("r1", "r4")                       \
  PEX_LOAD(", r10") PEX_ADD("r1", "r5")                                                  \
  PEX_LOAD(", r9, lsl #2") PEX_ADD("r1", "r6") PEX_ADD("r2", "r4")                       \
  PEX_LOAD(", r11") PEX_ADD("r2", "r5")                                                  \
  PEX_LOAD(", r10, lsl #1") PEX_ADD("r2", "r6") PEX_ADD("r3", "r4")                      \
  PEX_LOAD(", r12") PEX_ADD("r3", "r5")                                                  \
  PEX_LOAD(", r9, lsl #3") PEX_ADD("r3", "r6")
/* See pex_requantise.h. */
#define PEX_PUT(sum, place)                              \
  PEX_EVEN_SUM(sum) PEX_HIGH(sum, "r4", "r10")           \
  "asr " sum ", r5\n"                                    \
  "add " sum ", r6\n"                                    \
  "ssat " sum ", #8, " sum ", asr #1\n"                  \
  "strb " sum ", [" place "]\n"
#define PEX_END(last)                                                                     \
  "ldr r7, [sp, #76]\n"                                                                   \
  "ldr r4, [r7, #16]\n" /* multiplier */                                                  \
  "ldr r5, [r7, #32]\n" /* shift */                                                       \
  "ldr r6, [sp, #92]\n" /* offset */                                                      \
  "ldrd r8, r9, [sp, #80]\n" /* y, pitch */                                               \
  PEX_PUT("r0", "r8") PEX_PUT("r1", "r8, r9") PEX_PUT("r2", "r8, r9, lsl #1") last        \
  "add r8, #1\n"                                                                          \
  "str r8, [sp, #80]\n"                                                                   \
  "ldr r4, [sp, #88]\n" /* channels */                                                    \
  "ldr r5, [sp, #72]\n" /* weights */                                                     \
  "add r7, #4\n"                                                                          \
  "add r5, #1\n"                                                                          \
  "subs r4, #1\n"                                                                         \
  "beq 2f\n"                                                                              \
  "str r4, [sp, #88]\n"                                                                   \
  "tst r4, #3\n"                                                                          \
  "itt eq\n" /* the next block */                                                         \
  "addeq r7, #32\n"                                                                       \
  "addeq r5, #32\n"                                                                       \
  "strd r5, r7, [sp, #72]\n"                                                              \
  "b 1b\n"                                                                                \
  "2:\n"                                                                                  \
  "add sp, #96\n"                                                                         \
  "pop {r4-r11, pc}\n"
#define PEX_PUT_FOURTH "add r12, r9, r9, lsl #1\n" PEX_PUT("r3", "r8, r12")

#define PEX_3X3(name, row, last)                                                                       \
  PEX_BY_HAND void name(const struct pex_job* job) {                                                   \
    __asm__(PEX_BEGIN PEX_ROW("0", "0", "4", "8") row PEX_ROW("24", "12", "16", "20") row              \
                PEX_ROW("48", "24", "28", "32") row PEX_END(last));                                    \
  }

PEX_3X3(pex_four_apart_by_1, PEX_FOUR_APART_BY_1, PEX_PUT_FOURTH)
PEX_3X3(pex_four_apart_by_2, PEX_FOUR_APART_BY_2, PEX_PUT_FOURTH)
PEX_3X3(pex_three_apart_by_1, PEX_THREE_APART_BY_1, "")

#undef PEX_BY_HAND
#undef PEX_BEGIN
#undef PEX_ROW
#undef PEX_LOAD
#undef PEX_ADD
#undef PEX_FOUR_APART_BY_1
#undef PEX_THREE_APART_BY_1
#undef PEX_FOUR_APART_BY_2
#undef PEX_PUT
#undef PEX_END
#undef PEX_PUT_FOURTH
#undef PEX_3X3

#endif
