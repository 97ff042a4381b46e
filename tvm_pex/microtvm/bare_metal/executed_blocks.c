/* A plugin for QEMU: how often each block of the firmware was executed, on whose behalf, and what came after it. Built
 * with the host's compiler.
 *
 * qemu-system-arm ... -plugin executed_blocks.so,to=FILE,callers=BEGIN-END:BEGIN-END...
 *
 * Blocks that begin in one of the ranges of addresses (END not included) are callers. All others, functions that several
 * of them call, are counted for the caller that was executed last; before the first one they are not counted.
 *
 * At the end FILE gets for each block, numbers in decimal, several lines:
 *   block END ADDRESS...     the address behind the block, those of its instructions
 *   for CALLER COUNT         the address of the last instruction of the caller, that is, of the call, which may come
 *                            several times; a block that is a caller itself has one such line, with CALLER 0
 *   then ADDRESS             where execution went on after the block, once for each place
 * QEMU cuts code into blocks as it likes: also where no branch is, and several of them may share instructions. Compile
 * with -DPLUGIN_API=n, the version of the interface that QEMU asks for. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of QEMU's interface for plugins that is used here; Debian has no package with its header. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb*, void (*)(unsigned, void*), int, void*);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void*), void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);

enum { NO_REGISTERS = 0 };

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

struct block {
  struct block* older;
  int is_caller;
  size_t number;      /* of a caller that has called something, from 1 on */
  uint64_t* executed; /* by the number of the caller; a caller's own count is the first */
  size_t counters;
  const struct block** followers;
  size_t follower_count;
  const struct block* follower; /* the last one */
  uint64_t end;
  size_t length;
  uint64_t addresses[];
};

static struct block* blocks;
static struct block* last;
static struct block* caller;
static struct block** callers; /* by their numbers, the first is not used */
static size_t caller_count;
static struct range {
  uint64_t begin, end;
}* ranges;
static size_t range_count;
static const char* path;

static void* resized(void* items, size_t count, size_t size) {
  items = realloc(items, count * size);
  if (!items) abort();
  return items;
}

static void note_follower(struct block* block, const struct block* next) {
  block->follower = next;
  for (size_t k = 0; k < block->follower_count; k++)
    if (block->followers[k] == next) return;
  block->followers = resized(block->followers, block->follower_count + 1, sizeof *block->followers);
  block->followers[block->follower_count++] = next;
}

static void give_number(struct block* block) {
  block->number = ++caller_count;
  callers = resized(callers, caller_count + 1, sizeof *callers);
  callers[caller_count] = block;
}

static void add_counters(struct block* block, size_t count) {
  block->executed = resized(block->executed, count, sizeof *block->executed);
  while (block->counters < count) block->executed[block->counters++] = 0;
}

static void executed(unsigned processor, void* data) {
  (void)processor;
  struct block* block = data;
  if (last && last->follower != block) note_follower(last, block);
  last = block;
  size_t number = 0;
  if (block->is_caller) {
    caller = block;
  } else {
    if (!caller) return;
    if (!caller->number) give_number(caller);
    number = caller->number;
  }
  if (number >= block->counters) add_counters(block, number + 1);
  block->executed[number]++;
}

static void translated(plugin_id id, struct qemu_plugin_tb* code) {
  (void)id;
  const size_t length = qemu_plugin_tb_n_insns(code);
  struct block* block = calloc(1, sizeof *block + length * sizeof *block->addresses);
  if (!block) abort();
  block->older = blocks;
  block->length = length;
  for (size_t k = 0; k < length; k++) {
    const struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(code, k);
    block->addresses[k] = qemu_plugin_insn_vaddr(instruction);
    block->end = block->addresses[k] + qemu_plugin_insn_size(instruction);
  }
  for (size_t k = 0; k < range_count && length; k++)
    block->is_caller |= ranges[k].begin <= block->addresses[0] && block->addresses[0] < ranges[k].end;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_cb(code, executed, NO_REGISTERS, block);
}

static void print_block(FILE* file, const struct block* block) {
  fprintf(file, "block %" PRIu64, block->end);
  for (size_t k = 0; k < block->length; k++) fprintf(file, " %" PRIu64, block->addresses[k]);
  for (size_t k = 0; k < block->counters; k++) {
    const uint64_t call = k ? callers[k]->addresses[callers[k]->length - 1] : 0;
    if (block->executed[k]) fprintf(file, "\nfor %" PRIu64 " %" PRIu64, call, block->executed[k]);
  }
  for (size_t k = 0; k < block->follower_count; k++)
    fprintf(file, "\nthen %" PRIu64, block->followers[k]->addresses[0]);
  fprintf(file, "\n");
}

static void finished(plugin_id id, void* unused) {
  (void)id;
  (void)unused;
  FILE* file = fopen(path, "w");
  if (!file) abort();
  for (const struct block* block = blocks; block; block = block->older)
    if (block->counters) print_block(file, block);
  if (fclose(file)) abort();
}

/* Of "BEGIN-END:BEGIN-END"; 0 where it says something else. */
static int read_ranges(const char* text) {
  for (int taken = 0; *text; text += taken + (text[taken] == ':')) {
    struct range range;
    if (sscanf(text, "%" SCNu64 "-%" SCNu64 "%n", &range.begin, &range.end, &taken) != 2) return 0;
    ranges = resized(ranges, range_count + 1, sizeof *ranges);
    ranges[range_count++] = range;
  }
  return 1;
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void* info, int argc, char** argv) {
  (void)info;
  if (argc != 2 || strncmp(argv[0], "to=", 3) || strncmp(argv[1], "callers=", 8) || !read_ranges(argv[1] + 8)) return -1;
  path = strdup(argv[0] + 3);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, NULL);
  return path ? 0 : -1;
}
