/* One pass over a block of logits that still lies in the cache: moments, top-k, target counts; formulas in streamed.py.
   Rows are shared out between threads; lanes of 16 are summed in fp32 within a block and carried in fp64. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
#endif

#define LANES 16
#define CHUNK 64
typedef float lanes __attribute__((vector_size(64)));
typedef float loose __attribute__((vector_size(64), aligned(4)));
typedef int32_t whole __attribute__((vector_size(64)));

/* All of one set of rows; mirrored by compiled.py. */
struct rows {
    int64_t k, targets, capacity;
    float *top_values; int64_t *top_ids; int64_t *found;                   /* [row k], [row k], [row] */
    double *peak, *sum, *moment;                                           /* [row]: m, S, A */
    const float *low, *high; int64_t *above, *near;                        /* [row target] */
    float *near_values; int64_t *near_ids;                                 /* [row target capacity] */
    double *cross; const float *weights; const double *their_sum, *their_move; const int64_t *index;
};

static inline lanes load(const float *p) { return *(const loose *)p; }
static inline lanes pick(whole yes, lanes a, lanes b) { return (lanes)(((whole)a & yes) | ((whole)b & ~yes)); }
static inline lanes largest(lanes a, lanes b) { return pick(a > b, a, b); }
static inline double total(lanes v) { double s = 0; for (int i = 0; i < LANES; i++) s += v[i]; return s; }

static inline int any_above(lanes v, float t) {
    int any = 0;
    for (int i = 0; i < LANES; i++) any |= (v > t)[i];
    return any;
}

/* exp for x <= 0, to 2 units in the last place; below -87 it is exp(-87); NaN stays NaN. */
static inline lanes exponential(lanes x) {
    lanes least = (lanes){} - 87.0f;
    x = pick(x < least, least, x);
    lanes shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = (y * r + 4.1665795894e-2f) * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    return y * (lanes)(((whole)shifted << 23) + (127 << 23));
}

static void insert(struct rows *s, int64_t row, float value, int64_t id) {
    float *values = s->top_values + row * s->k;
    int64_t *ids = s->top_ids + row * s->k, at = s->found[row];
    if (at == s->k) at--; else s->found[row]++;
    for (; at > 0 && values[at - 1] < value; at--) { values[at] = values[at - 1]; ids[at] = ids[at - 1]; }
    values[at] = value, ids[at] = id;
}

/* Ids come in ascending order, so that only a larger logit displaces one: equal logits stay in order of id. */
static float threshold(const struct rows *s, int64_t row) {
    return s->found[row] < s->k ? -INFINITY : s->top_values[row * s->k + s->k - 1];
}

static void rescale(struct rows *s, int64_t row, lanes *sum, lanes *moment, double peak) {
    s->sum[row] += total(*sum), s->moment[row] += total(*moment);
    *sum = *moment = (lanes){};
    if (peak != s->peak[row]) {
        double move = isinf(s->peak[row]) ? 0 : s->peak[row] - peak;
        s->moment[row] = (s->moment[row] + move * s->sum[row]) * exp(move);
        s->sum[row] *= exp(move);
        s->peak[row] = peak;
    }
}

static void moments_and_top(struct rows *s, int64_t row, const float *logits, int64_t n, int64_t first) {
    lanes sum = {}, moment = {};
    float limit = threshold(s, row), padded[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        const float *here = logits + at;
        int64_t count = n - at < CHUNK ? n - at : CHUNK;
        if (count < CHUNK) {
            for (int i = 0; i < CHUNK; i++) padded[i] = i < count ? here[i] : -INFINITY;
            here = padded;
        }
        lanes top = largest(largest(load(here), load(here + 16)), largest(load(here + 32), load(here + 48)));
        if (s->found[row] < s->k || any_above(top, limit)) {
            for (int64_t i = 0; i < count; i++)
                if (here[i] > limit || s->found[row] < s->k) {
                    insert(s, row, here[i], first + at + i);
                    limit = threshold(s, row);
                }
            if (s->top_values[row * s->k] != s->peak[row]) rescale(s, row, &sum, &moment, s->top_values[row * s->k]);
        }
        float peak = (float)s->peak[row];
        for (int64_t i = count; i < CHUNK; i++) padded[i] = peak - 100;  /* weighs nothing */
        lanes a = load(here) - peak, b = load(here + 16) - peak, c = load(here + 32) - peak, d = load(here + 48) - peak;
        lanes ea = exponential(a), eb = exponential(b), ec = exponential(c), ed = exponential(d);
        sum += (ea + eb) + (ec + ed), moment += (ea * a + eb * b) + (ec * c + ed * d);
    }
    rescale(s, row, &sum, &moment, s->peak[row]);
}

