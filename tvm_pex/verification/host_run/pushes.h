#ifndef PUSHES_H_
#define PUSHES_H_

#include <stdint.h>

#include <tvmgen_default.h>

/* What was done to a network so far. */
struct pushes {
  long pushes;
  long restarts;
  long refused; /* calls that had to be, and were */
};

/* ``inputs`` has the streamed input whole; ``pools`` is what tvmgen_default_begin takes; ``restore`` writes all inputs
 * anew, as a run reuses their bytes. 0, or where in pushes.c what a call returned was not right. */
int32_t run_in_pushes(struct tvmgen_default_inputs inputs, struct tvmgen_default_outputs* outputs, void* pools,
                      void (*restore)(void), uint32_t seed, struct pushes* counts);

#endif /* PUSHES_H_ */
