/* What one row of scores adds to the statistics of its query: online softmax, all sums relative to the peak so far. */
#pragma once
#include <string.h>
#include "call.h"
#include "lanes.h"
#include "top.h"

typedef struct {
    float peak;
    int64_t peak_key;
    double sum, score, near, far; /* Σ p, Σ p·(s − peak), Σ p·distance, Σ p·distance² */
    double *spans, *windows;
    best top;
} row;

typedef struct {
    int64_t key, from, to; /* keys of the tile that this query sees: key + from up to key + to */
    int64_t place;         /* the query's position */
    float slope;
} visible;

/* Products to scores in place, −inf where unseen; returns the largest. */
static float finish_scores(const call *c, float *s, visible see) {
    int64_t start = see.from / LANES * LANES, stop = round_up(see.to, LANES);
    lanes scale = all((float)c->scale), peak = all(-INFINITY);
    float cap = (float)c->soft_cap;
    for (int64_t j = start; j < stop; j += LANES) store(s + j, load(s + j) * scale);
    if (cap > 0)
        for (int64_t j = start; j < stop; j++) s[j] = tanhf(s[j] / cap) * cap;
    if (c->slopes)
        for (int64_t j = start; j < stop; j++) s[j] -= see.slope * fabsf((float)(see.place - see.key - j));
    for (int64_t j = start; j < see.from; j++) s[j] = -INFINITY;
    for (int64_t j = see.to; j < stop; j++) s[j] = -INFINITY;
    for (int64_t j = start; j < stop; j += LANES) peak = larger(peak, load(s + j));
    return largest_of(peak);
}

static void move_peak(const call *c, row *at, float peak, const float *s, visible see, float *out, int64_t width) {
    double move = at->peak == -INFINITY ? 0 : (double)at->peak - peak, factor = exp(move);
    at->score = (at->score + move * at->sum) * factor;
    at->sum *= factor, at->near *= factor, at->far *= factor;
    for (int64_t i = 0; i < c->n_span; i++) at->spans[i] *= factor;
    for (int64_t i = 0; i < c->n_window; i++) at->windows[i] *= factor;
    for (int64_t i = 0; i < width; i++) out[i] *= (float)factor;
    float below = nextafterf(peak, -INFINITY);
    uint32_t found = 0;
    int64_t j = see.from / LANES * LANES;
    for (; j < see.to; j += LANES)
        if ((found = above(s + j, below))) break;
    at->peak = peak;
    at->peak_key = see.key + j + (found ? __builtin_ctz(found) : 0);
}

/* Scores to weights in place and their sums; distances are summed around the tile's middle, where fp32 is exact enough. */
static float weigh(row *at, float *s, visible see) {
    int64_t start = see.from / LANES * LANES, stop = round_up(see.to, LANES);
    lanes sum = {0}, score = {0}, first = {0}, second = {0}, peak = all(at->peak), lane;
    FOR_LANES(l) lane[l] = (float)l;
    lanes from_middle = lane + (float)(start - TILE / 2);
    for (int64_t j = start; j < stop; j += LANES) {
        lanes x = load(s + j) - peak, p = exp_of(x);
        lanes moment = p * from_middle;
        sum += p;
        score += p * larger(x, all(-1e4f));
        first += moment;
        second += moment * from_middle;
        from_middle += (float)LANES;
        store(s + j, p);
    }
    double mass = sum_of(sum), one = sum_of(first), two = sum_of(second);
    double middle = (double)(see.place - see.key - TILE / 2);
    at->sum += mass;
    at->score += sum_of(score);
    at->near += middle * mass - one;
    at->far += middle * middle * mass - 2 * middle * one + two;
    return (float)mass;
}

static double mass_between(const float *p, int64_t from, int64_t to) {
    lanes sum = {0};
    float rest = 0;
    int64_t j = from;
    for (; j < to && j % LANES; j++) rest += p[j];
    for (; j + LANES <= to; j += LANES) sum += load(p + j);
    for (; j < to; j++) rest += p[j];
    return (double)(sum_of(sum) + rest);
}

static void add_windows(const call *c, row *at, const float *p, visible see, float mass) {
    for (int64_t i = 0; i < c->n_window; i++) {
        int64_t from = most(see.from, see.place - c->windows[i] + 1 - see.key);
        int64_t to = least(see.to, see.place + c->windows[i] - see.key);
        if (from <= see.from && to >= see.to) at->windows[i] += mass;
        else if (from < to) at->windows[i] += mass_between(p, from, to);
    }
}

/* kind: [span tile], 0 no key of the tile is in the span, 1 all, 2 some; behind it the marks, [span padded key]. */
static void add_spans(const call *c, row *at, const float *p, visible see, float mass, const uint8_t *kind) {
    int64_t tiles = round_up(c->n_key, TILE) / TILE, start = see.from / LANES * LANES;
    const uint8_t *marks = kind + c->n_span * tiles;
    for (int64_t i = 0; i < c->n_span; i++) {
        uint8_t whole = kind[i * tiles + see.key / TILE];
        if (whole == 1) at->spans[i] += mass;
        if (whole != 2) continue;
        const uint8_t *mark = marks + i * tiles * TILE + see.key;
        lanes sum = {0};
        for (int64_t j = start; j < see.to; j += LANES)
            sum += load(p + j) * __builtin_convertvector(*(const bytes *)(mark + j), lanes);
        at->spans[i] += sum_of(sum);
    }
}
