#include "systick.h"

#define CONTROL (*(volatile uint32_t*)0xE000E010)
#define RELOAD (*(volatile uint32_t*)0xE000E014)
#define CURRENT (*(volatile uint32_t*)0xE000E018)
#define INTERRUPT_STATE (*(volatile uint32_t*)0xE000ED04)

enum { ENABLE = 1, INTERRUPT = 2, PROCESSOR_CLOCK = 4, LONGEST = 0xFFFFFF, PENDING = 1 << 26 };

uint32_t systick_wraps;

void systick_start(void) {
  RELOAD = LONGEST;
  CURRENT = 0;
  CONTROL = ENABLE | INTERRUPT | PROCESSOR_CLOCK;
  while (!CURRENT) {
  }
}

/* With interrupts off: a wrap that was not yet counted is then seen as pending. It came before `left` was read, and not
 * between the two readings, if much is left. No branches, so that readings can be subtracted from each other. */
__attribute__((noinline)) struct moment systick_now(void) {
  __asm__ volatile("cpsid i" ::: "memory");
  const uint32_t left = CURRENT;
  const uint32_t pending = (INTERRUPT_STATE & PENDING) / PENDING & left >> 23;
  const struct moment now = {systick_wraps + pending, left, systick_wraps};
  __asm__ volatile("cpsie i" ::: "memory");
  return now;
}

/* Exactly five instructions, which the host subtracts. */
__attribute__((naked)) void systick_handler(void) {
  __asm__ volatile(
      "ldr r0, =systick_wraps\n"
      "ldr r1, [r0]\n"
      "adds r1, #1\n"
      "str r1, [r0]\n"
      "bx lr\n"
      ".pool\n");
}
