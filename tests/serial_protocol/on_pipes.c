/* The device as a process: its serial line is standard input and output. */
#include <stdio.h>

#include "platform.h"
#include "protocol.h"

void platform_putchar(uint8_t byte) { putchar(byte); }

int main(void) {
  for (int byte; (byte = getchar()) != EOF;) {
    protocol_receive((uint8_t)byte);
    fflush(stdout);
  }
}
