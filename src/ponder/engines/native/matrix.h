/* Matrix products with packed weights.

   A matrix of `outputs` x `inputs` is stored as panels of LANES outputs; a panel is, for each unit of inputs, one vector. A
   unit is one input in fp32, or two in bf16. Inputs of a row are the same units, 4 bytes each, contiguous. So one inner
   loop serves both: broadcast a unit, multiply by the vector, add. Every output is summed in one order, whatever the tile
   it was computed in. */
#ifndef PONDER_MATRIX_H
#define PONDER_MATRIX_H

#include "vector.h"

typedef struct {
    int64_t outputs, inputs;
    int64_t dot;         /* 1: bf16 pairs; 0: fp32 */
    const char *weights; /* packed */
    const float *bias;   /* padded to whole panels, or NULL */
} Matrix;

#define VECTOR (4 * LANES) /* bytes */

enum { WRITE, WRITE_ROUNDED, ADD, ADD_ROUNDED };

typedef struct {
    float *to;
    int64_t stride;
    int kind;
} Sink;

INLINE int64_t units(const Matrix *m) { return m->dot ? (m->inputs + 1) / 2 : m->inputs; }
INLINE int64_t panels(const Matrix *m) { return (m->outputs + LANES - 1) / LANES; }

/* Units summed before the sum is added to that of those before. In bf16 these are the stretches of torch's library on such
   machines, which makes most results equal to the last bit. */
INLINE int64_t stretch(const Matrix *m) { return m->dot && m->inputs > 1024 ? 512 : 256; }

INLINE vec multiply(int dot, vec total, const char *unit, vec weights) {
#if BF16_DOT
    if (dot) {
        int32_t pair;
        memcpy(&pair, unit, 4);
        return (vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)weights);
    }
#endif
    (void)dot;
    float x;
    memcpy(&x, unit, 4);
    return total + weights * x;
}

static __attribute__((noinline)) void sink_row(const Sink *s, int64_t row, int64_t column, int count, int64_t limit,
                                               const vec *totals, const float *bias) {
    float *to = s->to + row * s->stride + column;
    for (int j = 0; j < count; j++, column += LANES, to += LANES) {
        vec x = totals[j];
        if (bias) x += load(bias + column);
        if (s->kind & 1) x = round_half(x);
        if (column + LANES > limit) { /* only logits end within a panel; all else is padded */
            float some[LANES];
            store(some, x);
            for (int64_t i = 0; i < limit - column; i++) to[i] = some[i];
            return;
        }
        if (s->kind & ADD) x += load(to);
        store(to, x);
    }
}

/* `R` rows times `C` panels, both known at compile time. */
INLINE void tile(const int R, const int C, const int dot, const Matrix *m, const char *a, int64_t a_stride, int64_t row,
                 int64_t panel, int64_t limit, const Sink *s) {
    const int64_t count = units(m), step = count * VECTOR;
    const char *w = m->weights + panel * step;
    a += row * a_stride;
    vec done[8][8]; /* apart from the totals, which stay in registers */
    for (int64_t begin = 0, end; begin < count; begin = end) {
        vec total[8][8];
#pragma GCC unroll 8
        for (int i = 0; i < R; i++)
#pragma GCC unroll 8
            for (int j = 0; j < C; j++) total[i][j] = (vec){0};
        end = begin + stretch(m) < count ? begin + stretch(m) : count;
        for (int64_t u = begin; u < end; u++) {
            vec weights[8];
#pragma GCC unroll 8
            for (int j = 0; j < C; j++) weights[j] = load((const float *)(w + j * step + u * VECTOR));
#pragma GCC unroll 8
            for (int i = 0; i < R; i++)
#pragma GCC unroll 8
                for (int j = 0; j < C; j++)
                    total[i][j] = multiply(dot, total[i][j], a + i * a_stride + u * 4, weights[j]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < R; i++)
#pragma GCC unroll 8
            for (int j = 0; j < C; j++) done[i][j] = begin ? done[i][j] + total[i][j] : total[i][j];
    }
    for (int i = 0; i < R; i++) sink_row(s, row + i, panel * LANES, C, limit, done[i], m->bias);
}

#define BAND(R, C)                                                                                                     \
    static __attribute__((noinline)) void band_##R##_##C(const Matrix *m, const char *a, int64_t a_stride,             \
                                                         int64_t from, int64_t to, int64_t panel, int64_t limit,       \
                                                         const Sink *s) {                                              \
        if (m->dot)                                                                                                    \
            for (int64_t row = from; row < to; row += R) tile(R, C, 1, m, a, a_stride, row, panel, limit, s);          \
        else                                                                                                           \
            for (int64_t row = from; row < to; row += R) tile(R, C, 0, m, a, a_stride, row, panel, limit, s);          \
    }

