/* Arm semihosting: the host, here QEMU, reads and writes files for the firmware. */
#ifndef SEMIHOSTING_H_
#define SEMIHOSTING_H_

#include <stddef.h>
#include <stdint.h>

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 1, MODE_WRITE = 5 }; /* "rb" and "wb" */
enum { APPLICATION_EXIT = 0x20026 };
enum { EXIT_DONE = 0, EXIT_FAULT = 3, EXIT_FILES = 4 };

static inline int host(int operation, const void* block) {
  register int r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

__attribute__((noreturn)) static inline void host_exit(uint32_t status) {
  const uint32_t block[] = {APPLICATION_EXIT, status};
  host(SYS_EXIT_EXTENDED, block);
  for (;;) {
  }
}

/* `length` is that of `name`. Ends the firmware when there is no such file. */
static inline int host_open(const char* name, size_t length, int mode) {
  const uint32_t block[] = {(uint32_t)name, (uint32_t)mode, length};
  const int handle = host(SYS_OPEN, block);
  if (handle < 0) host_exit(EXIT_FILES);
  return handle;
}

/* Both give the number of bytes that were NOT transferred. */
static inline int host_read(int handle, void* bytes, size_t count) {
  const uint32_t block[] = {(uint32_t)handle, (uint32_t)bytes, count};
  return host(SYS_READ, block);
}

static inline int host_write(int handle, const void* bytes, size_t count) {
  const uint32_t block[] = {(uint32_t)handle, (uint32_t)bytes, count};
  return host(SYS_WRITE, block);
}

#endif /* SEMIHOSTING_H_ */
