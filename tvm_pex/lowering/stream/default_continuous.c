/* Runs the first part of the network with each row, and the second part with each window of what the first one makes. */
#include <tvmgen_default_continuous.h>
#include <tvmgen_default_row.h>
#include <tvmgen_default_window.h>

#include <stddef.h>
#include <string.h>

enum { BEGUN = 0x50455843, MORE_ROWS_WANTED = -1, DONE = 0 };

static int32_t run_row(struct tvmgen_default_continuous* state, const void* row, uint8_t* made) {
  struct tvmgen_default_row_inputs inputs = {.PEX_ROW_INPUT = (void*)row, .PEX_ROW_NUMBER = &state->row};
  struct tvmgen_default_row_outputs outputs = {.PEX_ROW_OUTPUT = made};
#if PEX_ROW_HAS_POOLS
  struct tvmgen_default_row_workspace_pools pools = {state->memory};
  return tvmgen_default_row_run(&inputs, &outputs, &pools);
#else
  return tvmgen_default_row_run(&inputs, &outputs);
#endif
}

static int32_t run_window(struct tvmgen_default_continuous* state) {
  struct tvmgen_default_window_inputs inputs = {.PEX_WINDOW_INPUT = state->memory + PEX_WINDOW_OFFSET};
#if PEX_WINDOW_HAS_POOLS
  struct tvmgen_default_window_workspace_pools pools = {state->memory + PEX_WINDOW_ARENA_OFFSET};
  return tvmgen_default_window_run(&inputs, &state->outputs, &pools);
#else
  return tvmgen_default_window_run(&inputs, &state->outputs);
#endif
}

/* Leaves the rows that the next window shares with this one. Below 0 are rows that lie between them. */
static void move_on(struct tvmgen_default_continuous* state) {
  uint8_t* const window = state->memory + PEX_WINDOW_OFFSET;
  const int32_t gone = TVMGEN_DEFAULT_CONTINUOUS_HOP / PEX_EVERY;
  state->kept -= gone;
  if (state->kept > 0)
    memmove(window, window + (size_t)gone * PEX_WINDOW_ROW_BYTES, (size_t)state->kept * PEX_WINDOW_ROW_BYTES);
  state->wanted = TVMGEN_DEFAULT_CONTINUOUS_HOP;
}

static int32_t take_row(struct tvmgen_default_continuous* state, const void* row) {
  if (state->kept == PEX_WINDOW_ROWS) move_on(state);
  const size_t place = state->kept > 0 ? (size_t)state->kept : 0;
  uint8_t* const made = state->memory + PEX_WINDOW_OFFSET + place * PEX_WINDOW_ROW_BYTES;
  if (run_row(state, row, made) != MORE_ROWS_WANTED) return -1;
  if (state->row >= PEX_FIRST && (state->row - PEX_FIRST) % PEX_EVERY == 0) state->kept++;
  state->row += state->row == PEX_LAST ? 1 - PEX_ROUND : 1;
  state->wanted--;
  return state->kept == PEX_WINDOW_ROWS ? run_window(state) : DONE;
}

void tvmgen_default_continuous_begin(struct tvmgen_default_continuous* state, void* memory,
                                     const struct tvmgen_default_window_outputs* outputs) {
  state->memory = memory;
  state->outputs = *outputs;
  state->row = 0;
  state->kept = 0;
  state->wanted = PEX_FIRST + PEX_EVERY * (PEX_WINDOW_ROWS - 1) + 1;
  state->begun = BEGUN;
}

int32_t tvmgen_default_continuous_push(struct tvmgen_default_continuous* state, const void* rows, int32_t count) {
  if (state->begun != BEGUN) return TVMGEN_DEFAULT_CONTINUOUS_NOT_BEGUN;
  if (count < 1 || !rows) return TVMGEN_DEFAULT_CONTINUOUS_NO_ROWS;
  if (count > (state->wanted ? state->wanted : TVMGEN_DEFAULT_CONTINUOUS_HOP))
    return TVMGEN_DEFAULT_CONTINUOUS_TOO_MANY_ROWS;
  for (int32_t k = 0; k < count; k++)
    if (take_row(state, (const char*)rows + (size_t)k * TVMGEN_DEFAULT_CONTINUOUS_ROW_BYTES)) {
      state->begun = 0;
      return TVMGEN_DEFAULT_CONTINUOUS_FAILED;
    }
  return state->wanted;
}
