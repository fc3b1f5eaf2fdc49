/* Vectors of the processor's own width, in the vector extension that GCC and Clang share. */
#pragma once
#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define ROWS 6 /* rows and vectors of the block of sums held in registers: 6·4 of the 32 */
#define VECTORS 4
#elif defined(__AVX__)
#define LANES 8
#define ROWS 6
#define VECTORS 2
#else
#define LANES 4
#define ROWS 4
#define VECTORS 2
#endif

#define INLINE static inline __attribute__((always_inline))
#define FOR_LANES(l) for (int l = 0; l < LANES; l++)

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

INLINE lanes load(const float *at) { return *(const loose *)at; }
INLINE void store(float *at, lanes x) { *(loose *)at = x; }
INLINE lanes all(float x) { return x - (lanes){0}; }

#if defined(__AVX512F__)
INLINE lanes larger(lanes a, lanes b) { return _mm512_max_ps(a, b); }
/* x < low ? below : otherwise. */
INLINE lanes where_below(lanes x, float low, lanes below, lanes otherwise) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, all(low), _CMP_LT_OQ), otherwise, below);
}
#else
INLINE lanes choose(ints test, lanes yes, lanes no) { return (lanes)((test & (ints)yes) | (~test & (ints)no)); }
INLINE lanes larger(lanes a, lanes b) { return choose(a > b, a, b); }
INLINE lanes where_below(lanes x, float low, lanes below, lanes otherwise) {
    return choose(x < low, below, otherwise);
}
#endif

INLINE float sum_of(lanes x) {
    float half[LANES];
    store(half, x);
    for (int n = LANES / 2; n; n /= 2)
        for (int l = 0; l < n; l++) half[l] += half[l + n];
    return half[0];
}

INLINE float largest_of(lanes x) {
    float half[LANES];
    store(half, x);
    for (int n = LANES / 2; n; n /= 2)
        for (int l = 0; l < n; l++) half[l] = half[l] > half[l + n] ? half[l] : half[l + n];
    return half[0];
}

/* e^x for x ≤ 0 and exactly 0 below −87, to 1e-7 relative: 2^n times Cephes' polynomial on |r| ≤ ln 2 / 2; NaN stays. */
INLINE lanes exp_of(lanes x) {
    lanes safe = where_below(x, -87.0f, all(-87.0f), x);
    lanes n = safe * 1.44269504088896341f + 12582912.0f;
    n = n - 12582912.0f;
    lanes r = safe - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    ints power = (__builtin_convertvector(n, ints) + 127) << 23;
    return where_below(x, -87.0f, (lanes){0}, p * (lanes)power);
}
