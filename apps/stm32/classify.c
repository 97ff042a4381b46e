#include "classify.h"

#include <tvmgen_default.h>
#include <tvmgen_default_arena.h>

enum { PIXELS = TVMGEN_DEFAULT_SERVING_DEFAULT_IMAGE_0_SIZE, KINDS = TVMGEN_DEFAULT_STATEFULPARTITIONEDCALL_1_0_SIZE };

static uint8_t arena[TVMGEN_DEFAULT_ARENA_BYTES] __attribute__((aligned(TVMGEN_DEFAULT_ARENA_ALIGNMENT)));

int classify(const uint8_t* image) {
  int8_t* input = (int8_t*)arena + TVMGEN_DEFAULT_SERVING_DEFAULT_IMAGE_0_OFFSET;
  const int8_t* scores = (int8_t*)arena + TVMGEN_DEFAULT_STATEFULPARTITIONEDCALL_1_0_OFFSET;
  struct tvmgen_default_inputs inputs = {input};
  struct tvmgen_default_outputs outputs = {(void*)scores};
  struct tvmgen_default_workspace_pools pools = {arena};
  int best = 0;
  for (int k = 0; k < PIXELS; k++) input[k] = (int8_t)(image[k] - 128);
  if (tvmgen_default_run(&inputs, &outputs, &pools)) return -1;
  for (int k = 1; k < KINDS; k++)
    if (scores[k] > scores[best]) best = k;
  return best;
}