/* What is above the window around a target's logit counts; what is inside is kept, to be compared exactly later. */
static void targets(struct rows *s, int64_t row, const float *logits, int64_t n, int64_t first) {
    for (int64_t one = row * s->targets; one < (row + 1) * s->targets; one++) {
        float low = s->low[one], high = s->high[one];
        int32_t above = 0, reached = 0;
        for (int32_t i = 0; i < (int32_t)n; i++) { above += logits[i] > high; reached += logits[i] >= low; }
        s->above[one] += above;
        for (int64_t i = 0; reached > above && i < n; i++)
            if (logits[i] >= low && !(logits[i] > high)) {
                int64_t at = s->near[one]++;
                reached--;
                if (at >= s->capacity) continue;
                s->near_values[one * s->capacity + at] = logits[i];
                s->near_ids[one * s->capacity + at] = first + i;
            }
    }
}

static void cross(struct rows *s, int64_t row, double peak_before, const float *logits, int64_t n) {
    int64_t theirs = s->index[row], i = 0;
    const float *weights = s->weights + theirs * n;
    float peak = (float)s->peak[row];
    double move = isinf(peak_before) ? 0 : peak_before - s->peak[row];
    lanes sum = {};
    for (; i + LANES <= n; i += LANES) sum += load(weights + i) * (load(logits + i) - peak);
    double fresh = total(sum);
    for (; i < n; i++) fresh += weights[i] * (logits[i] - peak);
    s->cross[row] = (s->cross[row] + move * s->their_sum[theirs]) * exp(s->their_move[theirs]) + fresh;
}

/* One row's logits [n] of the ids from `first`. */
static void scan_row(struct rows *s, int64_t row, const float *logits, int64_t n, int64_t first) {
    double before = s->peak[row];
    moments_and_top(s, row, logits, n, first);
    targets(s, row, logits, n, first);
    if (s->weights) cross(s, row, before, logits, n);
}

/* logits [row n] of the state's rows beginning with `from`. */
void scan(struct rows *s, const float *logits, int64_t from, int64_t count, int64_t n, int64_t first, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < count; row++) scan_row(s, from + row, logits + row * n, n, first);
}

typedef void gemm(const char *, const char *, const int *, const int *, const int *, const float *, const float *,
                  const int *, const float *, const int *, const float *, float *, const int *);

/* The same with the product: `together` rows at a time, by the thread that reads them then. BLAS counts columns first:
   logits' [n row] = columns' [n d] states' [d row]. buffers: [thread together n]. */
void multiply_and_scan(struct rows *s, gemm *multiply, const float *states, int64_t count, const float *columns,
                       int stride, int transposed, int d, const float *bias, int n, int64_t first, int together,
                       float *buffers, int threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t at = 0; at < count; at += together) {
        float *logits = buffers + (int64_t)omp_get_thread_num() * together * n, one = 1, beta = bias ? 1 : 0;
        int rows = count - at < together ? (int)(count - at) : together;
        for (int64_t row = 0; bias && row < rows; row++) memcpy(logits + row * n, bias, n * sizeof *bias);
        multiply(transposed ? "T" : "N", "N", &n, &rows, &d, &one, columns, &stride, states + at * d, &d, &beta, logits, &n);
        for (int64_t row = 0; row < rows; row++) scan_row(s, at + row, logits + row * n, n, first);
    }
}

/* logits [row n] become exp(l - m), with m the largest so far. */
void weigh(float *logits, const double *peak, int64_t rows, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        float *mine = logits + row * n;
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) *(loose *)(mine + i) = exponential(load(mine + i) - (float)peak[row]);
        for (; i < n; i++) mine[i] = expf(mine[i] - (float)peak[row]);
    }
}

/* Adds p(lp - lM) + r(lr - lM), M = (p + r)/2, which is never negative, to twice the JS divergence of each row. */
void mixture(const float *logits, const double *lse, const float *theirs, const double *their_lse,
             const int64_t *index, double *twice, int64_t rows, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        const float *l = logits + row * n, *r = theirs + index[row] * n;
        float shift = (float)lse[row], their_shift = (float)their_lse[index[row]];
        double sum = 0;
        for (int64_t at = 0; at < n; at += LANES) {
            float a[LANES] = {}, b[LANES] = {};
            int64_t count = n - at < LANES ? n - at : LANES;
            memcpy(a, l + at, count * sizeof *a), memcpy(b, r + at, count * sizeof *b);
            for (int64_t i = count; i < LANES; i++) { a[i] = shift - 100; b[i] = their_shift - 100; }  /* weigh nothing */
            lanes p = load(a) - shift, q = load(b) - their_shift, gap = p - q;
            lanes zero = {}, t = exponential(pick(gap > zero, -gap, gap)), s = t / (t + 2.0f), u = s * s;
            lanes y = (u * (1.0f / 13) + 1.0f / 11) * u + 1.0f / 9;  /* log(1 + t) = 2 artanh(t / (2 + t)) */
            y = y * u + 1.0f / 7; y = y * u + 0.2f; y = y * u + 1.0f / 3;
            lanes log1p = (s + s * u * y) * 2.0f - 0.69314718f, up = pick(gap > zero, gap, zero);
            sum += total(exponential(p) * (gap - up - log1p) - exponential(q) * (up + log1p));
        }
        twice[row] += sum;
    }
}
