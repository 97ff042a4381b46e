/* The interface of a network without a workspace, as TVM writes it. */
#include <stdint.h>
struct tvmgen_default_inputs {
  void* order;
};
struct tvmgen_default_outputs {
  void* answer;
};
int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs);
