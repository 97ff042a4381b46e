/* The board's console UART serves the model; the main thread does all. */
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>

#include "platform.h"
#include "protocol.h"

static const struct device *const serial = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

void platform_putchar(uint8_t byte) { uart_poll_out(serial, byte); }

uint32_t platform_stack_bytes(void) { return k_current_get()->stack_info.size; }

uint32_t platform_stack_used(void) {
  size_t unused = 0;
  k_thread_stack_space_get(k_current_get(), &unused);
  return platform_stack_bytes() - unused;
}

int main(void) {
  for (uint8_t byte;;)
    if (uart_poll_in(serial, &byte) == 0) protocol_receive(byte);
}
