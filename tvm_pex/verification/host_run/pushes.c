/* Runs a network whose input comes by rows: pushes of random sizes, runs broken off, calls that must be refused.
 *
 * Every push gets its rows in memory of exactly their size, which is gone when the call is over. What a call returns is
 * always known beforehand; where it returns anything else, the line of this file is what the run returns, and the run ends.
 */
#include "pushes.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <tvmgen_default_stream.h>

enum { ROWS = TVMGEN_DEFAULT_STREAM_ROWS, ROW_BYTES = TVMGEN_DEFAULT_STREAM_ROW_BYTES };

#define EXPECT(call, value) \
  do { \
    if ((call) != (value)) return __LINE__; \
  } while (0)

struct script {
  uint32_t seed;
  struct pushes* counts;
};

/* From 0 to below ``limit``. */
static int32_t draw(struct script* script, int32_t limit) {
  script->seed = script->seed * 1664525u + 1013904223u;
  return (int32_t)((script->seed >> 8) % (uint32_t)limit);
}

static int32_t push(struct script* script, struct tvmgen_default_stream* stream, const uint8_t* rows, int32_t count) {
  uint8_t* copy = malloc((size_t)count * ROW_BYTES + !count);
  if (!copy) abort();
  memcpy(copy, rows, (size_t)count * ROW_BYTES);
  const int32_t wanted = tvmgen_default_push(stream, copy, count);
  memset(copy, 0xA5, (size_t)count * ROW_BYTES);
  free(copy);
  script->counts->pushes++;
  return wanted;
}

/* One call, or several, that must be refused while ``wanted`` rows are still to come. */
static int32_t provoke(struct script* script, struct tvmgen_default_stream* stream, int32_t wanted) {
  static const uint8_t nothing[1];
  script->counts->refused++;
  switch (draw(script, 4)) {
    case 0:
      EXPECT(tvmgen_default_push(stream, nothing, wanted + 1 + draw(script, ROWS)),
             TVMGEN_DEFAULT_STREAM_TOO_MANY_ROWS);
      return 0;
    case 1:
      EXPECT(tvmgen_default_push(stream, nothing, -1 - draw(script, ROWS)), TVMGEN_DEFAULT_STREAM_NO_ROWS);
      return 0;
    case 2:
      EXPECT(tvmgen_default_push(stream, NULL, 1), TVMGEN_DEFAULT_STREAM_NO_ROWS);
      return 0;
    default:
      if (wanted) EXPECT(tvmgen_default_end(stream), TVMGEN_DEFAULT_STREAM_TOO_EARLY);
      return 0;
  }
}

/* Pushes rows until ``stop`` are in, in portions of at most ``most``. */
static int32_t push_until(struct script* script, struct tvmgen_default_stream* stream, const uint8_t* rows,
                          int32_t stop, int32_t most) {
  for (int32_t done = 0; done < stop;) {
    int32_t count = draw(script, most + 1);
    if (count > stop - done) count = stop - done;
    EXPECT(push(script, stream, rows + (size_t)done * ROW_BYTES, count), ROWS - done - count);
    done += count;
    if (draw(script, 4) == 0) {
      const int32_t line = provoke(script, stream, ROWS - done);
      if (line) return line;
    }
  }
  return 0;
}

static int32_t not_begun(struct script* script, struct tvmgen_default_stream* stream, const uint8_t* rows) {
  script->counts->refused += 2;
  EXPECT(tvmgen_default_push(stream, rows, 1), TVMGEN_DEFAULT_STREAM_NOT_BEGUN);
  EXPECT(tvmgen_default_end(stream), TVMGEN_DEFAULT_STREAM_NOT_BEGUN);
  return 0;
}

static void begin(struct tvmgen_default_stream* stream, struct tvmgen_default_inputs* inputs,
                  struct tvmgen_default_outputs* outputs, void* pools) {
#if TVMGEN_DEFAULT_STREAM_HAS_POOLS
  tvmgen_default_begin(stream, inputs, outputs, pools);
#else
  (void)pools;
  tvmgen_default_begin(stream, inputs, outputs);
#endif
}

int32_t run_in_pushes(struct tvmgen_default_inputs inputs, struct tvmgen_default_outputs* outputs, void* pools,
                      void (*restore)(void), uint32_t seed, struct pushes* counts) {
  struct script script = {seed * 2654435761u + 1u, counts};
  struct tvmgen_default_stream stream;
  const uint8_t* rows = inputs.TVMGEN_DEFAULT_STREAM_INPUT;
  int32_t line;
  inputs.TVMGEN_DEFAULT_STREAM_INPUT = NULL;
  memset(&stream, 0x5A, sizeof stream);
  if ((line = not_begun(&script, &stream, rows))) return line;
  while (draw(&script, 3) == 0) { /* runs that are broken off, wherever they are */
    begin(&stream, &inputs, outputs, pools);
    if ((line = push_until(&script, &stream, rows, draw(&script, ROWS + 1), ROWS))) return line;
    counts->restarts++;
    restore();
  }
  begin(&stream, &inputs, outputs, pools);
  const int32_t most = draw(&script, 2) ? 1 : 1 + draw(&script, ROWS);
  if ((line = push_until(&script, &stream, rows, ROWS, most))) return line;
  if ((line = provoke(&script, &stream, 0))) return line;
  EXPECT(tvmgen_default_end(&stream), 0);
  return not_begun(&script, &stream, rows);
}
