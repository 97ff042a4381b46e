#include <stdint.h>

enum { ARENA_BYTES = 37 };

struct tvmgen_default_inputs {
  void* x;
};
struct tvmgen_default_outputs {
  void* y;
};
struct tvmgen_default_workspace_pools {
  void* arena;
};

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs,
                           struct tvmgen_default_workspace_pools* workspace_pools);
