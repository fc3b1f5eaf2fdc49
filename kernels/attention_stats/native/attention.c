/* All statistics of one attention call in one pass over tiles of scores that stay in the cache; see compiled.py. */
#include <stdlib.h>
#include "call.h"
#include "keys.h"
#include "product.h"
#include "rows.h"

typedef struct {
    float *scores, *queries, *out, *top; /* [BLOCK TILE], [BLOCK d_head], [BLOCK width], [BLOCK k] */
    double *spans, *windows;
    int32_t *top_key;
    int64_t deep; /* k in whole vectors */
    row rows[BLOCK];
} desk;

int64_t tile_keys(void) { return TILE; }

static void *room(int64_t count, int64_t size) { return aligned_alloc(64, round_up(count * size + 1, 64)); }

static desk *new_desk(const call *c, int64_t width) {
    desk *d = room(1, sizeof(desk));
    if (!d) return 0;
    d->scores = room(BLOCK * TILE, 4), d->queries = room(BLOCK * c->d_head, 4), d->out = room(BLOCK * width, 4);
    d->deep = round_up(c->top_k, LANES);
    d->top = room(BLOCK * d->deep, 4), d->top_key = room(BLOCK * d->deep, 4);
    d->spans = room(BLOCK * c->n_span, 8), d->windows = room(BLOCK * c->n_window, 8);
    return d;
}

static void free_desk(desk *d) {
    if (!d) return;
    free(d->scores), free(d->queries), free(d->out), free(d->top), free(d->top_key), free(d->spans), free(d->windows);
    free(d);
}

static int usable(const desk *d) {
    return d && d->scores && d->queries && d->out && d->top && d->top_key && d->spans && d->windows;
}

static void clear(const call *c, desk *d, int64_t width) {
    memset(d->scores, 0, BLOCK * TILE * 4);
    memset(d->out, 0, BLOCK * width * 4);
    memset(d->spans, 0, BLOCK * c->n_span * 8);
    memset(d->windows, 0, BLOCK * c->n_window * 8);
    for (int64_t r = 0; r < BLOCK; r++) {
        d->rows[r] = (row){.peak = -INFINITY, .peak_key = -1};
        d->rows[r].spans = d->spans + r * c->n_span, d->rows[r].windows = d->windows + r * c->n_window;
        d->rows[r].top = (best){d->top + r * d->deep, d->top_key + r * d->deep};
        for (int64_t i = 0; i < d->deep; i++) d->rows[r].top.score[i] = -INFINITY, d->rows[r].top.key[i] = -1;
    }
}

static void load_queries(const call *c, float *to, int64_t b, int64_t h, int64_t query, int64_t count) {
    memset(to, 0, BLOCK * c->d_head * 4);
    for (int64_t r = 0; r < count; r++)
        for (int64_t x = 0; x < c->d_head; x++)
            to[r * c->d_head + x] =
                c->q[b * c->q_step[0] + h * c->q_step[1] + (query + r) * c->q_step[2] + x * c->q_step[3]];
}

/* One row of a tile: products become weights (0 where unseen) and every statistic of the row has taken them in. */
static void absorb(const call *c, row *at, float *s, visible see, float *out, int64_t width, const uint8_t *kind) {
    if (see.from >= see.to) {
        memset(s, 0, TILE * 4);
        return;
    }
    float peak = finish_scores(c, s, see);
    if (c->top_k && peak > at->top.score[c->top_k - 1])
        take_best(at->top, c->top_k, s, see.from / LANES * LANES, see.to, see.key);
    if (peak > at->peak) move_peak(c, at, peak, s, see, out, width);
    float mass = weigh(at, s, see);
    memset(s, 0, see.from / LANES * LANES * 4);
    int64_t stop = round_up(see.to, LANES);
    memset(s + stop, 0, (TILE - stop) * 4);
    add_windows(c, at, s, see, mass);
    add_spans(c, at, s, see, mass, kind);
}

