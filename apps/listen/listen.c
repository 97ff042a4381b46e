/* Runs the network over the rows of the file "inputs", one by one. "outputs" gets the outputs of each window, "runs" a
 * struct run for each row, and "stack" the bytes of stack that were in use: as for tvm_pex's own firmware. */
#include <firmware.h>
#include <tvmgen_default_continuous.h>

#include "semihosting.h"
#include "stack.h"
#include "systick.h"

struct port {
  uint32_t offset; /* in the arena */
  uint32_t bytes;
};

struct run {
  int32_t status;
  struct moment moments[4];
};

static uint8_t arena[ARENA_BYTES] __attribute__((section(".arena"), aligned(16))); /* a row, and the outputs */
static uint8_t memory[TVMGEN_DEFAULT_CONTINUOUS_BYTES] __attribute__((section(".arena"), aligned(16)));
static const struct port inputs[] = INPUTS, outputs[] = OUTPUTS;
static struct tvmgen_default_continuous state;

__attribute__((noinline)) int32_t run_nothing(void) { return 0; }

__attribute__((noinline)) int32_t run_network(void) {
  return tvmgen_default_continuous_push(&state, arena + inputs[0].offset, 1);
}

__attribute__((noinline)) static int32_t timed(int32_t (*volatile function)(void), struct moment* moments) {
  moments[0] = systick_now();
  const int32_t status = function();
  moments[1] = systick_now();
  return status;
}

int main(void) {
  const int from = host_open("inputs", 6, MODE_READ);
  const int to = host_open("outputs", 7, MODE_WRITE);
  const int runs = host_open("runs", 4, MODE_WRITE);
  const struct tvmgen_default_window_outputs results = OUTPUT_POINTERS;
  if (COUNT_INSTRUCTIONS) systick_start();
  tvmgen_default_continuous_begin(&state, memory, &results);
  while (!host_read(from, arena + inputs[0].offset, inputs[0].bytes)) {
    struct run run;
    timed(run_nothing, run.moments);
    const int32_t wanted = timed(run_network, run.moments + 2);
    run.status = wanted < 0 ? wanted : 0;
    host_write(runs, &run, sizeof run);
    for (uint32_t k = 0; !wanted && k < sizeof outputs / sizeof *outputs; k++)
      host_write(to, arena + outputs[k].offset, outputs[k].bytes);
  }
  const uint32_t used = stack_used();
  host_write(host_open("stack", 5, MODE_WRITE), &used, sizeof used);
  return EXIT_DONE;
}
