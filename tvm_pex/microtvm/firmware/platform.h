/* What the protocol needs of a board. */
#ifndef TVM_PEX_PLATFORM_H_
#define TVM_PEX_PLATFORM_H_

#include <stdint.h>

void platform_putchar(uint8_t byte); /* returns when the serial line has taken the byte */

/* Bytes of the stack: all, and those that were in use at any time since the start. Equal: it overflowed. */
uint32_t platform_stack_bytes(void);
uint32_t platform_stack_used(void);

#endif
