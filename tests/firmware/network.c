/* A network that does what its input orders: a kind of trouble, and a number. */
#include <tvmgen_default.h>

enum { LOOP, OVERFLOW, FAULT, HANG, FAIL, USE_STACK };

/* Two instructions a round. */
static void loop(uint32_t rounds) { __asm__ volatile("1: subs %0, #1\nbne 1b" : "+r"(rounds)::"cc"); }

__attribute__((noinline)) static int32_t use_stack(volatile uint8_t* above, int32_t bytes) {
  volatile uint8_t frame[64];
  frame[0] = *above;
  return bytes <= 0 ? frame[0] : use_stack(frame, bytes - 64) + frame[0];
}

int32_t tvmgen_default_run(struct tvmgen_default_inputs* inputs, struct tvmgen_default_outputs* outputs) {
  const int32_t* order = inputs->order;
  const int32_t number = order[1];
  volatile uint8_t top = 1;
  int32_t answer = number + 1;
  switch (order[0]) {
    case OVERFLOW:
    case USE_STACK:
      answer = use_stack(&top, number);
      break;
    case FAULT:
      __asm__ volatile("udf #0");
      break;
    case HANG:
      for (;;) {
      }
    case FAIL:
      return -7;
    default:
      loop((uint32_t)number);
  }
  *(int32_t*)outputs->answer = answer;
  return 0;
}
