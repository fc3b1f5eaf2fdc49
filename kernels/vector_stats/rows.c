/* Norm, mean and largest absolute value of every row, and how many numbers are not finite, in one pass over the row.

   Without its sign bit a float compares as the whole number with the same bits does: NaN above infinity above all else.
   Sixteen sums a row, so that the compiler keeps them in one register. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16

static inline float from_bfloat16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

static inline float from_float32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#define LOOK(LANE, BITS, WIDEN, MASK)                                                                                 \
    {                                                                                                                  \
        float value = WIDEN(BITS);                                                                                     \
        sum[LANE] += value;                                                                                            \
        square[LANE] += value * value;                                                                                 \
        top[LANE] = ((BITS) & MASK) > top[LANE] ? (BITS) & MASK : top[LANE];                                           \
    }

#define ROWS(NAME, WORD, WIDEN, MASK, INFINITE)                                                                        \
    void NAME(const WORD *values, int64_t rows, int64_t width, float *norm, float *mean, float *largest,               \
              int32_t *where, int64_t *odd) {                                                                          \
        for (int64_t r = 0; r < rows; r++) {                                                                           \
            const WORD *row = values + r * width;                                                                      \
            float sum[LANES] = {0}, square[LANES] = {0}, total = 0, squares = 0;                                       \
            WORD top[LANES] = {0}, best = 0;                                                                           \
            int64_t i = 0, place = 0;                                                                                  \
            for (; i + LANES <= width; i += LANES)                                                                     \
                for (int lane = 0; lane < LANES; lane++) LOOK(lane, row[i + lane], WIDEN, MASK)                        \
            for (int lane = 0; i < width; i++, lane++) LOOK(lane, row[i], WIDEN, MASK)                                 \
            for (int lane = 0; lane < LANES; lane++) {                                                                 \
                total += sum[lane];                                                                                    \
                squares += square[lane];                                                                               \
                best = top[lane] > best ? top[lane] : best;                                                            \
            }                                                                                                          \
            while ((row[place] & MASK) != best) place++;                                                               \
            norm[r] = sqrtf(squares), mean[r] = total / (float)width;                                                  \
            largest[r] = WIDEN(best), where[r] = (int32_t)place;                                                       \
            if (best >= INFINITE)                                                                                      \
                for (i = 0; i < width; i++)                                                                            \
                    odd[0] += (row[i] & MASK) > INFINITE, odd[1] += (row[i] & MASK) == INFINITE;                       \
        }                                                                                                              \
    }

ROWS(rows_bfloat16, uint16_t, from_bfloat16, 0x7fff, 0x7f80)
ROWS(rows_float32, uint32_t, from_float32, 0x7fffffffu, 0x7f800000u)
