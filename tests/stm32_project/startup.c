/* Stands for the startup file of an STM32F405. */
#include <stdint.h>

extern uint32_t stack_top[], bss_begin[], bss_end[];
int main(void);

void reset(void);
void reset(void) {
  *(volatile uint32_t*)0xE000ED88 |= 0xF << 20; /* floating point */
  __asm__ volatile("dsb\nisb");
  for (uint32_t* word = bss_begin; word < bss_end;) *word++ = 0;
  main();
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static const void* const vectors[16] = {stack_top, reset};
