/* The k largest scores of a row so far with their keys, sorted; among equal scores the lower key, seen earlier, is first. */
#pragma once
#include "lanes.h"

typedef struct {
    float *score; /* both of round_up(k, LANES) entries; those behind the k-th are runners-up or −inf */
    int32_t *key;
} best;

#if defined(__AVX512F__)
INLINE uint32_t above(const float *s, float low) { return _mm512_cmp_ps_mask(load(s), all(low), _CMP_GT_OQ); }

/* Up to LANES entries sit in one register: expanding around the new entry's place shifts the smaller ones. */
INLINE void insert_short(best to, float s, int32_t key) {
    __m512 scores = _mm512_loadu_ps(to.score);
    __mmask16 others = ~(1u << __builtin_popcount(_mm512_cmp_ps_mask(scores, _mm512_set1_ps(s), _CMP_GE_OQ)));
    _mm512_storeu_ps(to.score, _mm512_mask_expand_ps(_mm512_set1_ps(s), others, scores));
    __m512i keys = _mm512_loadu_si512(to.key);
    _mm512_storeu_si512(to.key, _mm512_mask_expand_epi32(_mm512_set1_epi32(key), others, keys));
}
#else
INLINE uint32_t above(const float *s, float low) {
    uint32_t bits = 0;
    FOR_LANES(l) bits |= (uint32_t)(s[l] > low) << l;
    return bits;
}
#endif

INLINE void insert(best to, int64_t k, float s, int32_t key) {
#if defined(__AVX512F__)
    if (k <= LANES) {
        insert_short(to, s, key);
        return;
    }
#endif
    int64_t place = k - 1;
    for (; place > 0 && to.score[place - 1] < s; place--) {
        to.score[place] = to.score[place - 1];
        to.key[place] = to.key[place - 1];
    }
    to.score[place] = s;
    to.key[place] = key;
}

/* Take in s[from…to), the first of which is the score of `key`; both ends are multiples of LANES. */
static void take_best(best so_far, int64_t k, const float *s, int64_t from, int64_t to, int64_t key) {
    for (int64_t j = from; j < to; j += LANES)
        for (uint32_t found = above(s + j, so_far.score[k - 1]); found; found &= found - 1) {
            int64_t at = j + __builtin_ctz(found);
            if (s[at] > so_far.score[k - 1]) insert(so_far, k, s[at], (int32_t)(key + at));
        }
}
