/* sums[row][column] (+)= a[row][depth] · b[depth][column], with a block of sums kept in registers. */
#pragma once
#include "lanes.h"

INLINE void block_product(int vectors, int add, int64_t depth, const float *a, int64_t a_step, const float *b,
                          int64_t b_step, float *sums, int64_t step) {
    lanes held[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++) held[r][c] = add ? load(sums + r * step + c * LANES) : (lanes){0};
    for (int64_t d = 0; d < depth; d++) {
        lanes right[VECTORS];
        for (int c = 0; c < vectors; c++) right[c] = load(b + d * b_step + c * LANES);
        for (int r = 0; r < ROWS; r++) {
            lanes left = all(a[r * a_step + d]);
            for (int c = 0; c < vectors; c++) held[r][c] += left * right[c];
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < vectors; c++) store(sums + r * step + c * LANES, held[r][c]);
}

/* `rows` is a multiple of ROWS and `columns` of LANES; the switch gives the compiler a constant to unroll. */
static void product(int add, int64_t rows, int64_t columns, int64_t depth, const float *a, int64_t a_step,
                    const float *b, int64_t b_step, float *sums, int64_t step) {
    for (int64_t c = 0; c < columns; c += VECTORS * LANES) {
        int64_t left = (columns - c) / LANES;
        for (int64_t r = 0; r < rows; r += ROWS) {
            const float *x = a + r * a_step, *y = b + c;
            float *z = sums + r * step + c;
            switch (left < VECTORS ? left : VECTORS) {
            case 1: block_product(1, add, depth, x, a_step, y, b_step, z, step); break;
#if VECTORS == 4
            case 2: block_product(2, add, depth, x, a_step, y, b_step, z, step); break;
            case 3: block_product(3, add, depth, x, a_step, y, b_step, z, step); break;
#endif
            default: block_product(VECTORS, add, depth, x, a_step, y, b_step, z, step);
            }
        }
    }
}
