/* Stands for generated code: y[k] = x[k] + scratch, and the misdeeds that a test asks for.
 * The first input byte chooses; REACH is the arena's size. */
#include <stdlib.h>
#include <tvmgen_default.h>

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs,
                           struct tvmgen_default_workspace_pools* pools) {
  int8_t* x = inputs->x;
  int8_t* y = outputs->y;
  int8_t* arena = pools->arena;
  int8_t order = x[0];
  if (order == 1) arena[ARENA_BYTES] = 0;         /* one byte too far */
  if (order == 2) arena[-1] = 0;                  /* one byte before */
  if (order == 3) arena[ARENA_BYTES + 255] = 0;   /* 256 bytes too far */
  if (order == 4) y[4] = 0;                       /* behind an output of its own */
  if (order == 5) abort();
  if (order == 6) return -7;
  if (order == 7)                                 /* uses what nobody wrote */
    for (int k = 0; k < 4; k++) y[k] = arena[8 + k];
  else
    for (int k = 0; k < 4; k++) y[k] = (int8_t)(x[k] + 1);
  return 0;
}
