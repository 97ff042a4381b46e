/* Runs the network once for each set of inputs in the file "inputs", which go straight into the arena.
 *
 * An input that comes by rows is the last of its set: each row is read into one place and pushed. The file "outputs" gets
 * the outputs of all runs, straight out of the arena; "runs" a struct run for each, or for each row; "stack" the bytes of
 * stack that were in use. Compile with -DCOUNT_INSTRUCTIONS=1 to have the timer run, with 0 to have no interrupt
 * that uses the stack. */
#include <firmware.h>
#include <tvmgen_default.h>
#if ROWS
#include <tvmgen_default_stream.h>
#endif

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

#if HAS_WORKSPACE
#define DECLARE_POOLS struct tvmgen_default_workspace_pools pools = WORKSPACE_POOLS;
#define AND_POOLS , &pools
#else
#define DECLARE_POOLS
#define AND_POOLS
#endif

#if ROWS
enum { STEPS = ROWS };

static struct tvmgen_default_stream stream;

static void begin(void) {
  struct tvmgen_default_inputs from = INPUT_POINTERS;
  struct tvmgen_default_outputs to = OUTPUT_POINTERS;
  DECLARE_POOLS
  tvmgen_default_begin(&stream, &from, &to AND_POOLS);
}

/* With one row. */
__attribute__((noinline)) int32_t run_network(void) {
  const int32_t wanted = tvmgen_default_push(&stream, arena + inputs[INPUT_COUNT - 1].offset, 1);
  return wanted > 0 ? 0 : wanted < 0 ? wanted : tvmgen_default_end(&stream);
}
#else
enum { STEPS = 1 };

static void begin(void) {}

__attribute__((noinline)) int32_t run_network(void) {
  struct tvmgen_default_inputs from = INPUT_POINTERS;
  struct tvmgen_default_outputs to = OUTPUT_POINTERS;
  DECLARE_POOLS
  return tvmgen_default_run(&from, &to AND_POOLS);
}
#endif

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

/* Reads what the network needs for a step: all inputs, or with the first step all and with the others the next row. False
 * at the end of the file. */
static int read_inputs(int file, int step) {
  for (int k = step ? INPUT_COUNT - 1 : 0; k < INPUT_COUNT; k++)
    if (host_read(file, arena + inputs[k].offset, inputs[k].bytes)) return 0;
  return 1;
}

int main(void) {
  const int from = host_open("inputs", 6, MODE_READ);
  const int to = host_open("outputs", 7, MODE_WRITE);
  const int runs = host_open("runs", 4, MODE_WRITE);
  if (COUNT_INSTRUCTIONS) systick_start();
  for (fill_with_noise(); read_inputs(from, 0); fill_with_noise()) {
    begin();
    for (int step = 0; step < STEPS; step++) {
      struct run run;
      if (step && !read_inputs(from, step)) return EXIT_FILES;
      timed(run_nothing, run.moments);
      run.status = timed(run_network, run.moments + 2);
      host_write(runs, &run, sizeof run);
    }
    for (int k = 0; k < OUTPUT_COUNT; k++) host_write(to, arena + outputs[k].offset, outputs[k].bytes);
  }
  const uint32_t used = stack_used();
  host_write(host_open("stack", 5, MODE_WRITE), &used, sizeof used);
  return EXIT_DONE;
}
