/* Words at any address. A packed structure, because in freestanding code a call of memcpy stays a call. */
#ifndef PEX_MEMORY_H
#define PEX_MEMORY_H

#include "pex_kernels.h"

struct __attribute__((packed, may_alias)) pex_word {
  uint32_t value;
};

PEX_INLINE int32_t pex_load(const void* from) { return (int32_t)((const struct pex_word*)from)->value; }
PEX_INLINE void pex_store(void* to, int32_t value) { ((struct pex_word*)to)->value = (uint32_t)value; }

#if defined(__ARM_FEATURE_DSP)

/* Bytes 0 and 2 of a word, bytes 1 and 3, widened to 16 bits. */
PEX_INLINE int32_t pex_even_bytes(int32_t word) {
  int32_t result;
  __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(word));
  return result;
}

PEX_INLINE int32_t pex_odd_bytes(int32_t word) {
  int32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
  return result;
}

#endif

/* 2-byte weights: `weights` is aligned to 4 bytes and holds bytes. */
typedef int16_t __attribute__((may_alias)) pex_pair;
typedef int32_t __attribute__((may_alias)) pex_two_pairs;

#endif
