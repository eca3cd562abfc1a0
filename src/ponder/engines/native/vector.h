/* As many floats at a time as a register holds, in the compiler's portable vector types: 16 with AVX-512, 8 with AVX, else 4.
   Buffers are padded to multiples of 16 everywhere.

   Every sum below has one fixed order, so a result never depends on how many rows are computed together. */
#ifndef PONDER_VECTOR_H
#define PONDER_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512F__)
#include <immintrin.h>
#define BF16_DOT 1 /* the machine multiplies pairs of bf16 and adds them in fp32 */
#else
#define BF16_DOT 0
#endif

/* Computes a value before it is used, so that no multiplication and addition are fused across this point. */
#if defined(__AVX512F__)
#define KEEP(x) __asm__("" : "+v"(x))
#else
#define KEEP(x) (void)(x)
#endif

#if defined(__clang__)
#define UNFUSED
#define UNFUSED_BODY _Pragma("clang fp contract(off)")
#else
#define UNFUSED __attribute__((noinline, optimize("fp-contract=off")))
#define UNFUSED_BODY
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

INLINE int64_t pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

INLINE vec load(const float *from) {
    vec x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(float *to, vec x) { memcpy(to, &x, sizeof x); }

INLINE vec load_half(const uint16_t *from) {
    halves x;
    memcpy(&x, from, sizeof x);
    return (vec)(__builtin_convertvector(x, bits) << 16);
}

/* To the nearest bf16, ties to even; the default NaNs stay NaN. */
INLINE vec round_half(vec x) {
    bits b = (bits)x;
    return (vec)((b + 0x7fff + ((b >> 16) & 1)) & 0xffff0000u);
}

INLINE void store_half(uint16_t *to, vec rounded) {
    halves x = __builtin_convertvector((bits)rounded >> 16, halves);
    memcpy(to, &x, sizeof x);
}

INLINE float round_one(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    memcpy(&x, &bits, 4);
    return x;
}

INLINE uint16_t half_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

INLINE float of_half(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* The first `count` < LANES numbers, zeros behind them. */
INLINE vec load_some(const float *from, int64_t count) {
    float x[LANES] = {0};
    for (int64_t i = 0; i < count; i++) x[i] = from[i];
    return load(x);
}

INLINE vec load_half_some(const uint16_t *from, int64_t count) {
    uint16_t x[LANES] = {0};
    for (int64_t i = 0; i < count; i++) x[i] = from[i];
    return load_half(x);
}

INLINE float sum(vec x) {
    float lanes[LANES];
    store(lanes, x);
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

INLINE vec choose(ints where, vec yes, vec no) { return (vec)((where & (ints)yes) | (~where & (ints)no)); }

INLINE vec greater(vec a, vec b) { return choose(a > b, a, b); }

/* e^x within one unit in the last place, x clamped to what a normal float can hold; NaN stays NaN. Reduction and
   polynomial are those of SLEEF (Shibata and Petrogalli 2019, arXiv 2001.09258), which torch uses. */
INLINE vec exponential(vec x) {
    const vec zero = {0};
    vec low = zero - 87.3f, high = zero + 88.3f;
    x = choose(x < low, low, choose(x > high, high, x));
    vec shifted = x * 1.442695041f;
    KEEP(shifted); /* rounded on its own */
    shifted += 12582912.0f;
    vec turns = shifted - 12582912.0f;
    vec rest = x - turns * 0.693145751953125f;
    rest = rest - turns * 1.428606765330187e-06f;
    vec y = rest * 0.000198527617612853646f + 0.00139304355252534151f;
    y = y * rest + 0.00833336077630519867f;
    y = y * rest + 0.0416664853692054749f;
    y = y * rest + 0.166666671633720398f;
    y = y * rest + 0.5f;
    vec square = rest * rest;
    y = square * y + rest + 1.0f;
    ints exponent = (ints)shifted - 0x4b400000; /* the integer, out of the low mantissa bits */
    return y * (vec)((exponent + 127) << 23);
}

#endif
