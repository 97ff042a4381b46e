/* How far the stack was ever in use: it is painted at reset, and what is no longer painted was used. It lies at the low
 * end of the RAM, so that writing below it is a fault on all boards that are emulated. */
#ifndef STACK_H_
#define STACK_H_

#include <stdint.h>

#define STACK_PAINT 0xC5C5C5C5

extern uint32_t stack_begin[], stack_end[]; /* from firmware.ld */

/* In bytes. All of the stack means that there may have been too little of it. */
static inline uint32_t stack_used(void) {
  const volatile uint32_t* word = stack_begin;
  while (word < stack_end && *word == STACK_PAINT) word++;
  return (uint32_t)((const char*)stack_end - (const char*)word);
}

#endif /* STACK_H_ */