#define SWEEP(R, C)                                                                                                    \
    for (; panel + C <= last; panel += C) band_##R##_##C(m, a, a_stride, from, to, panel, limit, s);

#if defined(__AVX512F__)
#define TALL 8
BAND(8, 3) BAND(8, 2) BAND(8, 1) BAND(4, 6) BAND(4, 3) BAND(4, 1) BAND(2, 8) BAND(2, 4) BAND(2, 1) BAND(1, 8) BAND(1, 4)
BAND(1, 1)
#else
#define TALL 4
BAND(4, 3) BAND(4, 2) BAND(4, 1) BAND(2, 4) BAND(2, 2) BAND(2, 1) BAND(1, 8) BAND(1, 4) BAND(1, 1)
#endif

static void rows_of(int R, const Matrix *m, const char *a, int64_t a_stride, int64_t from, int64_t to, int64_t panel,
                    int64_t last, int64_t limit, const Sink *s) {
    switch (R) {
#if defined(__AVX512F__)
    case 8: SWEEP(8, 3) SWEEP(8, 2) SWEEP(8, 1) break;
    case 4: SWEEP(4, 6) SWEEP(4, 3) SWEEP(4, 1) break;
    case 2: SWEEP(2, 8) SWEEP(2, 4) SWEEP(2, 1) break;
    default: SWEEP(1, 8) SWEEP(1, 4) SWEEP(1, 1)
#else
    case 4: SWEEP(4, 3) SWEEP(4, 2) SWEEP(4, 1) break;
    case 2: SWEEP(2, 4) SWEEP(2, 2) SWEEP(2, 1) break;
    default: SWEEP(1, 8) SWEEP(1, 4) SWEEP(1, 1)
#endif
    }
}

/* Panels `first` to `last` of rows x matrix. `limit`: columns at and beyond it are not written (padding included
   unless it says so). */
static void product(const Matrix *m, const void *a, int64_t a_stride, int64_t rows, int64_t first, int64_t last,
                    int64_t limit, const Sink *s) {
    int64_t row = 0;
    for (int R = TALL; R; R /= 2) {
        int64_t end = row + (rows - row) / R * R;
        if (end > row) rows_of(R, m, a, a_stride, row, end, first, last, limit, s);
        row = end;
    }
}

int64_t ponder_packed_bytes(int64_t outputs, int64_t inputs, int64_t dot) {
    Matrix m = {outputs, inputs, dot, 0, 0};
    return panels(&m) * units(&m) * VECTOR;
}

INLINE float weight_at(const void *source, int64_t half, int64_t index) {
    return half ? of_half(((const uint16_t *)source)[index]) : ((const float *)source)[index];
}

INLINE void pack_as(char *to, const void *source, const int half, const int dot, int64_t outputs, int64_t inputs) {
    Matrix m = {outputs, inputs, dot, 0, 0};
    const int64_t count = units(&m), panel = count * VECTOR;
    for (int64_t o = 0; o < outputs; o += LANES)
        for (int64_t u = 0; u < count; u++) {
            char *unit = to + o / LANES * panel + u * VECTOR;
            for (int64_t lane = 0; lane < LANES && o + lane < outputs; lane++) {
                int64_t at = (o + lane) * inputs + u * (dot ? 2 : 1);
                if (dot && half && 2 * u + 1 < inputs) {
                    memcpy(unit + lane * 4, (const uint16_t *)source + at, 4);
                } else if (dot) {
                    uint16_t pair[2] = {half_of(weight_at(source, half, at)), 0};
                    if (2 * u + 1 < inputs) pair[1] = half_of(weight_at(source, half, at + 1));
                    memcpy(unit + lane * 4, pair, 4);
                } else {
                    float x = weight_at(source, half, at);
                    memcpy(unit + lane * 4, &x, 4);
                }
            }
        }
}

/* `source`: row-major outputs x inputs, bf16 if `half`. */
void ponder_pack(char *to, const void *source, int64_t half, int64_t outputs, int64_t inputs, int64_t dot) {
    memset(to, 0, (size_t)ponder_packed_bytes(outputs, inputs, dot));
    if (half && dot)
        pack_as(to, source, 1, 1, outputs, inputs);
    else if (half)
        pack_as(to, source, 1, 0, outputs, inputs);
    else
        pack_as(to, source, 0, (int)dot, outputs, inputs);
}

#endif
