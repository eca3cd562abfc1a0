/* One query token of one row against the cached positions of its own slot, for the G query heads that share a key-value
   head. In bf16, scores and probabilities are rounded where the explicit matrix products of the trainer round them. */
#ifndef PONDER_ATTENTION_H
#define PONDER_ATTENTION_H

#include "vector.h"

/* scores -> probabilities, in place; `n` of them, padded to a multiple of 16 with what is ignored, then zeros. */
static void softmax(float *x, int64_t n, int round) {
    const vec zero = {0};
    int64_t full = pad(n, 16);
    for (int64_t t = n; t < full; t++) x[t] = -INFINITY;
    vec most = zero - INFINITY;
    for (int64_t t = 0; t < full; t += LANES) {
        vec score = load(x + t);
        if (round) store(x + t, score = round_half(score));
        most = greater(most, score);
    }
    float lanes[LANES], top;
    store(lanes, most);
    top = lanes[0];
    for (int i = 1; i < LANES; i++) top = lanes[i] > top ? lanes[i] : top;
    vec total = zero;
    for (int64_t t = 0; t < full; t += LANES) {
        vec e = exponential(load(x + t) - top);
        if (t + LANES > n) {
            float some[LANES];
            store(some, e);
            for (int64_t i = n > t ? n - t : 0; i < LANES; i++) some[i] = 0;
            e = load(some);
        }
        store(x + t, e);
        total += e;
    }
    float share = 1.0f / sum(total);
    for (int64_t t = 0; t < full; t += LANES) {
        vec p = load(x + t) * share; /* torch multiplies too: the last bit agrees */
        store(x + t, round ? round_half(p) : p);
    }
}

/* Ask for memory that the next item reads: slots lie far apart, where no processor looks ahead by itself. */
INLINE void fetch(const void *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)from + i);
}

/* LANES numbers of the cache; `whole`: H is a multiple of that, so there are always so many. */
INLINE vec cached(const void *from, int64_t at, int64_t count, const int half, const int whole) {
    if (half)
        return whole || count >= LANES ? load_half((const uint16_t *)from + at) : load_half_some((const uint16_t *)from + at, count);
    return whole || count >= LANES ? load((const float *)from + at) : load_some((const float *)from + at, count);
}

/* Weighted sums of LANES columns from `h` on for R queries, even and odd positions apart. */
INLINE void gather(const int R, const float *p, int64_t span, const void *v, int64_t H, int64_t h, int64_t n, float *out,
                      int64_t wide, const int half, const int whole) {
    vec even[4], odd[4];
    int64_t t = 0;
#pragma GCC unroll 4
    for (int g = 0; g < R; g++) even[g] = odd[g] = (vec){0};
    for (; t + 1 < n; t += 2) {
        vec a = cached(v, t * H + h, H - h, half, whole), b = cached(v, t * H + H + h, H - h, half, whole);
#pragma GCC unroll 4
        for (int g = 0; g < R; g++) {
            even[g] += a * p[g * span + t];
            odd[g] += b * p[g * span + t + 1];
        }
    }
    if (t < n)
#pragma GCC unroll 4
        for (int g = 0; g < R; g++) even[g] += cached(v, t * H + h, H - h, half, whole) * p[g * span + t];
#pragma GCC unroll 4
    for (int g = 0; g < R; g++) store(out + g * wide + h, even[g] + odd[g]);
}

/* Any machine, any precision. `q`: G x `wide` floats, zeros behind H; `out` likewise. `scores`: G x `span`. The next item's
   keys and values begin `ahead` bytes behind these. */
INLINE void attend_any(const float *q, int64_t G, int64_t H, int64_t wide, const void *k, const void *v, int64_t n,
                       int64_t ahead, float *scores, int64_t span, float *out, const int half, const int whole) {
    const int64_t bytes = H * (half ? 2 : 4);
    for (int64_t t = 0; t < n; t++) {
        fetch((const char *)k + ahead + t * bytes, bytes);
        fetch((const char *)v + ahead + t * bytes, bytes);
        for (int64_t g = 0; g < G; g++) {
            vec total = {0};
            for (int64_t h = 0; h < H; h += LANES) total += load(q + g * wide + h) * cached(k, t * H + h, H - h, half, whole);
            scores[g * span + t] = sum(total);
        }
    }
    for (int64_t g = 0; g < G; g++) softmax(scores + g * span, n, half);
    for (int64_t h = 0; h < H; h += LANES) {
        int64_t g = 0;
        for (; g + 4 <= G; g += 4) gather(4, scores + g * span, span, v, H, h, n, out + g * wide, wide, half, whole);
        for (; g + 2 <= G; g += 2) gather(2, scores + g * span, span, v, H, h, n, out + g * wide, wide, half, whole);
        for (; g < G; g++) gather(1, scores + g * span, span, v, H, h, n, out + g * wide, wide, half, whole);
    }
}

