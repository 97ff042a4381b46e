/* The device as a library: the test passes it bytes and takes what it has sent. */
#include "platform.h"
#include "protocol.h"

enum { MOST = 1 << 20 };

uint8_t sent[MOST];
uint32_t sent_count;

void platform_putchar(uint8_t byte) {
  if (sent_count < MOST) sent[sent_count++] = byte;
}

void receive(const uint8_t* bytes, uint32_t count) {
  while (count--) protocol_receive(*bytes++);
}
