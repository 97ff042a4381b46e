/* Each has a loop that runs `repeats` times, and therein one that runs `rounds` times; both at least once. */
#include <stdint.h>
void pex_nested(int32_t repeats, int32_t rounds);
void pex_long(int32_t repeats, int32_t rounds);
void pex_branches(int32_t repeats, int32_t rounds);
void pex_conditional(int32_t repeats, int32_t rounds);
void pex_low_overhead(int32_t repeats, int32_t rounds);
void pex_calls(int32_t repeats, int32_t rounds);
