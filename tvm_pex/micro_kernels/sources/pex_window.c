#include "pex_window.h"

#include "pex_memory.h"

/* The pixel of the ring, or of the tensor, at (row, column). */
static int32_t place(const struct pex_parameters* p, int32_t row, int32_t column) {
  int32_t position = row * p->stored_width + column;
  return position < p->ring ? position : position % p->ring;
}

void pex_find_positions(const int8_t** at, int32_t apart, const int8_t* x, const int8_t* zeros,
                        const struct pex_parameters* p, int32_t row, int32_t column) {
  int32_t top = row * p->stride_rows - p->pad_rows, left = column * p->stride_columns - p->pad_columns;
  int32_t first = left < 0 ? 0 : left;
  for (int32_t k = 0; k < p->kernel_rows; k++, top += p->dilation_rows) {
    int32_t inside = top >= 0 && top < p->height;
    int32_t start = inside ? place(p, top, first) - first : 0;
    for (int32_t m = 0, c = left; m < p->kernel_columns; m++, c += p->dilation_columns, at += apart) {
      *at = zeros;
      if (!inside || c < 0 || c >= p->width) continue;
      int32_t position = start + c;
      while (position >= p->ring) position -= p->ring;
      *at = x + position * p->pitch;
    }
  }
}

/* Each position a line of its own. */
static void find_single_positions(struct pex_window* window, const int8_t* x, const int8_t* zeros,
                                  const struct pex_parameters* p, int32_t row, int32_t column) {
  pex_find_positions(window->lines.at, 1, x, zeros, p, row, column);
  window->count = p->kernel_rows * p->kernel_columns;
  window->columns = 1;
  window->pixels = 1;
}

void pex_find_window(struct pex_window* window, const int8_t* x, const int8_t* zeros, const struct pex_parameters* p,
                     int32_t row, int32_t column, int32_t pixels, int32_t in_runs) {
  int32_t top = row * p->stride_rows - p->pad_rows, left = column * p->stride_columns - p->pad_columns;
  int32_t extent = (p->kernel_columns - 1) * p->dilation_columns, beyond = p->width - 1 - left - extent;
  int32_t step = p->dilation_columns * p->pitch, apart = in_runs && p->kernel_columns > 1 && step != p->channels;
  if (left < 0 || beyond < 0 || apart) {
    find_single_positions(window, x, zeros, p, row, column);
    return;
  }
  int32_t whole = 1; /* pixels of this row whose windows have all columns */
  if (pixels > 1) {
    whole = beyond / p->stride_columns + 1;
    if (whole > pixels) whole = pixels;
  }
  for (int32_t k = 0, r = top; k < p->kernel_rows; k++, r += p->dilation_rows) {
    window->lines.at[k] = zeros;
    window->lines.rows.moves[k].step = window->lines.rows.moves[k].next = 0;
    if (r < 0 || r >= p->height) continue;
    int32_t position = place(p, r, left), behind = p->ring - 1 - position - extent; /* up to the ring's end */
    if (behind < 0) {
      find_single_positions(window, x, zeros, p, row, column);
      return;
    }
    if (behind < (whole - 1) * p->stride_columns) whole = behind / p->stride_columns + 1;
    window->lines.at[k] = x + position * p->pitch;
    window->lines.rows.moves[k].step = step;
    window->lines.rows.moves[k].next = p->stride_columns * p->pitch;
  }
  window->count = p->kernel_rows;
  window->columns = p->kernel_columns;
  window->pixels = whole;
}

static int8_t* copied(int8_t* to, const int8_t* from, int32_t bytes) {
  for (; bytes >= 4; bytes -= 4, to += 4, from += 4) pex_store(to, pex_load(from));
  for (; bytes > 0; bytes--) *to++ = *from++;
  return to;
}

static int8_t* filled(int8_t* to, int32_t value, int32_t bytes) {
  for (; bytes > 0; bytes--) *to++ = (int8_t)value;
  return to;
}

void pex_copy_window(int8_t* patch, const int8_t* x, const struct pex_parameters* p, int32_t row, int32_t column) {
  int8_t* end = patch + p->depth;
  int32_t top = row * p->stride_rows - p->pad_rows, left = column * p->stride_columns - p->pad_columns;
  int32_t inside = left >= 0 && left + p->kernel_columns <= p->width && p->dilation_columns == 1 && p->pitch == p->channels;
  for (int32_t k = 0; k < p->kernel_rows; k++, top += p->dilation_rows) {
    if (top < 0 || top >= p->height) {
      patch = filled(patch, p->zero, p->kernel_columns * p->channels);
      continue;
    }
    int32_t at = place(p, top, left < 0 ? 0 : left);
    if (inside && at + p->kernel_columns <= p->ring) {
      patch = copied(patch, x + at * p->pitch, p->kernel_columns * p->channels);
      continue;
    }
    for (int32_t m = 0, c = left; m < p->kernel_columns; m++, c += p->dilation_columns) {
      int32_t position = at + (left < 0 ? c : c - left);
      while (position >= p->ring) position -= p->ring;
      patch = c >= 0 && c < p->width ? copied(patch, x + position * p->pitch, p->channels)
                                     : filled(patch, p->zero, p->channels);
    }
  }
  filled(patch, 0, (int32_t)(end - patch));
}
