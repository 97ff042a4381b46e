/* From reset to main() on a Cortex-M, and the painted stack. */
#include <stdint.h>

#include "platform.h"

#define COPROCESSOR_ACCESS (*(volatile uint32_t*)0xE000ED88)
#define PAINT 0xC5C5C5C5u

extern uint32_t stack_begin[], stack_end[], data_begin[], data_end[], data_load[], bss_begin[], bss_end[]; /* mps2.ld */
int main(void);
void reset(void);

/* Nobody answers then, which the host reports. */
static void fault(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static const void* const vectors[16] = {
    stack_end, reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault,
};

void reset(void) {
  uint32_t* in_use;
  __asm__ volatile("mov %0, sp" : "=r"(in_use));
  for (uint32_t* word = stack_begin; word < in_use;) *word++ = PAINT;
  COPROCESSOR_ACCESS |= 0xF << 20; /* floating point */
  __asm__ volatile("dsb\nisb" ::: "memory");
  const uint32_t* from = data_load;
  for (uint32_t* to = data_begin; to < data_end;) *to++ = *from++;
  for (uint32_t* to = bss_begin; to < bss_end;) *to++ = 0;
  main();
}

uint32_t platform_stack_bytes(void) { return (uint32_t)((const char*)stack_end - (const char*)stack_begin); }

uint32_t platform_stack_used(void) {
  const volatile uint32_t* word = stack_begin;
  while (word < stack_end && *word == PAINT) word++;
  return (uint32_t)((const char*)stack_end - (const char*)word);
}

/* libm reports errors in errno; newlib's own would bring along its structure of a thousand bytes. */
int* __errno(void);
int* __errno(void) {
  static int number;
  return &number;
}
