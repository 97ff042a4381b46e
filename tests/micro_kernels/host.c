/* host CASES RESULTS CASE_BYTES RESULT_BYTES: runs the cases of a file, each part in a block of just its size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"

static void run_case(const uint8_t* bytes, uint8_t* results) {
  const struct call* call = (const struct call*)bytes;
  uint8_t *blocks[PARTS], *bases[PARTS];
  for (int k = 0; k < PARTS; k++) {
    int32_t size = call->parts[k].bytes;
    int32_t odd = (k == Y ? call->result : call->parts[k].at) % 4; /* as misaligned as on the device */
    blocks[k] = malloc((size_t)(odd + size));
    bases[k] = blocks[k] + odd;
    memcpy(bases[k], bytes + call->parts[k].at, (size_t)size);
  }
  run_call(call, bases);
  memcpy(results + call->result, bases[Y], (size_t)call->parts[Y].bytes);
  for (int k = 0; k < PARTS; k++) free(blocks[k]);
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  size_t case_bytes = (size_t)atol(argv[3]), result_bytes = (size_t)atol(argv[4]);
  FILE *from = fopen(argv[1], "rb"), *to = fopen(argv[2], "wb");
  uint8_t* bytes = malloc(case_bytes);
  uint8_t* results = malloc(result_bytes);
  if (!from || !to || !bytes || !results) return 2;
  while (fread(bytes, case_bytes, 1, from) == 1) {
    memset(results, 0, result_bytes);
    run_case(bytes, results);
    if (fwrite(results, result_bytes, 1, to) != 1) return 2;
  }
  free(bytes);
  free(results);
  return fclose(to) || fclose(from);
}
