/* The model of this project in its own memory: one array for all memory pools and for ports that lie outside them. */
#include "model.h"

#include <tvmgen_default.h>

#include "model_ports.h"

static uint8_t memory[MODEL_MEMORY_BYTES] __attribute__((aligned(MODEL_ALIGNMENT)));

#define PORT(name, size, offset) {memory + (offset), (size)},
#define PLACE(name, size, offset) .name = memory + (offset),
#define POOL(name, offset) .name = memory + (offset),

const struct model_port model_inputs[] = {MODEL_INPUTS(PORT)};
const struct model_port model_outputs[] = {MODEL_OUTPUTS(PORT)};
const uint8_t model_input_count = sizeof model_inputs / sizeof *model_inputs;
const uint8_t model_output_count = sizeof model_outputs / sizeof *model_outputs;
const uint32_t model_id = MODEL_ID;
const uint32_t model_memory_bytes = MODEL_MEMORY_BYTES;

int32_t model_run(void) {
  struct tvmgen_default_inputs inputs = {MODEL_INPUTS(PLACE)};
  struct tvmgen_default_outputs outputs = {MODEL_OUTPUTS(PLACE)};
#ifdef MODEL_POOLS
  struct tvmgen_default_workspace_pools pools = {MODEL_POOLS(POOL)};
  return tvmgen_default_run(&inputs, &outputs, &pools);
#else
  return tvmgen_default_run(&inputs, &outputs);
#endif
}
