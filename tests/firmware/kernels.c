/* Loops whose instructions are known. The outer one takes three a round, the inner one what is said with each. */
#include "kernels.h"

#define NAKED __attribute__((naked))
#define OUTER(INNER)    \
  __asm__ volatile(     \
      "mov r12, lr\n"   \
      "1: mov r2, r1\n" \
      "2:\n" INNER      \
      "subs r0, #1\n"   \
      "bne.w 1b\n"      \
      "bx r12\n")
#define WHILE_ROUNDS "subs r2, #1\nbne.w 2b\n"

/* 2 */
NAKED void pex_nested(int32_t repeats, int32_t rounds) { OUTER(WHILE_ROUNDS); }

/* 602: longer than any block, and than a page of the emulator's 1 KiB. */
NAKED void pex_long(int32_t repeats, int32_t rounds) { OUTER(".rept 600\nnop\n.endr\n" WHILE_ROUNDS); }

/* 6 where the rounds left are odd, else 4. */
NAKED void pex_branches(int32_t repeats, int32_t rounds) {
  OUTER("tst r2, #1\nbeq 3f\nnop\nnop\n3:\n" WHILE_ROUNDS);
}

/* 7, of which some do nothing. */
NAKED void pex_conditional(int32_t repeats, int32_t rounds) {
  OUTER("cmp r2, #3\nitte gt\naddgt r3, r3, #1\naddgt r3, r3, #1\naddle r3, r3, #1\n" WHILE_ROUNDS);
}

/* 3 after another one. */
NAKED void pex_low_overhead(int32_t repeats, int32_t rounds) {
#ifdef __ARM_FEATURE_MVE
  OUTER("dls lr, r1\n3: nop\nnop\nle lr, 3b\n");
#else
  OUTER("nop\n3: nop\nsubs r2, #1\nbne 3b\n");
#endif
}

/* 1 */
NAKED void nothing(void);
NAKED void nothing(void) { __asm__ volatile("bx lr"); }

/* 4, one of them elsewhere. */
NAKED void pex_calls(int32_t repeats, int32_t rounds) { OUTER("bl nothing\n" WHILE_ROUNDS); }
