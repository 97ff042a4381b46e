/* Runs a network many times in one process, in memory pools (often one, the arena) each between guard zones.
 *
 * usage: harness INPUT OUTPUT GUARD_BYTES PORT... POOL...
 *
 * One PORT for each member of the inputs struct, then one for each of the outputs struct: BYTES:POOL:OFFSET, the number
 * of a pool from 0 on and the place in it, or BYTES:- for a buffer of its own outside. One POOL for each member of the
 * pools struct, then any others that hold ports alone: NAME:BYTES. INPUT holds all inputs of run 0, then of run 1, ...;
 * OUTPUT gets the outputs in the same way. On standard output, one line for each thing that went wrong:
 *
 *   guard RUN BLOCK POSITION   a byte outside a block was written; BLOCK is a pool's name, input<k> or output<k>, POSITION
 *                              is relative to the block's first byte
 *   status RUN VALUE           the network returned VALUE instead of 0; the outputs of that run are not to be trusted
 *
 * and with -DPUSHES=1, at the end, "pushes PUSHES RESTARTS REFUSED": every run but the first hands in the input
 * by rows, as pushes.c does.
 *
 * Before each run every byte that the network may write is filled with bytes that differ from run to run, so that a value
 * used before it was written shows up as a wrong output.
 *
 * Compile with -DPORTS_IN=n -DPORTS_OUT=n -DPOOLS=n, POOLS being 0 where the entry point takes no pools, and -DPUSHES=0
 * or 1.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tvmgen_default.h>

#if PUSHES
#include "pushes.h"

static struct pushes counts;
static void restore_inputs(void);
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { PORTS = PORTS_IN + PORTS_OUT, FIRST_PORT = 4, FIRST_POOL = FIRST_PORT + PORTS, ALIGNMENT = 64, GUARD_BYTE = 0xC3 };

/* A block of bytes between two guard zones. */
struct block {
  void* raw; /* as allocated */
  uint8_t* bytes;
  size_t size;
  size_t guard;
  char name[64];
};

struct port {
  uint8_t* bytes;
  size_t size;
};

static void fail(const char* what) {
  fprintf(stderr, "harness: %s\n", what);
  exit(2);
}

static struct block make_block(size_t size, size_t guard) {
  /* Aligned by hand, not by aligned_alloc, so that nothing lies between the block's last byte and its guard. */
  uint8_t* raw = malloc(size + 2 * guard + ALIGNMENT);
  if (!raw) fail("out of memory");
  uintptr_t first = (uintptr_t)raw + guard;
  struct block block = {raw, raw + guard + (ALIGNMENT - first % ALIGNMENT) % ALIGNMENT, size, guard, ""};
  memset(block.bytes - guard, GUARD_BYTE, guard);
  memset(block.bytes + size, GUARD_BYTE, guard);
  ASAN_POISON_MEMORY_REGION(block.bytes - guard, guard);
  ASAN_POISON_MEMORY_REGION(block.bytes + size, guard);
  return block;
}

/* Reports the written guard byte nearest to the block on either side, and repairs the guards for the next run. */
static void check_guards(const struct block* block, int run) {
  uint8_t* low = block->bytes - block->guard;
  uint8_t* high = block->bytes + block->size;
  ASAN_UNPOISON_MEMORY_REGION(low, block->guard);
  ASAN_UNPOISON_MEMORY_REGION(high, block->guard);
  for (size_t k = 1; k <= block->guard; k++)
    if (block->bytes[-(ptrdiff_t)k] != GUARD_BYTE) {
      printf("guard %d %s %ld\n", run, block->name, -(long)k);
      break;
    }
  for (size_t k = 0; k < block->guard; k++)
    if (high[k] != GUARD_BYTE) {
      printf("guard %d %s %lu\n", run, block->name, (unsigned long)(block->size + k));
      break;
    }
  memset(low, GUARD_BYTE, block->guard);
  memset(high, GUARD_BYTE, block->guard);
  ASAN_POISON_MEMORY_REGION(low, block->guard);
  ASAN_POISON_MEMORY_REGION(high, block->guard);
}

static void poison(const struct block* block, uint32_t seed) {
  for (size_t k = 0; k < block->size; k++) {
    seed = seed * 1664525u + 1013904223u;
    block->bytes[k] = (uint8_t)(seed >> 24);
  }
}

/* The structs are one pointer for each port; an array of negative size does not compile. */
typedef char inputs_are_pointers[sizeof(struct tvmgen_default_inputs) == PORTS_IN * sizeof(void*) ? 1 : -1];
typedef char outputs_are_pointers[sizeof(struct tvmgen_default_outputs) == PORTS_OUT * sizeof(void*) ? 1 : -1];
#if POOLS
typedef char pools_are_pointers[sizeof(struct tvmgen_default_workspace_pools) == POOLS * sizeof(void*) ? 1 : -1];
#endif

