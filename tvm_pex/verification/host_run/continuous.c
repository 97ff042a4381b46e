/* Runs a network over a stream of rows: usage: continuous ROWS RESULTS SEED.
 *
 * Pushes all rows of the file ROWS, in portions of random size, each from memory of exactly its size, with calls between
 * them that must be refused; RESULTS gets the outputs each time they are there. Its memory has exactly its size, and is
 * filled with noise before. Exit status 1 where a call returns what it must not; the line is on standard error.
 *
 * Compile with -DOUTPUT_BYTES={b0, b1, ...}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tvmgen_default_continuous.h>

enum { ROW_BYTES = TVMGEN_DEFAULT_CONTINUOUS_ROW_BYTES, BYTES = TVMGEN_DEFAULT_CONTINUOUS_BYTES };

static const size_t output_bytes[] = OUTPUT_BYTES;
enum { OUTPUTS = sizeof output_bytes / sizeof *output_bytes };

typedef char outputs_are_pointers[sizeof(struct tvmgen_default_window_outputs) == OUTPUTS * sizeof(void*) ? 1 : -1];

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "continuous.c, line %d\n", __LINE__); \
      exit(1); \
    } \
  } while (0)

static uint32_t seed;

static int32_t draw(int32_t limit) {
  seed = seed * 1664525u + 1013904223u;
  return (int32_t)((seed >> 8) % (uint32_t)limit);
}

int main(int argc, char** argv) {
  EXPECT(argc == 4);
  FILE* rows = fopen(argv[1], "rb");
  FILE* results = fopen(argv[2], "wb");
  EXPECT(rows && results);
  seed = (uint32_t)strtoul(argv[3], NULL, 10);

  uint8_t* memory = aligned_alloc(16, (BYTES + 15) / 16 * 16);
  EXPECT(memory);
  for (size_t k = 0; k < (BYTES + 15) / 16 * 16; k++) memory[k] = (uint8_t)draw(256);
  void* buffers[OUTPUTS];
  for (int k = 0; k < OUTPUTS; k++) EXPECT(buffers[k] = malloc(output_bytes[k]));
  struct tvmgen_default_window_outputs outputs;
  memcpy(&outputs, buffers, sizeof outputs);

  struct tvmgen_default_continuous state;
  memset(&state, 0x5A, sizeof state);
  EXPECT(tvmgen_default_continuous_push(&state, memory, 1) == TVMGEN_DEFAULT_CONTINUOUS_NOT_BEGUN);
  tvmgen_default_continuous_begin(&state, memory, &outputs);
  int32_t wanted = 1;
  for (;;) {
    int32_t most = wanted ? wanted : TVMGEN_DEFAULT_CONTINUOUS_HOP;
    int32_t count = 1 + draw(most);
    uint8_t* portion = malloc((size_t)count * ROW_BYTES);
    EXPECT(portion);
    count = (int32_t)fread(portion, ROW_BYTES, (size_t)count, rows);
    if (!count) {
      free(portion);
      break;
    }
    EXPECT(tvmgen_default_continuous_push(&state, portion, 0) == TVMGEN_DEFAULT_CONTINUOUS_NO_ROWS);
    EXPECT(tvmgen_default_continuous_push(&state, NULL, 1) == TVMGEN_DEFAULT_CONTINUOUS_NO_ROWS);
    wanted = tvmgen_default_continuous_push(&state, portion, count);
    EXPECT(wanted >= 0);
    free(portion);
    if (wanted)
      EXPECT(tvmgen_default_continuous_push(&state, memory, wanted + 1) == TVMGEN_DEFAULT_CONTINUOUS_TOO_MANY_ROWS);
    else
      for (int k = 0; k < OUTPUTS; k++) EXPECT(fwrite(buffers[k], 1, output_bytes[k], results) == output_bytes[k]);
  }
  for (int k = 0; k < OUTPUTS; k++) free(buffers[k]);
  free(memory);
  fclose(rows);
  EXPECT(!fclose(results));
  return 0;
}
