/* Norm, mean and largest absolute value of every row, and how many numbers are not finite, in one pass over the row.

   Without its sign bit a float compares as the whole number with the same bits does: NaN above infinity above all else. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define MAGNITUDE 0x7fffffffu
#define INFINITE 0x7f800000u

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

/* `count` numbers as the bits of float32; what is missing of a full vector is zero. */
static inline __attribute__((always_inline)) words load(const char *at, int64_t count, int half) {
    if (!half) {
        words bits = {0};
        if (count >= LANES) memcpy(&bits, at, sizeof bits);
        else memcpy(&bits, at, 4 * count);
        return bits;
    }
    halves bits = {0};
    if (count >= LANES) memcpy(&bits, at, sizeof bits);
    else memcpy(&bits, at, 2 * count);
    return __builtin_convertvector(bits, words) << 16;
}

static inline __attribute__((always_inline)) uint32_t magnitude(const char *row, int64_t i, int half) {
    return load(row + i * (half ? 2 : 4), 1, half)[0] & MAGNITUDE;
}

static inline __attribute__((always_inline)) void look(
    const char *values, int64_t rows, int64_t width, float *norm, float *mean, float *largest, int32_t *where,
    int64_t *odd, int half) {
    int64_t size = half ? 2 : 4;
    for (int64_t r = 0; r < rows; r++) {
        const char *row = values + r * width * size;
        floats sum = {0}, square = {0};
        words top = {0};
        for (int64_t i = 0; i < width; i += LANES) {
            words bits = load(row + i * size, width - i, half), unsigned_bits = bits & MAGNITUDE;
            floats value = (floats)bits;
            words above = (words)(unsigned_bits > top);
            sum += value;
            square += value * value;
            top = (unsigned_bits & above) | (top & ~above);
        }
        float total = 0, squares = 0, peak;
        uint32_t best = 0;
        for (int lane = 0; lane < LANES; lane++) {
            total += sum[lane];
            squares += square[lane];
            best = top[lane] > best ? top[lane] : best;
        }
        int64_t place = width;
        for (int64_t lane = 0; lane < LANES && lane < place; lane++) { /* only the lanes that saw it are searched */
            if (top[lane] != best) continue;
            int64_t i = lane;
            while (magnitude(row, i, half) != best) i += LANES;
            place = i < place ? i : place;
        }
        memcpy(&peak, &best, 4);
        norm[r] = sqrtf(squares), mean[r] = total / (float)width, largest[r] = peak, where[r] = (int32_t)place;
        for (int64_t i = 0; best >= INFINITE && i < width; i++) {
            uint32_t one = magnitude(row, i, half);
            odd[0] += one > INFINITE, odd[1] += one == INFINITE;
        }
    }
}

void rows_bfloat16(const char *values, int64_t rows, int64_t width, float *norm, float *mean, float *largest,
                   int32_t *where, int64_t *odd) {
    look(values, rows, width, norm, mean, largest, where, odd, 1);
}

void rows_float32(const char *values, int64_t rows, int64_t width, float *norm, float *mean, float *largest,
                  int32_t *where, int64_t *odd) {
    look(values, rows, width, norm, mean, largest, where, odd, 0);
}
