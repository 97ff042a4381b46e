/* Convolutions whose weights lie in pairs of output channels, an even one and the odd one behind it: a 16-bit number
 * 256 * odd + even, which multiplies both at once. One more product with its low byte gives the even sum alone, and the
 * difference of the two is 256 times the odd sum. That saves half of the work of widening weights to 16 bits, in plain
 * C as with SMLAD. Odd sums have to fit 24 bits, which tvm_pex.micro_kernels sees to.
 *
 * For each four output channels and each four inputs there are 16 bytes: pairs of input 0 and of input 2 for the first
 * two channels, the same for the other two; and so for inputs 1 and 3. */
#include "pex_pairs_dot.h"
#include "pex_requantise.h"
#include "pex_window.h"

PEX_INLINE struct pex_job begun(const int8_t* weights, const int32_t* parameters, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  return (struct pex_job){
      .weights = weights + 4 * first * p->depth, .block = pex_blocks(parameters) + first, .offset = p->offset};
}

/* All blocks of one pixel; or of two, of which the second one's results lie behind the first one's. */
static void compute(struct pex_job job, const int8_t* const* runs, int32_t count, int32_t bytes, int8_t* y,
                    const struct pex_parameters* p, int32_t two) {
  int32_t left = p->outputs;
  job.runs = runs, job.runs_end = runs + count, job.bytes = bytes;
  job.y = y, job.y2 = y + p->output_pitch;
#if defined(PEX_FAST_BLOCKS)
  if (!p->special && left > 3) {
    job.end = job.block + left / 4;
    job.weights = two ? pex_two_pixels(&job) : pex_one_pixel(&job);
    left &= 3;
  }
#endif
  for (; left > 0; left -= 4) {
    int32_t sums[8];
    const struct pex_block* block = job.block;
    job.sums = sums, job.end = block + 1;
    job.weights = two ? pex_two_sums(&job) : pex_one_sums(&job);
    pex_put(job.y, sums[0], pex_odd(sums[1]), sums[2], pex_odd(sums[3]), block, p, left);
    if (two) pex_put(job.y2, sums[4], pex_odd(sums[5]), sums[6], pex_odd(sums[7]), block, p, left);
    job.block = job.end, job.y += 4, job.y2 += 4;
  }
}

int32_t pex_pairs(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                  int32_t pixels, int32_t first) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  struct pex_job job = begun(weights, parameters, first);
  struct pex_window window;
  while (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels, 1);
    int32_t bytes = window.columns * p->channels, found = window.pixels;
#if defined(PEX_DOT_TWO)
    if (found > 1 && found < pixels) found &= ~1; /* an odd one goes with the one behind it */
#endif
    pixels -= found, column += found;
    while (found > 0) {
      int32_t done = 1;
#if defined(PEX_DOT_TWO)
      if (found > 1) {
        const int8_t* runs[2 * PEX_ROWS]; /* the second pixel's first */
        for (int32_t k = 0; k < window.count; k++) {
          runs[2 * k] = window.lines.at[k] + window.lines.rows.moves[k].next;
          runs[2 * k + 1] = window.lines.at[k];
        }
        compute(job, runs, 2 * window.count, bytes, y, p, 1);
        done = 2;
      } else if (window.pixels == 1 && pixels > 0) { /* windows that lie anywhere */
        pex_find_positions(window.lines.at, 2, x, weights + p->zeros, p, row, column);
        pex_find_positions(window.lines.at + 1, 2, x, weights + p->zeros, p, row, column - 1);
        compute(job, window.lines.at, 2 * p->kernel_rows * p->kernel_columns, p->channels, y, p, 1);
        done = 2, pixels--, column++;
      }
#endif
      if (done == 1) compute(job, window.lines.at, window.count, bytes, y, p, 0);
      y += done * p->output_pitch;
      found -= done;
      if (found > 0) pex_move_on(&window, done);
    }
  }
  return 0;
}

int32_t pex_pairs_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  struct pex_job job = begun(weights, parameters, first);
  const int8_t* const runs[2] = {patch + p->depth, patch};
#if defined(PEX_DOT_TWO)
  for (; pixels > 1; pixels -= 2, column += 2, y += 2 * p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    pex_copy_window(patch + p->depth, x, p, row, column + 1);
    compute(job, runs, 2, p->depth, y, p, 1);
  }
#endif
  for (; pixels > 0; pixels--, column++, y += p->output_pitch) {
    pex_copy_window(patch, x, p, row, column);
    compute(job, runs + 1, 1, p->depth, y, p, 0);
  }
  return 0;
}

#if defined(PEX_DOT_WIDE)

/* Puts `bytes` inputs of one of two pixels where pex_two_pixels reads them; gives the place behind them. */
static int32_t* widen(int32_t* wide, const int8_t* x, int32_t bytes) {
  const int8_t* end = x + bytes;
  do {
    int32_t word = pex_load(x);
    wide[0] = pex_even_bytes(word);
    wide[2] = pex_odd_bytes(word);
    x += 4, wide += 4;
  } while (x != end);
  return wide;
}

int32_t pex_pairs_wide(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                       int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  struct pex_job job = begun(weights, parameters, first);
  const int8_t* const runs[1] = {patch};
  struct pex_window window;
  window.pixels = 0;
  for (; pixels > 1; pixels -= 2, y += 2 * p->output_pitch) {
    for (int32_t k = 0; k < 2; k++, column++, window.pixels--) {
      int32_t* wide = (int32_t*)(void*)patch + k;
      if (window.pixels > 0)
        pex_move_on(&window, 1);
      else
        pex_find_window(&window, x, weights + p->zeros, p, row, column, pixels - k, 1);
      for (int32_t m = 0; m < window.count; m++) wide = widen(wide, window.lines.at[m], window.columns * p->channels);
    }
    compute(job, runs, 1, 4 * p->depth, y, p, 1);
  }
  if (pixels > 0) {
    pex_find_window(&window, x, weights + p->zeros, p, row, column, 1, 1);
    compute(job, window.lines.at, window.count, window.columns * p->channels, y, p, 0);
  }
  return 0;
}

int32_t pex_pairs_wide_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                             int32_t pixels, int32_t first, int8_t* patch) {
  const struct pex_parameters* p = (const struct pex_parameters*)parameters;
  struct pex_job job = begun(weights, parameters, first);
  const int8_t* const runs[1] = {patch};
  int8_t* narrow = patch + 4 * p->depth;
  for (; pixels > 1; pixels -= 2, y += 2 * p->output_pitch) {
    for (int32_t k = 0; k < 2; k++, column++) {
      pex_copy_window(narrow, x, p, row, column);
      widen((int32_t*)(void*)patch + k, narrow, p->depth);
    }
    compute(job, runs, 1, 4 * p->depth, y, p, 1);
  }
  if (pixels > 0) {
    const int8_t* const run[1] = {narrow};
    pex_copy_window(narrow, x, p, row, column);
    compute(job, run, 1, p->depth, y, p, 0);
  }
  return 0;
}

#else

int32_t pex_pairs_wide(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                       int32_t pixels, int32_t first, int8_t* patch) {
  (void)patch;
  return pex_pairs(x, weights, parameters, y, row, column, pixels, first);
}

int32_t pex_pairs_wide_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                             int32_t pixels, int32_t first, int8_t* patch) {
  return pex_pairs_patch(x, weights, parameters, y, row, column, pixels, first, patch);
}

#endif