static int32_t run_network(void** pointers, const struct block* blocks, int run) {
  struct tvmgen_default_inputs inputs;
  struct tvmgen_default_outputs outputs;
  memcpy(&inputs, pointers, sizeof inputs);
  memcpy(&outputs, pointers + PORTS_IN, sizeof outputs);
#if POOLS
  struct tvmgen_default_workspace_pools pools;
  void* starts[POOLS];
  for (int k = 0; k < POOLS; k++) starts[k] = blocks[k].bytes;
  memcpy(&pools, starts, sizeof pools);
  void* const held = &pools;
#else
  (void)blocks;
  void* const held = NULL;
#endif
#if PUSHES
  if (run) return run_in_pushes(inputs, &outputs, held, restore_inputs, (uint32_t)run, &counts);
#endif
  (void)run;
  (void)held;
#if POOLS
  return tvmgen_default_run(&inputs, &outputs, &pools);
#else
  return tvmgen_default_run(&inputs, &outputs);
#endif
}

/* The pool that NAME:BYTES asks for. */
static struct block make_pool(const char* text, size_t guard) {
  const char* colon = strchr(text, ':');
  if (!colon) fail("a pool is NAME:BYTES");
  struct block block = make_block(strtoul(colon + 1, NULL, 10), guard);
  snprintf(block.name, sizeof block.name, "%.*s", (int)(colon - text), text);
  return block;
}

/* The place in one of the pools that POOL:OFFSET asks for. */
static uint8_t* inside(const char* text, size_t size, const struct block* pools, size_t pool_count) {
  char* rest;
  size_t pool = strtoul(text, &rest, 10);
  if (*rest != ':' || pool >= pool_count) fail("a port is BYTES:POOL:OFFSET or BYTES:-");
  size_t offset = strtoul(rest + 1, NULL, 10);
  if (offset > pools[pool].size || size > pools[pool].size - offset) fail("a port lies outside its pool");
  return pools[pool].bytes + offset;
}

static struct port ports[PORTS];

#if PUSHES
static struct port kept[PORTS_IN]; /* copies of the inputs */

static void keep_input(int k) {
  if (!kept[k].bytes && !(kept[k].bytes = malloc(ports[k].size))) fail("out of memory");
  memcpy(kept[k].bytes, ports[k].bytes, ports[k].size);
}

static void restore_inputs(void) {
  for (int k = 0; k < PORTS_IN; k++) memcpy(ports[k].bytes, kept[k].bytes, ports[k].size);
}
#else
static void keep_input(int k) { (void)k; }
#endif

int main(int argc, char** argv) {
  if (argc < FIRST_POOL + POOLS) fail("wrong number of arguments");
  FILE* input = fopen(argv[1], "rb");
  FILE* output = fopen(argv[2], "wb");
  if (!input || !output) fail("cannot open the input or output file");
  size_t guard = strtoul(argv[3], NULL, 10);

  int pool_count = argc - FIRST_POOL;
  int block_count = pool_count;
  struct block* blocks = malloc((size_t)(pool_count + PORTS) * sizeof *blocks);
  if (!blocks) fail("out of memory");
  for (int k = 0; k < pool_count; k++) blocks[k] = make_pool(argv[FIRST_POOL + k], guard);

  void* pointers[PORTS];
  for (int k = 0; k < PORTS; k++) {
    char* rest;
    ports[k].size = strtoul(argv[FIRST_PORT + k], &rest, 10);
    if (*rest != ':') fail("a port is BYTES:POOL:OFFSET or BYTES:-");
    if (rest[1] == '-') {
      struct block block = make_block(ports[k].size, guard);
      snprintf(block.name, sizeof block.name, k < PORTS_IN ? "input%d" : "output%d", k < PORTS_IN ? k : k - PORTS_IN);
      ports[k].bytes = block.bytes;
      blocks[block_count++] = block;
    } else {
      ports[k].bytes = inside(rest + 1, ports[k].size, blocks, (size_t)pool_count);
    }
    pointers[k] = ports[k].bytes;
  }

  for (int run = 0;; run++) {
    for (int k = 0; k < block_count; k++) poison(&blocks[k], (uint32_t)run * 31u + (uint32_t)k);
    for (int k = 0; k < PORTS_IN; k++)
      if (fread(ports[k].bytes, 1, ports[k].size, input) != ports[k].size) {
        if (k) fail("the input file ends in the middle of a run");
        goto done;
      } else {
        keep_input(k);
      }
    int32_t status = run_network(pointers, blocks, run);
    if (status) printf("status %d %ld\n", run, (long)status);
    for (int k = 0; k < block_count; k++) check_guards(&blocks[k], run);
    fflush(stdout);
    for (int k = PORTS_IN; k < PORTS; k++)
      if (fwrite(ports[k].bytes, 1, ports[k].size, output) != ports[k].size) fail("cannot write the output file");
  }

done:
#if PUSHES
  printf("pushes %ld %ld %ld\n", counts.pushes, counts.restarts, counts.refused);
#endif
  for (int k = 0; k < block_count; k++) free(blocks[k].raw);
  free(blocks);
  fclose(input);
  if (fclose(output)) fail("cannot write the output file");
  return 0;
}
