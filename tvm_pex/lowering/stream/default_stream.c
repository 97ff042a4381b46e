/* Runs the network row by row: tvmgen_default_row_run, which TVM made, takes one row and its number. */
#include <tvmgen_default.h>
#include <tvmgen_default_row.h>
#include <tvmgen_default_stream.h>

#include <stddef.h>
#include <string.h>

enum { ROWS = TVMGEN_DEFAULT_STREAM_ROWS, ROW_BYTES = TVMGEN_DEFAULT_STREAM_ROW_BYTES, BEGUN = 0x5045580a };

/* TVM's main function returns at once where an operator does not return 0: until the last row is in, the first does not. */
enum { MORE_ROWS_WANTED = -1, DONE = 0 };

/* The structs are one pointer for each port, in the same order; the row's number comes last. */
typedef char inputs_are_alike[sizeof(struct tvmgen_default_row_inputs) ==
                                      sizeof(struct tvmgen_default_inputs) + sizeof(void*)
                                  ? 1
                                  : -1];
typedef char outputs_are_alike[sizeof(struct tvmgen_default_row_outputs) == sizeof(struct tvmgen_default_outputs) ? 1
                                                                                                                   : -1];

static int32_t run_row(struct tvmgen_default_stream* stream, const void* row) {
  struct tvmgen_default_row_inputs inputs;
  struct tvmgen_default_row_outputs outputs;
  void* const number = &stream->row;
  stream->inputs.TVMGEN_DEFAULT_STREAM_INPUT = (void*)row;
  memcpy(&inputs, &stream->inputs, sizeof stream->inputs);
  memcpy((char*)&inputs + sizeof stream->inputs, &number, sizeof number);
  memcpy(&outputs, &stream->outputs, sizeof outputs);
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
  struct tvmgen_default_row_workspace_pools pools;
  memcpy(&pools, &stream->pools, sizeof pools);
  return tvmgen_default_row_run(&inputs, &outputs, &pools);
#else
  return tvmgen_default_row_run(&inputs, &outputs);
#endif
}

void tvmgen_default_begin(struct tvmgen_default_stream* stream, const struct tvmgen_default_inputs* inputs,
                          const struct tvmgen_default_outputs* outputs
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
                          ,
                          const struct tvmgen_default_workspace_pools* pools
#endif
) {
  stream->inputs = *inputs;
  stream->outputs = *outputs;
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
  stream->pools = *pools;
#endif
  stream->row = 0;
  stream->begun = BEGUN;
}

int32_t tvmgen_default_push(struct tvmgen_default_stream* stream, const void* rows, int32_t count) {
  if (stream->begun != BEGUN) return TVMGEN_DEFAULT_STREAM_NOT_BEGUN;
  if (count < 0 || (count > 0 && !rows)) return TVMGEN_DEFAULT_STREAM_NO_ROWS;
  if (count > ROWS - stream->row) return TVMGEN_DEFAULT_STREAM_TOO_MANY_ROWS;
  for (int32_t k = 0; k < count; k++, stream->row++) {
    const int32_t status = run_row(stream, (const char*)rows + (size_t)k * ROW_BYTES);
    if (status != (stream->row == ROWS - 1 ? DONE : MORE_ROWS_WANTED)) {
      stream->begun = 0;
      return TVMGEN_DEFAULT_STREAM_FAILED;
    }
  }
  return ROWS - stream->row;
}

int32_t tvmgen_default_end(struct tvmgen_default_stream* stream) {
  if (stream->begun != BEGUN) return TVMGEN_DEFAULT_STREAM_NOT_BEGUN;
  if (stream->row < ROWS) return TVMGEN_DEFAULT_STREAM_TOO_EARLY;
  stream->begun = 0;
  return 0;
}

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
                           ,
                           struct tvmgen_default_workspace_pools* pools
#endif
) {
  struct tvmgen_default_stream stream;
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
  tvmgen_default_begin(&stream, inputs, outputs, pools);
#else
  tvmgen_default_begin(&stream, inputs, outputs);
#endif
  const int32_t wanted = tvmgen_default_push(&stream, inputs->TVMGEN_DEFAULT_STREAM_INPUT, ROWS);
  return wanted < 0 ? wanted : tvmgen_default_end(&stream);
}
