/* A camera that delivers rows over a UART, and a network that runs while they come: no picture is ever in memory.
 *
 * Takes one picture after the other, row by row, and answers each with the bytes of the network's outputs. */
#include <firmware.h>
#include <tvmgen_default_stream.h>

#include "semihosting.h"

/* The first UART of an MPS2 board (Arm's CMSDK). */
struct uart {
  volatile uint32_t data, state, control, interrupt, divider;
};
#define UART ((struct uart*)0x40004000)
enum { TRANSMIT_FULL = 1, RECEIVE_FULL = 2, ENABLE_BOTH = 3, LEAST_DIVIDER = 16 };

struct port {
  uint32_t offset; /* in the arena */
  uint32_t bytes;
};

static uint8_t arena[ARENA_BYTES] __attribute__((section(".arena"), aligned(16)));
static const struct port inputs[] = INPUTS; /* one, of a row */
static const struct port outputs[] = OUTPUTS;

static void receive(uint8_t* bytes, uint32_t count) {
  for (uint32_t k = 0; k < count; k++) {
    while (!(UART->state & RECEIVE_FULL)) {
    }
    bytes[k] = (uint8_t)UART->data;
  }
}

static void send(const uint8_t* bytes, uint32_t count) {
  for (uint32_t k = 0; k < count; k++) {
    while (UART->state & TRANSMIT_FULL) {
    }
    UART->data = bytes[k];
  }
}

int main(void) {
  struct tvmgen_default_stream stream;
  struct tvmgen_default_inputs from = {0};
  struct tvmgen_default_outputs to = OUTPUT_POINTERS;
  struct tvmgen_default_workspace_pools pools = WORKSPACE_POOLS;
  UART->divider = LEAST_DIVIDER;
  UART->control = ENABLE_BOTH;
  (void)UART->data; /* QEMU listens to its own input only after a read */
  for (;;) {
    int32_t wanted;
    tvmgen_default_begin(&stream, &from, &to, &pools);
    do {
      receive(arena + inputs[0].offset, inputs[0].bytes);
      wanted = tvmgen_default_push(&stream, arena + inputs[0].offset, 1);
    } while (wanted > 0);
    if (wanted || tvmgen_default_end(&stream)) host_exit(EXIT_FAULT);
    for (uint32_t k = 0; k < sizeof outputs / sizeof *outputs; k++) send(arena + outputs[k].offset, outputs[k].bytes);
  }
}
