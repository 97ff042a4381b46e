/* The first UART of an MPS2 board (Arm's CMSDK) serves the model. */
#include <stdint.h>

#include "platform.h"
#include "protocol.h"

struct uart {
  volatile uint32_t data, state, control, interrupt, divider;
};
#define UART ((struct uart*)0x40004000)
enum { TRANSMIT_FULL = 1, RECEIVE_FULL = 2, ENABLE_BOTH = 3, LEAST_DIVIDER = 16 };

void platform_putchar(uint8_t byte) {
  while (UART->state & TRANSMIT_FULL) {
  }
  UART->data = byte;
}

int main(void) {
  UART->divider = LEAST_DIVIDER;
  UART->control = ENABLE_BOTH;
  (void)UART->data; /* QEMU listens to its own input only after a read, if there was some before the UART was enabled */
  for (;;)
    if (UART->state & RECEIVE_FULL) protocol_receive((uint8_t)UART->data);
}
