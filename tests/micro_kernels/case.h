/* One call of a kernel, described by bytes that tests/kernel_cases.py lays out. */
#ifndef CASE_H_
#define CASE_H_

#include <stdint.h>

enum kernel { PAIRS, PAIRS_PATCH, WIDE, WIDE_PATCH, LANES, LANES_PATCH, DEPTHWISE, DEPTHWISE_LANES, ADD, SUM_INT16, SUM_INT32 };
enum part { X, B, WEIGHTS, PARAMETERS, PATCH, Y, PARTS };

/* The words with which a case begins. */
struct call {
  int32_t kernel, row, column, pixels, first, channels, pitch;
  struct {
    int32_t at;    /* the part's first byte in the case */
    int32_t bytes; /* of the part, all of which the kernel may touch */
    int32_t start; /* the byte of the part that the kernel is given */
  } parts[PARTS];
  int32_t result; /* the byte of the results at which the part Y comes to lie */
};

/* `bases` are the parts. */
void run_call(const struct call* call, uint8_t* const bases[PARTS]);

#endif /* CASE_H_ */
