/* Runs the network once for each set of inputs in the file "inputs", which go straight into the arena.
 *
 * The file "outputs" gets the outputs of all runs, straight out of the arena; "runs" a struct run for each; "stack" the
 * bytes of stack that were in use. Compile with -DCOUNT_INSTRUCTIONS=1 to have the timer run, with 0 to have no interrupt
 * that uses the stack. */
#include <firmware.h>
#include <tvmgen_default.h>

#include "semihosting.h"
#include "stack.h"
#include "systick.h"

struct port {
  uint32_t offset; /* in the arena */
  uint32_t bytes;
};

/* Moments before and after a call of a function that does nothing, and of the network. */
struct run {
  int32_t status;
  struct moment moments[4];
};

static uint8_t arena[ARENA_BYTES] __attribute__((section(".arena"), aligned(16)));
static const struct port inputs[] = INPUTS;
static const struct port outputs[] = OUTPUTS;

enum { INPUT_COUNT = sizeof inputs / sizeof *inputs, OUTPUT_COUNT = sizeof outputs / sizeof *outputs };

__attribute__((noinline)) int32_t run_nothing(void) { return 0; }

__attribute__((noinline)) int32_t run_network(void) {
  struct tvmgen_default_inputs from = INPUT_POINTERS;
  struct tvmgen_default_outputs to = OUTPUT_POINTERS;
#if HAS_WORKSPACE
  struct tvmgen_default_workspace_pools pools = WORKSPACE_POOLS;
  return tvmgen_default_run(&from, &to, &pools);
#else
  return tvmgen_default_run(&from, &to);
#endif
}

__attribute__((noinline)) static int32_t timed(int32_t (*volatile function)(void), struct moment* moments) {
  moments[0] = systick_now();
  const int32_t status = function();
  moments[1] = systick_now();
  return status;
}

/* Other bytes than the last run's, so that one used before it is written shows. */
static void fill_with_noise(void) {
  static uint32_t seed;
  for (uint32_t at = 0; at < ARENA_BYTES; at++) {
    seed = seed * 1664525u + 1013904223u;
    arena[at] = (uint8_t)(seed >> 24);
  }
}

/* False at the end of the file. */
static int read_inputs(int file) {
  for (int k = 0; k < INPUT_COUNT; k++)
    if (host_read(file, arena + inputs[k].offset, inputs[k].bytes)) return 0;
  return 1;
}

int main(void) {
  const int from = host_open("inputs", 6, MODE_READ);
  const int to = host_open("outputs", 7, MODE_WRITE);
  const int runs = host_open("runs", 4, MODE_WRITE);
  if (COUNT_INSTRUCTIONS) systick_start();
  for (fill_with_noise(); read_inputs(from); fill_with_noise()) {
    struct run run;
    timed(run_nothing, run.moments);
    run.status = timed(run_network, run.moments + 2);
    host_write(runs, &run, sizeof run);
    for (int k = 0; k < OUTPUT_COUNT; k++) host_write(to, arena + outputs[k].offset, outputs[k].bytes);
  }
  const uint32_t used = stack_used();
  host_write(host_open("stack", 5, MODE_WRITE), &used, sizeof used);
  return EXIT_DONE;
}
