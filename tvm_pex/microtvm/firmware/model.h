/* The model as the protocol sees it: places to write inputs to, places to read outputs from, and a run between them. */
#ifndef TVM_PEX_MODEL_H_
#define TVM_PEX_MODEL_H_

#include <stdint.h>

struct model_port {
  uint8_t* bytes; /* its place in the model's memory */
  uint32_t size;  /* in bytes */
};

extern const struct model_port model_inputs[], model_outputs[];
extern const uint8_t model_input_count, model_output_count;
extern const uint32_t model_id;           /* CRC-32 of the archive that the model was built from */
extern const uint32_t model_memory_bytes; /* arena, and ports outside it */

int32_t model_run(void); /* 0: the outputs are written. It reuses the inputs' bytes. */

#endif
