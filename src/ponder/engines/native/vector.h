/* Sixteen floats at a time, in the compiler's portable vector types: one AVX-512 register, two of AVX2, four of NEON.

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

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef uint32_t u16 __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));

INLINE int64_t pad(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

INLINE v16 load(const float *from) {
    v16 x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(float *to, v16 x) { memcpy(to, &x, sizeof x); }

INLINE v16 load_half(const uint16_t *from) {
    h16 x;
    memcpy(&x, from, sizeof x);
    return (v16)(__builtin_convertvector(x, u16) << 16);
}

/* To the nearest bf16, ties to even; the default NaNs stay NaN. */
INLINE v16 round_half(v16 x) {
    u16 bits = (u16)x;
    return (v16)((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u);
}

INLINE void store_half(uint16_t *to, v16 rounded) {
    h16 x = __builtin_convertvector((u16)rounded >> 16, h16);
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

/* The first `count` < 16 numbers, zeros behind them. */
INLINE v16 load_some(const float *from, int64_t count) {
    float x[16] = {0};
    for (int64_t i = 0; i < count; i++) x[i] = from[i];
    return load(x);
}

INLINE v16 load_half_some(const uint16_t *from, int64_t count) {
    uint16_t x[16] = {0};
    for (int64_t i = 0; i < count; i++) x[i] = from[i];
    return load_half(x);
}

INLINE float sum(v16 x) {
    v8 halves[2];
    memcpy(halves, &x, sizeof x);
    v8 eight = halves[0] + halves[1];
    v4 quarters[2];
    memcpy(quarters, &eight, sizeof eight);
    v4 four = quarters[0] + quarters[1];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

INLINE v16 choose(i16 where, v16 yes, v16 no) { return (v16)((where & (i16)yes) | (~where & (i16)no)); }

INLINE v16 greater(v16 a, v16 b) { return choose(a > b, a, b); }

/* e^x within one unit in the last place, x clamped to what a normal float can hold; NaN stays NaN. Reduction and
   polynomial are those of SLEEF (Shibata and Petrogalli 2019, arXiv 2001.09258), which torch uses. */
INLINE v16 exponential(v16 x) {
    const v16 zero = {0};
    v16 low = zero - 87.3f, high = zero + 88.3f;
    x = choose(x < low, low, choose(x > high, high, x));
    v16 shifted = x * 1.442695041f;
    KEEP(shifted); /* rounded on its own */
    shifted += 12582912.0f;
    v16 turns = shifted - 12582912.0f;
    v16 rest = x - turns * 0.693145751953125f;
    rest = rest - turns * 1.428606765330187e-06f;
    v16 y = rest * 0.000198527617612853646f + 0.00139304355252534151f;
    y = y * rest + 0.00833336077630519867f;
    y = y * rest + 0.0416664853692054749f;
    y = y * rest + 0.166666671633720398f;
    y = y * rest + 0.5f;
    v16 square = rest * rest;
    y = square * y + rest + 1.0f;
    i16 exponent = (i16)shifted - 0x4b400000; /* the integer, out of the low mantissa bits */
    return y * (v16)((exponent + 127) << 23);
}

#endif