static void write_row(const call *c, const row *at, const float *out, int64_t place) {
    int64_t any = at->sum != 0; /* also for NaN, which shows in log_sum_exp */
    double over = any ? 1 / at->sum : 0, mean = at->near * over, left = any;
    double variance = at->far * over - mean * mean;
    c->log_sum_exp[place] = any ? (float)(at->peak + log(at->sum)) : -INFINITY;
    c->entropy[place] = any ? (float)(log(at->sum) - at->score * over) : 0;
    c->max_weight[place] = (float)over;
    c->max_key[place] = at->peak_key < 0 ? -1 : at->peak_key + c->first_key;
    c->distance_mean[place] = (float)mean;
    c->distance_variance[place] = variance < 0 ? 0 : (float)variance;
    for (int64_t i = 0; i < c->d_value; i++) c->out[place * c->d_value + i] = (float)(out[i] * over);
    for (int64_t i = 0; i < c->n_span; i++) c->span_mass[place * c->n_span + i] = (float)(at->spans[i] * over);
    for (int64_t i = 0; i < c->n_window; i++)
        c->recency_mass[place * c->n_window + i] = (float)(at->windows[i] * over);
    for (int64_t i = 0; i < c->top_k; i++) {
        int64_t key = at->top.key[i];
        double weight = key < 0 ? 0 : exp((double)at->top.score[i] - at->peak) * over;
        c->top_weights[place * c->top_k + i] = (float)weight;
        c->top_keys[place * c->top_k + i] = key < 0 ? -1 : key + c->first_key;
        left -= weight;
    }
    c->residual_mass[place] = left < 0 ? 0 : (float)left;
}

static void attend(const call *c, desk *d, const packed *p, int64_t b, int64_t h, int64_t query) {
    int64_t count = least(BLOCK, c->n_query - query), rows = round_up(count, ROWS), pair = b * c->heads + h;
    int64_t group = b * c->kv_heads + h / (c->heads / c->kv_heads), tiles = p->keys / TILE, from = p->keys, to = 0;
    const int64_t *first = c->first + b * c->n_query + query, *last = c->last + b * c->n_query + query;
    const uint8_t *kind = c->spans + b * c->n_span * tiles * (1 + TILE);
    clear(c, d, p->width);
    load_queries(c, d->queries, b, h, query, count);
    for (int64_t r = 0; r < count; r++)
        if (first[r] < last[r]) from = least(from, first[r]), to = most(to, last[r]);
    for (int64_t key = from / TILE * TILE; key < to; key += TILE) {
        int64_t used = least(TILE, round_up(to - key, VECTORS * LANES));
        for (int64_t j = 0; j < used; j += VECTORS * LANES)
            product(0, rows, VECTORS * LANES, c->d_head, d->queries, c->d_head, panel(c, p, group, key + j),
                    VECTORS * LANES, d->scores + j, TILE);
        for (int64_t r = 0; r < count; r++) {
            visible see = {key, most(0, first[r] - key), least(TILE, last[r] - key), c->position + query + r, 0};
            if (c->slopes) see.slope = c->slopes[h];
            absorb(c, d->rows + r, d->scores + r * TILE, see, d->out + r * p->width, p->width, kind);
        }
        product(1, rows, p->width, used, d->scores, TILE, p->v + (group * p->keys + key) * p->width, p->width, d->out,
                p->width);
    }
    for (int64_t r = 0; r < count; r++)
        write_row(c, d->rows + r, d->out + r * p->width, pair * c->n_query + query + r);
}

/* 0, or 1 when memory ran out. Heads and blocks of queries are independent: the answer is the same for any threads. */
int attention_stats(const call *c) {
    packed p = pack(c);
    int64_t blocks = round_up(c->n_query, BLOCK) / BLOCK, jobs = c->batch * c->heads * blocks;
    int failed = !p.k || !p.v;
#pragma omp parallel num_threads((int)c->threads) reduction(| : failed)
    {
        desk *d = failed ? 0 : new_desk(c, p.width);
        failed |= !usable(d);
#pragma omp for schedule(dynamic)
        for (int64_t job = 0; job < jobs; job++) {
            int64_t pair = job % (c->batch * c->heads), block = blocks - 1 - job / (c->batch * c->heads);
            if (!failed) attend(c, d, &p, pair / c->heads, pair % c->heads, block * BLOCK);
        }
        free_desk(d);
    }
    if (!failed && c->key_mass) failed = accumulate_keys(c, &p);
    free(p.k), free(p.v);
    return failed;
}
