/* From reset to main() on any Cortex-M from the M3 on, and the end of firmware that faults. */
#include <stdint.h>

#include "semihosting.h"
#include "stack.h"
#include "systick.h"

#define COPROCESSOR_ACCESS (*(volatile uint32_t*)0xE000ED88)
#define CONFIGURABLE_FAULT_STATUS (*(volatile uint32_t*)0xE000ED28)

#define TEXT(macro) TEXT_OF(macro)
#define TEXT_OF(value) #value

extern uint32_t data_begin[], data_end[], data_load[], bss_begin[], bss_end[]; /* from firmware.ld */
int main(void);
void reset(void);
void fault(void);

__attribute__((section(".vectors"), used)) static const void* const vectors[16] = {
    stack_end, reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, systick_handler,
};

/* The stack must be painted by code that keeps nothing on it. */
__attribute__((naked)) void reset(void) {
  __asm__ volatile(
      "ldr r0, =stack_begin\n"
      "ldr r1, =stack_end\n"
      "ldr r2, =" TEXT(STACK_PAINT) "\n"
      "1: cmp r0, r1\n"
      "itt lo\n"
      "strlo r2, [r0], #4\n"
      "blo 1b\n"
      "b start\n"
      ".pool\n");
}

__attribute__((used, noreturn)) static void start(void) {
  COPROCESSOR_ACCESS |= 0xF << 20; /* floating point and MVE */
  __asm__ volatile("dsb\nisb" ::: "memory");
  const uint32_t* from = data_load;
  for (uint32_t* to = data_begin; to < data_end;) *to++ = *from++;
  for (uint32_t* to = bss_begin; to < bss_end;) *to++ = 0;
  host_exit((uint32_t)main());
}

/* The file "fault" gets the stack in use, the fault's status, and the address of the instruction. If the exception frame
 * lies outside the stack, all of that was in use. What follows has the whole stack to itself. */
__attribute__((naked)) void fault(void) {
  __asm__ volatile(
      "mov r0, sp\n"
      "ldr r1, =stack_end\n"
      "mov sp, r1\n"
      "b report_fault\n"
      ".pool\n");
}

__attribute__((used, noreturn)) static void report_fault(const uint32_t* frame) {
  const uint32_t whole = (uint32_t)stack_end - (uint32_t)stack_begin;
  const int inside = frame >= stack_begin && frame + 8 <= stack_end;
  const uint32_t words[] = {inside ? stack_used() : whole, CONFIGURABLE_FAULT_STATUS, inside ? frame[6] : 0};
  host_write(host_open("fault", 5, MODE_WRITE), words, sizeof words);
  host_exit(EXIT_FAULT);
}

/* libm reports errors in errno; newlib's own would bring along its structure of a thousand bytes. */
int* __errno(void);
int* __errno(void) {
  static int number;
  return &number;
}
