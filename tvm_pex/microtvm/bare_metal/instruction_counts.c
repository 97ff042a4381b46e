/* A plugin for QEMU: how often each instruction of the firmware was executed. Built with the host's compiler.
 *
 * qemu-system-arm ... -plugin instruction_counts.so,counts=FILE
 *
 * At the end FILE gets one line for each instruction of each translated block: ADDRESS COUNT, in decimal. An address
 * may come several times. Compile with -DPLUGIN_API=n, the version of the interface that QEMU asks for. */
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

enum { NO_REGISTERS = 0 };

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

struct block {
  struct block* next;
  uint64_t executed;
  size_t length;
  uint64_t addresses[];
};

static struct block* blocks;
static const char* path;

static void executed(unsigned processor, void* block) {
  (void)processor;
  ((struct block*)block)->executed++;
}

static void translated(plugin_id id, struct qemu_plugin_tb* code) {
  (void)id;
  const size_t length = qemu_plugin_tb_n_insns(code);
  struct block* block = malloc(sizeof *block + length * sizeof *block->addresses);
  if (!block) abort();
  block->next = blocks;
  block->executed = 0;
  block->length = length;
  for (size_t k = 0; k < length; k++)
    block->addresses[k] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(code, k));
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_cb(code, executed, NO_REGISTERS, block);
}

static void finished(plugin_id id, void* unused) {
  (void)id;
  (void)unused;
  FILE* file = fopen(path, "w");
  if (!file) abort();
  for (const struct block* block = blocks; block; block = block->next)
    for (size_t k = 0; k < block->length && block->executed; k++)
      fprintf(file, "%" PRIu64 " %" PRIu64 "\n", block->addresses[k], block->executed);
  if (fclose(file)) abort();
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void* info, int argc, char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "counts=", 7)) return -1;
  path = strdup(argv[0] + 7);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, NULL);
  return path ? 0 : -1;
}
