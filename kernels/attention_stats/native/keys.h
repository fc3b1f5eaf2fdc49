/* Keys and values laid out for the products, and the second pass that gives every key the mass it received. */
#pragma once
#include <stdlib.h>
#include "call.h"
#include "product.h"
#include "rows.h"

/* k: [group panel d_head VECTORS·LANES], a panel being that many keys; v: [group padded key width]; zeros as padding. */
typedef struct {
    float *k, *v;
    int64_t keys, width;
} packed;

static inline const float *panel(const call *c, const packed *p, int64_t group, int64_t key) {
    return p->k + (group * p->keys + key) * c->d_head;
}

static packed pack(const call *c) {
    packed p = {0, 0, round_up(c->n_key, TILE), round_up(c->d_value, LANES)};
    int64_t groups = c->batch * c->kv_heads, wide = VECTORS * LANES;
    p.k = aligned_alloc(64, groups * p.keys * round_up(c->d_head, 16) * 4);
    p.v = aligned_alloc(64, groups * p.keys * p.width * 4);
    if (!p.k || !p.v) return p;
#pragma omp parallel for num_threads((int)c->threads) collapse(2)
    for (int64_t group = 0; group < groups; group++)
        for (int64_t j = 0; j < p.keys; j++) {
            int64_t b = group / c->kv_heads, h = group % c->kv_heads, real = j < c->n_key;
            const float *k = c->k + b * c->k_step[0] + h * c->k_step[1] + j * c->k_step[2];
            const float *v = c->v + b * c->v_step[0] + h * c->v_step[1] + j * c->v_step[2];
            float *to = p.k + (group * p.keys + j / wide * wide) * c->d_head + j % wide;
            float *row = p.v + (group * p.keys + j) * p.width;
            for (int64_t d = 0; d < c->d_head; d++) to[d * wide] = real ? k[d * c->k_step[3]] : 0;
            for (int64_t d = 0; d < p.width; d++) row[d] = real && d < c->d_value ? v[d * c->v_step[3]] : 0;
        }
    return p;
}

/* Σ over queries of decay · exp(score − lse) for the keys of one panel of one head. */
static void one_panel(const call *c, const packed *p, int64_t b, int64_t h, int64_t key, float *queries, float *scores) {
    int64_t wide = VECTORS * LANES, group = b * c->kv_heads + h / (c->heads / c->kv_heads);
    const int64_t *first = c->first + b * c->n_query, *last = c->last + b * c->n_query;
    float total[VECTORS * LANES] = {0};
    for (int64_t query = 0; query < c->n_query; query += ROWS) {
        int64_t seen = 0, count = least(ROWS, c->n_query - query);
        for (int64_t i = query; i < query + count; i++) seen |= first[i] < key + wide && last[i] > key;
        if (!seen) continue;
        for (int64_t r = 0; r < ROWS; r++) {
            const float *from = c->q + b * c->q_step[0] + h * c->q_step[1] + least(query + r, c->n_query - 1) * c->q_step[2];
            for (int64_t d = 0; d < c->d_head; d++) queries[r * c->d_head + d] = from[d * c->q_step[3]];
        }
        product(0, ROWS, wide, c->d_head, queries, c->d_head, panel(c, p, group, key), wide, scores, wide);
        for (int64_t r = 0; r < count; r++) {
            int64_t i = query + r;
            visible see = {key, most(0, first[i] - key), least(wide, last[i] - key), c->position + i, 0};
            if (see.from >= see.to) continue;
            if (c->slopes) see.slope = c->slopes[h];
            finish_scores(c, scores + r * wide, see);
            lanes lse = all(c->log_sum_exp[(b * c->heads + h) * c->n_query + i]);
            for (int64_t j = see.from / LANES * LANES; j < see.to; j += LANES)
                store(total + j, load(total + j) + exp_of(load(scores + r * wide + j) - lse) * c->decay[b * c->n_query + i]);
        }
    }
    int64_t count = least(wide, c->n_key - key);
    memcpy(c->key_mass + (b * c->heads + h) * c->n_key + key, total, (count > 0 ? count : 0) * 4);
}

/* Needs log_sum_exp. Every panel of keys belongs to one thread, so that no sum depends on the number of threads. */
static int accumulate_keys(const call *c, const packed *p) {
    int64_t wide = VECTORS * LANES, panels = round_up(c->n_key, wide) / wide, jobs = c->batch * c->heads * panels;
    int failed = 0;
#pragma omp parallel num_threads((int)c->threads) reduction(| : failed)
    {
        float *queries = malloc(ROWS * c->d_head * 4), *scores = malloc(ROWS * wide * 4);
        failed |= !queries || !scores;
#pragma omp for schedule(dynamic)
        for (int64_t job = 0; job < jobs; job++) {
            int64_t pair = job / panels;
            if (!failed) one_panel(c, p, pair / c->heads, pair % c->heads, job % panels * wide, queries, scores);
        }
        free(queries), free(scores);
    }
    return failed;
}
