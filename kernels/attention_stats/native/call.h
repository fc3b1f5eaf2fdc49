/* One call: sizes, inputs with their strides in elements, outputs (contiguous). compiled.py mirrors this field by field. */
#pragma once
#include <stdint.h>

typedef struct {
    int64_t batch, heads, kv_heads, n_query, n_key, d_head, d_value, n_span, n_window, top_k, position, first_key, threads;
    double scale, soft_cap; /* soft_cap 0: none */
    const float *q, *k, *v;
    int64_t q_step[4], k_step[4], v_step[4];
    const float *slopes;         /* [head] or null */
    const int64_t *first, *last; /* [batch query] */
    const int64_t *windows;      /* [window] */
    const uint8_t *spans;        /* [batch], each [span tile] and then [span padded key]; see add_spans */
    const float *decay;          /* [batch query] or null */
    float *out, *log_sum_exp, *entropy, *max_weight, *distance_mean, *distance_variance;
    int64_t *max_key;
    float *span_mass, *recency_mass, *top_weights, *residual_mass;
    int64_t *top_keys;
    float *key_mass; /* [batch head key] or null */
} call;

enum { TILE = 256 };  /* keys a block: its scores (48 × 256 × 4 B) just fit the first cache */
enum { BLOCK = 48 };  /* queries a block; a multiple of ROWS */

static inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
