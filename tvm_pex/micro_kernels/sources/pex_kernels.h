/* Kernels of single operators: each computes a run of pixels of one output row.
 *
 * What is constant about an operator comes in two arrays that tvm_pex.micro_kernels lays out: `weights`, bytes in the
 * order in which they are read, and `parameters`, a struct pex_parameters and then one struct pex_block for each four
 * output channels. Output channels are padded to a multiple of four, results are not. Nothing here keeps a state. */
#ifndef PEX_KERNELS_H
#define PEX_KERNELS_H

#include <stdint.h>

#define PEX_INLINE static inline __attribute__((always_inline))
#define PEX_TAPS 50 /* window positions, and rows of them, at most: but for windows that are copied to a patch */
#define PEX_ROWS 8
#define PEX_RUNS (PEX_TAPS / 2) /* positions of a window that pex_pairs reads where they lie */

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define PEX_MVE 1 /* vectors of integers */
#else
#define PEX_MVE 0
#endif

struct pex_parameters {
  /* The input: pixel (row, column) lies at byte ((row * stored_width + column) % ring) * pitch. */
  int32_t height, width, channels, stored_width, ring, pitch;
  int32_t kernel_rows, kernel_columns, stride_rows, stride_columns;
  int32_t dilation_rows, dilation_columns, pad_rows, pad_columns;
  int32_t outputs;       /* output channels of one call */
  int32_t output_pitch;  /* bytes from an output pixel to the next */
  int32_t zeros;         /* the byte of `weights` from which on all of a window's row is the input's zero point */
  int32_t zero;          /* the input's zero point */
  int32_t depth;         /* bytes of a patch: a window's, to a multiple of four */
  int32_t offset;        /* twice the output's zero point, and 1 that rounds */
  int32_t special;       /* the next three matter */
  int32_t left_shifts[2]; /* of the sums of even and of odd channels, before the multiplication */
  int32_t low, high;
};

/* The result is clip((((sum * multiplier) >> 32 >> shift) + offset) >> 1), or nearly so: see pex_rounding_*.h. */
struct pex_block {
  int32_t bias[4], multiplier[4], shift[4];
};

PEX_INLINE const struct pex_block* pex_blocks(const int32_t* parameters) {
  return (const struct pex_block*)(parameters + sizeof(struct pex_parameters) / sizeof(int32_t));
}

/* Convolutions over all channels. They compute `pixels` pixels of output row `row` from column `column` on. `x` is the
 * input's first byte, `y` the first result's; `first` is the block from which on a slice of output channels is
 * computed. `patch` is scratch, aligned to 4 bytes: windows that are not whole words are copied there, two of `depth`
 * bytes; wide kernels widen two windows to 16 bits, and before it copies one if they are not whole words. The parameters
 * of pex_lanes hold complements of shifts; it reads up to 12 bytes behind its weights, too. */
int32_t pex_pairs(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                  int32_t pixels, int32_t first);
int32_t pex_pairs_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch);
int32_t pex_pairs_wide(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                       int32_t pixels, int32_t first, int8_t* patch);
int32_t pex_pairs_wide_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                             int32_t pixels, int32_t first, int8_t* patch);
int32_t pex_lanes(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                  int32_t pixels, int32_t first);
int32_t pex_lanes_patch(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                        int32_t pixels, int32_t first, int8_t* patch);

/* A convolution of each channel by itself; channels are a multiple of four. */
int32_t pex_depthwise(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                      int32_t pixels, int32_t first);

/* The same for vectors: sixteen channels a time, whose weights, above -128, lie together at each position. Of each four
 * blocks, block k holds the parameters of channels k, k + 4, k + 8 and k + 12, and their shifts complemented. */
int32_t pex_depthwise_lanes(int8_t* x, int8_t* weights, int32_t* parameters, int8_t* y, int32_t row, int32_t column,
                            int32_t pixels, int32_t first);

/* y[i] = clip(((a[i] * scale_a + half_a) >> SHIFT) + ((b[i] * scale_b + half_b) >> SHIFT)), the zero points being in
 * the halves; `parameters` are scale_a, half_a, scale_b, half_b, low, high. Or see pex_add_tflite.c. */
int32_t pex_add(int8_t* a, int8_t* b, int32_t* parameters, int8_t* y, int32_t count);

/* Adds `pixels` pixels to one sum a channel. */
int32_t pex_sum_int16(int8_t* x, int16_t* sums, int32_t pixels, int32_t channels, int32_t pitch);
int32_t pex_sum_int32(int8_t* x, int32_t* sums, int32_t pixels, int32_t channels, int32_t pitch);

#endif
