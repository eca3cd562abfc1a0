/* Drawing one token per row from its logits: the inverse of the cumulative distribution in token order, at one uniform
   number per row. What `sampling.draw` does for rows without cuts, in two passes over the logits. */
#ifndef PONDER_DRAW_H
#define PONDER_DRAW_H

#include "vector.h"

#define BLOCK 64 /* shares are summed by blocks, then within the block in which the draw falls */

INLINE vec shares(const float *logits, int64_t from, int64_t vocab, float temperature, float top) {
    vec x = vocab - from >= LANES ? load(logits + from) : load_some(logits + from, vocab - from);
    if (temperature != 1.0f) x /= temperature;
    x -= top;
    vec e = choose(x < (vec){0} - 87.0f, (vec){0}, exponential(x)); /* what has no share stays without */
    if (vocab - from < LANES) {
        float some[LANES];
        store(some, e);
        for (int64_t i = vocab - from; i < LANES; i++) some[i] = 0;
        e = load(some);
    }
    return e;
}

static int64_t largest(const float *logits, int64_t vocab) {
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* The first token at which the running sum passes `target`; the last that counts if rounding keeps it from passing. */
static int64_t invert(const float *logits, int64_t vocab, float temperature, float top, const double *blocks,
                      double target) {
    int64_t count = (vocab + BLOCK - 1) / BLOCK, block = 0, found = -1, tiny = 0;
    double before = 0, after = 0;
    for (int64_t i = 0; i < count && after <= target; i++) {
        if (after + blocks[i] <= after) continue; /* no share, or one too small to count */
        block = i, before = after;
        after = before + blocks[i];
    }
    for (int64_t from = block * BLOCK; from < vocab && from < (block + 1) * BLOCK; from += LANES) {
        float e[LANES];
        store(e, shares(logits, from, vocab, temperature, top));
        for (int64_t i = 0; i < LANES; i++) {
            if (e[i] > 0) tiny = from + i;
            after = before + e[i];
            if (after <= before) continue;
            found = from + i;
            before = after;
            if (before > target) return found;
        }
    }
    return found < 0 ? tiny : found;
}

/* `blocks`: room for a number per BLOCK tokens. */
static int64_t draw_row(const float *logits, int64_t vocab, float temperature, int greedy, double uniform, double *blocks,
                        float *logprob) {
    int64_t best = largest(logits, vocab), token = best;
    float top = logits[best] / temperature;
    double total = 0;
    for (int64_t from = 0; from < vocab; from += BLOCK) {
        double sums[LANES] = {0}, block = 0;
        for (int64_t at = from; at < vocab && at < from + BLOCK; at += LANES) {
            float e[LANES];
            store(e, shares(logits, at, vocab, temperature, top));
            for (int i = 0; i < LANES; i++) sums[i] += e[i];
        }
        for (int i = 0; i < LANES; i++) block += sums[i];
        total += blocks[from / BLOCK] = block;
    }
    if (!greedy) token = invert(logits, vocab, temperature, top, blocks, uniform * total);
    *logprob = logits[token] / temperature - top - logf((float)total);
    return token;
}

#endif
