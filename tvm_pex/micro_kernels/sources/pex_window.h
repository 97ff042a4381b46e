/* Where the window of an output pixel lies. Positions outside the tensor lie in a pixel of zero points, so that no
 * kernel has borders. */
#ifndef PEX_WINDOW_H
#define PEX_WINDOW_H

#include "pex_kernels.h"

struct pex_move {
  int32_t step; /* bytes from a position of the line to the next */
  int32_t next; /* bytes to the same position of the next output pixel */
};

struct pex_rows {
  const int8_t* at[PEX_ROWS];
  struct pex_move moves[PEX_ROWS];
};

struct pex_window {
  union {
    const int8_t* at[PEX_TAPS]; /* the first position of each line */
    struct pex_rows rows;       /* of few lines: their moves lie behind */
  } lines;
  int32_t count;   /* of lines */
  int32_t columns; /* positions of a line; 1: each line is a single position, which has no moves */
  int32_t pixels;  /* output pixels for which this window, moved on by `next` each time, holds; 1 without moves */
};

/* The window of output pixel (row, column), the first of `pixels`. Where it can, a line is a row of the window; with
 * `in_runs`, only if its positions lie side by side. Rows outside the tensor have no step: `zeros` holds as many bytes. */
void pex_find_window(struct pex_window* window, const int8_t* x, const int8_t* zeros, const struct pex_parameters* p,
                     int32_t row, int32_t column, int32_t pixels, int32_t in_runs);

/* Each position of the window of output pixel (row, column), to at[0], at[apart], at[2 * apart] ... */
void pex_find_positions(const int8_t** at, int32_t apart, const int8_t* x, const int8_t* zeros,
                        const struct pex_parameters* p, int32_t row, int32_t column);

PEX_INLINE void pex_move_on(struct pex_window* window, int32_t pixels) {
  for (int32_t k = 0; k < window->count; k++) window->lines.at[k] += pixels * window->lines.rows.moves[k].next;
}

/* Copies the window of output pixel (row, column), position by position, to `patch`, and fills it up to `depth`. */
void pex_copy_window(int8_t* patch, const int8_t* x, const struct pex_parameters* p, int32_t row, int32_t column);

#endif