static void attend_plain(const float *q, int64_t G, int64_t H, int64_t wide, const void *k, const void *v, int64_t half,
                         int64_t n, int64_t ahead, float *scores, int64_t span, float *out) {
    if (half)
        attend_any(q, G, H, wide, k, v, n, ahead, scores, span, out, 1, 0);
    else if (H % LANES)
        attend_any(q, G, H, wide, k, v, n, ahead, scores, span, out, 0, 0);
    else
        attend_any(q, G, H, wide, k, v, n, ahead, scores, span, out, 0, 1);
}

#if BF16_DOT

INLINE __m512i pairs(const uint16_t *from, int64_t count) {
    return count >= 32 ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi16((__mmask32)((1u << count) - 1), from);
}

/* Sixteen keys' pairs turned: x[i] becomes pair i of every key. */
INLINE void turn_16(__m512i *x) {
    __m512i y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* x[4 i + j]: in each quarter q, pair 4 q + j of keys 4 i to 4 i + 3 */
        x[4 * i] = _mm512_unpacklo_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 1] = _mm512_unpackhi_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 2] = _mm512_unpacklo_epi64(y[4 * i + 1], y[4 * i + 3]);
        x[4 * i + 3] = _mm512_unpackhi_epi64(y[4 * i + 1], y[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m512i low = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x44), high = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xee);
        __m512i low2 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x44);
        __m512i high2 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xee);
        y[j] = _mm512_shuffle_i32x4(low, low2, 0x88);
        y[4 + j] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        y[8 + j] = _mm512_shuffle_i32x4(high, high2, 0x88);
        y[12 + j] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = y[i];
}

/* Scores of 16 keys (`left` of them real) for G queries. A score is summed over pairs in their order. */
INLINE void score_16(const uint16_t *q, int64_t G, int64_t wide, int64_t H, const uint16_t *k, int64_t left,
                     const uint16_t *next, float *scores, int64_t span) {
    fetch(next, 16 * H * 2);
    for (int64_t h = 0; h < H; h += 32) {
        __m512i keys[16];
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) keys[j] = pairs(k + (j < left ? j : left - 1) * H + h, H - h);
        turn_16(keys);
        for (int64_t g = 0; g < G; g++) {
            __m512 total = h ? _mm512_loadu_ps(scores + g * span) : _mm512_setzero_ps();
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                int32_t pair;
                memcpy(&pair, q + g * wide + h + 2 * i, 4);
                total = _mm512_dpbf16_ps(total, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)keys[i]);
            }
            _mm512_storeu_ps(scores + g * span, total);
        }
    }
}

/* Weighted sums of 32 columns for `G` queries, over positions in pairs, in their order. */
INLINE void gather_32(const int G, const uint16_t *p, int64_t p_stride, const uint16_t *v, int64_t H, int64_t count,
                      int64_t n, const uint16_t *next, float *out, int64_t wide) {
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                           5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    __m512 total[4][2];
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) total[g][0] = total[g][1] = _mm512_setzero_ps();
    for (int64_t t = 0; t < n; t += 2) {
        fetch(next + t * H, 4 * H);
        __m512i a = pairs(v + t * H, count), b = pairs(v + (t + 1 < n ? t + 1 : t) * H, count);
        __m512bh low = (__m512bh)_mm512_permutex2var_epi16(a, first, b);
        __m512bh high = (__m512bh)_mm512_permutex2var_epi16(a, second, b);
#pragma GCC unroll 4
        for (int g = 0; g < G; g++) {
            int32_t pair;
            memcpy(&pair, p + g * p_stride + t, 4);
            __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            total[g][0] = _mm512_dpbf16_ps(total[g][0], both, low);
            total[g][1] = _mm512_dpbf16_ps(total[g][1], both, high);
        }
    }
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) {
        _mm512_storeu_ps(out + g * wide, total[g][0]);
        _mm512_storeu_ps(out + g * wide + 16, total[g][1]);
    }
}

/* As `attend_plain` in bf16. `q` G x `wide` bf16; `scores` G x `span`; `p` likewise, bf16. `wide` is a multiple of 32.
   The next item's keys and values begin `ahead` elements behind these. */
static void attend_dot(const uint16_t *q, int64_t G, int64_t H, int64_t wide, const uint16_t *k, const uint16_t *v,
                       int64_t n, int64_t ahead, float *scores, uint16_t *p, int64_t span, float *out) {
    for (int64_t t = 0; t < n; t += 16) score_16(q, G, wide, H, k + t * H, n - t, k + ahead + t * H, scores + t, span);
    for (int64_t g = 0; g < G; g++) {
        softmax(scores + g * span, n, 1);
        for (int64_t t = 0; t < n; t += LANES) store_half(p + g * span + t, load(scores + g * span + t));
    }
    for (int64_t h = 0; h < H; h += 32) {
        int64_t g = 0;
        for (; g + 4 <= G; g += 4) gather_32(4, p + g * span, span, v + h, H, H - h, n, v + ahead, out + g * wide + h, wide);
        for (; g + 2 <= G; g += 2) gather_32(2, p + g * span, span, v + h, H, H - h, n, v + ahead, out + g * wide + h, wide);
        for (; g < G; g++) gather_32(1, p + g * span, span, v + h, H, H - h, n, v + ahead, out + g * wide + h, wide);
    }
}

#endif
#endif
