/* As TVM writes it, for a network with two inputs, one of them outside the arena, and one output. */
#include <stdint.h>

struct tvmgen_default_inputs {
  void* x;
  void* side;
};
struct tvmgen_default_outputs {
  void* y;
};
struct tvmgen_default_workspace_pools {
  void* arena;
};

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs,
                           struct tvmgen_default_workspace_pools* workspace_pools);
#define TVMGEN_DEFAULT_ARENA_WORKSPACE_POOL_SIZE 1000
