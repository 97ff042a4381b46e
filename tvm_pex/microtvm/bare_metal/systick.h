/* Time by the SysTick timer of any Cortex-M: 24 bits that count down, and an interrupt that counts how often they wrap. */
#ifndef SYSTICK_H_
#define SYSTICK_H_

#include <stdint.h>

/* The timer stood at `left` after `wraps` wraps; its handler had run `handled` times. */
struct moment {
  uint32_t wraps;
  uint32_t left;
  uint32_t handled;
};

void systick_start(void);
struct moment systick_now(void); /* executes the same number of instructions every time */
void systick_handler(void);

#endif /* SYSTICK_H_ */
