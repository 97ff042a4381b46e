/* A model whose outputs lie on its inputs: to run it twice, or on half an input, gives something else. */
#include "model.h"
#include "platform.h"

enum { FIRST = 700, SECOND = 31, SUMS = 500, TAIL = 3 };

static uint8_t memory[FIRST + SECOND];
const struct model_port model_inputs[] = {{memory, FIRST}, {memory + FIRST, SECOND}};
const struct model_port model_outputs[] = {{memory, SUMS}, {memory + FIRST, TAIL}};
const uint8_t model_input_count = 2, model_output_count = 2;
const uint32_t model_id = 0xC0DBC0DB, model_memory_bytes = sizeof memory;
uint32_t runs;

int32_t model_run(void) {
  runs++;
  if (memory[0] == 0xEE) return -1;
  for (int k = 0; k < SUMS; k++) memory[k] = (uint8_t)(3 * memory[k] + memory[FIRST + k % SECOND]);
  return 0;
}

uint32_t platform_stack_bytes(void) { return 1024; }
uint32_t platform_stack_used(void) { return memory[0] == 0xFF ? 1024 : 300; }
