/* A whole forward step of the transformer for single tokens of many rows, each against its own slot of the cache.

   Rows are independent: an item is one token of one slot. Decoding gives one item per slot; prefill gives several, which
   must be adjacent and in order. Items are processed in chunks of up to CHUNK, layer by layer, so that an item finds the
   keys of those before it. Threads share the work in one of two ways: each takes tasks (whole slots, or chunks of a long one), or,
   where weights are too large to be read by each, all work on one chunk and split the columns. Neither changes a result.
   A task inside a slot follows the one before it layer by layer, since it needs its keys. Tasks are taken in order, so what
   a task waits for has been begun, and one thread alone never waits.

   Rounding is that of the torch module: residual stream, norms and rotation in fp32; what enters or leaves a matrix in
   the precision of the matrices. */
#include "attention.h"
#include "draw.h"
#include "matrix.h"
#include "pool.h"

#define CHUNK 64
#define NO_LIMIT INT64_MAX

typedef struct {
    const float *attention_norm, *q_norm, *k_norm, *mlp_norm; /* q_norm and k_norm may be NULL */
    Matrix qkv, out, gate, up, down;
} Block;

typedef struct {
    int64_t vocab, width, layers, heads, kv_heads, head, hidden, reach; /* reach: positions the angles are known for */
    int64_t half;       /* matrices and cache are bf16 */
    int64_t embed_half; /* embeddings are bf16 */
    int64_t head_half;  /* output matrix and logits are bf16 */
    int64_t team;       /* all threads work on one chunk */
    double eps;
    const void *embed;
    const float *norm, *cos, *sin; /* cos and sin: reach x head / 2 */
    const Block *blocks;
    Matrix unembed;
} Model;

typedef struct {
    char *memory;
    size_t size;
    float *x, *qkv, *gate, *up, *scores, *out;
    char *normed, *attended, *acted;
    uint16_t *q, *p;
} Scratch;

typedef struct {
    Pool pool;
    Scratch scratch[MOST_THREADS];
} Native;

typedef struct {
    Native *native;
    const Model *model;
    const int64_t *tokens, *rows, *positions;
    int64_t count, slots, capacity;
    void *k, *v;
    float *logits; /* NULL: only the cache is wanted */
    int64_t *tasks, task_count;
    atomic_long next, *entered; /* by task: layers whose keys and values are all in the cache */
    Barrier barrier;
    int team; /* 1: all threads on every chunk */
} Job;

/* One thread's view of a chunk. */
typedef struct {
    const Job *job;
    const Model *m;
    Scratch *own, *shared; /* the same unless in a team */
    int number, threads;
    int64_t task, from, rows; /* task: -1 in a team */
} Hand;

/* ---- sizes ---- */

static int64_t input_stride(int64_t inputs, int64_t dot) { return pad(inputs, 16) * (dot ? 2 : 4); }
static int64_t qkv_width(const Model *m) { return pad((m->heads + 2 * m->kv_heads) * m->head, 16); }
static int64_t query_width(const Model *m) { return pad(m->head, 32); }

static void *carve(char **at, int64_t bytes) {
    void *here = *at;
    *at += pad(bytes, 64) + 64;
    return here;
}

static int64_t lay_out(Scratch *s, const Model *m, char *base, int64_t span) {
    int64_t D = pad(m->width, 16), F = pad(m->hidden, 16), G = m->heads / m->kv_heads, wide = query_width(m);
    char *at = base;
    s->x = carve(&at, CHUNK * D * 4);
    s->qkv = carve(&at, CHUNK * qkv_width(m) * 4);
    s->gate = carve(&at, CHUNK * F * 4);
    s->up = carve(&at, CHUNK * F * 4);
    s->normed = carve(&at, CHUNK * D * 4);
    s->attended = carve(&at, CHUNK * pad(m->heads * m->head, 16) * 4);
    s->acted = carve(&at, CHUNK * F * 4);
    s->scores = carve(&at, G * span * 4);
    s->p = carve(&at, G * span * 2);
    s->q = carve(&at, G * wide * 4);
    s->out = carve(&at, G * wide * 4);
    return at - base;
}

static int prepare(Scratch *s, const Model *m, int64_t span) {
    Scratch plan;
    size_t size = (size_t)lay_out(&plan, m, NULL, span);
    if (size > s->size) {
        free(s->memory);
        s->size = 0;
        size += size / 4;
        if (posix_memalign((void **)&s->memory, 64, size)) return s->memory = NULL, 0;
        memset(s->memory, 0, size); /* padding must be finite */
        s->size = size;
    }
    lay_out(s, m, s->memory, span);
    return 1;
}

/* ---- pieces of a chunk ---- */

static void part(const Hand *h, int64_t count, int64_t *first, int64_t *last) {
    *first = count * h->number / h->threads;
    *last = count * (h->number + 1) / h->threads;
}

static void meet(const Hand *h) {
    if (h->threads > 1) barrier_wait((Barrier *)&h->job->barrier);
}

INLINE void put(char *row, int64_t at, int dot, vec x) {
    if (dot)
        store_half((uint16_t *)row + at, x);
    else
        store((float *)row + at, x);
}

static void look_up(const Hand *h) {
    const Model *m = h->m;
    int64_t first, last, D = m->width;
    part(h, h->rows, &first, &last);
    for (int64_t i = first; i < last; i++) {
        float *x = h->shared->x + i * pad(D, 16);
        int64_t token = h->job->tokens[h->from + i];
        for (int64_t d = 0; d < D; d++) x[d] = weight_at(m->embed, m->embed_half, token * D + d);
        for (int64_t d = D; d < pad(D, 16); d++) x[d] = 0;
    }
}

/* Sum of squares in fp64, which no order of summation changes once it is rounded to fp32. */
static double squares(const float *x, int64_t n) {
    double some[8] = {0}, total = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) some[j] += (double)x[i + j] * x[i + j];
    for (; i < n; i++) total += (double)x[i] * x[i];
    for (int j = 0; j < 8; j++) total += some[j];
    return total;
}

/* RMS norm of every row of the chunk into the thread's own buffer, as input of a matrix. */
static void norm(const Hand *h, const float *weight, int dot, int round) {
    int64_t D = pad(h->m->width, 16), stride = input_stride(h->m->width, dot);
    for (int64_t i = 0; i < h->rows; i++) {
        const float *x = h->shared->x + i * D;
        float scale = (float)(1.0 / sqrt(squares(x, h->m->width) / (double)h->m->width + h->m->eps));
        for (int64_t d = 0; d < D; d += LANES) {
            vec y = load(x + d) * scale * load(weight + d);
            put(h->own->normed + i * stride, d, dot, round ? round_half(y) : y);
        }
    }
}

/* This thread's columns of (chunk x matrix). */
static void multiply_chunk(const Hand *h, const Matrix *w, const void *input, float *to, int64_t stride, int kind,
                           int64_t limit) {
    int64_t first, last;
    Sink s = {to, stride, kind};
    part(h, panels(w), &first, &last);
    product(w, input, input_stride(w->inputs, w->dot), h->rows, first, last, limit, &s);
}

static void norm_head(float *x, const float *weight, int64_t H, double eps) {
    float scale = (float)(1.0 / sqrt(squares(x, H) / (double)H + eps));
    for (int64_t i = 0; i < H; i++) x[i] = x[i] * scale * weight[i];
}

/* Products and their sum each rounded, as torch does it. */
UNFUSED static void rotate(float *x, const float *cos, const float *sin, int64_t half, float scale, int round) {
    UNFUSED_BODY
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], c = cos[i] * scale, s = sin[i] * scale;
        float first = a * c - b * s, second = b * c + a * s;
        x[i] = round ? round_one(first) : first;
        x[i + half] = round ? round_one(second) : second;
    }
}

static void append(void *cache, int64_t at, const float *x, int64_t H, int half) {
    if (!half)
        memcpy((float *)cache + at, x, (size_t)H * 4);
    else
        for (int64_t i = 0; i < H; i++) ((uint16_t *)cache)[at + i] = half_of(x[i]);
}

/* Where position 0 of the item's slot stands in the cache, for one layer and key-value head. */
static int64_t slot_at(const Job *job, int64_t layer, int64_t item, int64_t kv_head) {
    const Model *m = job->model;
    return ((layer * job->slots + job->rows[item]) * m->kv_heads + kv_head) * job->capacity * m->head;
}

/* Rotate queries (in place) and the key of one item and key-value head; key and value into the cache. */
static void enter(const Hand *h, int64_t layer, int64_t i, int64_t kv_head, int queries) {
    const Model *m = h->m;
    const Block *b = m->blocks + layer;
    int64_t H = m->head, N = m->heads, G = N / m->kv_heads, item = h->from + i, position = h->job->positions[item];
    float *row = h->shared->qkv + i * qkv_width(m);
    const float *cos = m->cos + position * (H / 2), *sin = m->sin + position * (H / 2);
    float scale = (float)pow((double)H, -0.5);
    for (int64_t g = 0; g < (queries ? G : 0); g++) {
        float *q = row + (kv_head * G + g) * H;
        if (b->q_norm) norm_head(q, b->q_norm, H, m->eps);
        rotate(q, cos, sin, H / 2, scale, (int)m->half);
    }
    float *k = row + (N + kv_head) * H;
    if (b->k_norm) norm_head(k, b->k_norm, H, m->eps);
    rotate(k, cos, sin, H / 2, 1.0f, (int)m->half);
    int64_t at = slot_at(h->job, layer, item, kv_head) + position * H;
    append(h->job->k, at, k, H, (int)m->half);
    append(h->job->v, at, row + (N + m->kv_heads + kv_head) * H, H, (int)m->half);
}

static void attend(const Hand *h, int64_t layer, int64_t i, int64_t kv_head, int64_t span) {
    const Model *m = h->m;
    Scratch *s = h->own;
    int64_t H = m->head, G = m->heads / m->kv_heads, wide = query_width(m), item = h->from + i;
    int64_t n = h->job->positions[item] + 1, element = m->half ? 2 : 4;
    int64_t at = slot_at(h->job, layer, item, kv_head) * element;
    const char *k = (const char *)h->job->k + at, *v = (const char *)h->job->v + at;
    const float *q = h->shared->qkv + i * qkv_width(m) + kv_head * G * H;
    const int dot = (int)m->blocks[0].out.dot;
    int64_t ahead = kv_head + 1 < m->kv_heads ? h->job->capacity * H * element
                    : i + 1 < h->rows          ? slot_at(h->job, layer, item + 1, 0) * element - at
                                               : 0;
#if BF16_DOT
    if (dot) {
        for (int64_t g = 0; g < G; g++)
            for (int64_t j = 0; j < wide; j++) s->q[g * wide + j] = j < H ? half_of(q[g * H + j]) : 0;
        attend_dot(s->q, G, H, wide, (const uint16_t *)k, (const uint16_t *)v, n, ahead / 2, s->scores, s->p, span, s->out);
    } else
#endif
    {
        float *wider = (float *)s->q;
        for (int64_t g = 0; g < G; g++)
            for (int64_t j = 0; j < wide; j++) wider[g * wide + j] = j < H ? q[g * H + j] : 0;
        attend_plain(wider, G, H, wide, k, v, m->half, n, ahead, s->scores, span, s->out);
    }
    char *to = h->shared->attended + i * input_stride(m->heads * H, dot);
    for (int64_t g = 0; g < G; g++)
        for (int64_t j = 0; j < H; j++) {
            float y = s->out[g * wide + j];
            int64_t column = (kv_head * G + g) * H + j;
            if (dot)
                ((uint16_t *)to)[column] = half_of(y);
            else
                ((float *)to)[column] = m->half ? round_one(y) : y;
        }
}

/* silu(gate) · up of this thread's columns, as input of `down`. */
static void act(const Hand *h, const Block *b) {
    int64_t first, last, F = pad(h->m->hidden, 16), stride = input_stride(h->m->hidden, b->down.dot);
    const int round = (int)h->m->half;
    part(h, panels(&b->gate), &first, &last);
    for (int64_t i = 0; i < h->rows; i++)
        for (int64_t f = first * LANES; f < last * LANES; f += LANES) {
            vec gate = load(h->shared->gate + i * F + f), up = load(h->shared->up + i * F + f);
            vec y = gate / (exponential(-gate) + 1.0f);
            y = (round ? round_half(y) : y) * up;
            put(h->shared->acted + i * stride, f, (int)b->down.dot, round ? round_half(y) : y);
        }
}

/* ---- a chunk ---- */

/* Wait until the task before, if it has items of the same slot, has entered this layer; then tell the task behind. */
static void follow(const Hand *h, int64_t layer) {
    const Job *job = h->job;
    if (h->task < 0) return;
    int64_t begins = job->tasks[h->task], ends = job->tasks[h->task + 1];
    if (begins && job->rows[begins] == job->rows[begins - 1])
        for (int i = 0; atomic_load_explicit(&job->entered[h->task - 1], memory_order_acquire) <= layer; i++)
            pause_briefly(i);
    if (h->from + h->rows == ends)
        atomic_store_explicit((atomic_long *)&job->entered[h->task], layer + 1, memory_order_release);
}

static void attention_layer(const Hand *h, int64_t layer, int only_cache) {
    const Model *m = h->m;
    const Block *b = m->blocks + layer;
    Scratch *s = h->shared;
    int64_t first, last, K = m->kv_heads, span = 0;
    for (int64_t i = 0; i < h->job->count; i++) span = h->job->positions[i] >= span ? h->job->positions[i] + 1 : span;
    span = pad(span, 16);
    norm(h, b->attention_norm, (int)b->qkv.dot, (int)m->half);
    multiply_chunk(h, &b->qkv, h->own->normed, s->qkv, qkv_width(m), m->half ? WRITE_ROUNDED : WRITE, NO_LIMIT);
    meet(h);
    part(h, h->rows * K, &first, &last);
    for (int64_t i = first; i < last; i++) enter(h, layer, i / K, i % K, !only_cache);
    follow(h, layer);
    meet(h);
    if (only_cache) return;
    for (int64_t i = first; i < last; i++) attend(h, layer, i / K, i % K, span);
    meet(h);
    multiply_chunk(h, &b->out, s->attended, s->x, pad(m->width, 16), m->half ? ADD_ROUNDED : ADD, NO_LIMIT);
    meet(h);
}

static void mlp_layer(const Hand *h, int64_t layer) {
    const Model *m = h->m;
    const Block *b = m->blocks + layer;
    Scratch *s = h->shared;
    int64_t F = pad(m->hidden, 16);
    int kind = m->half ? WRITE_ROUNDED : WRITE;
    norm(h, b->mlp_norm, (int)b->gate.dot, (int)m->half);
    multiply_chunk(h, &b->gate, h->own->normed, s->gate, F, kind, NO_LIMIT);
    multiply_chunk(h, &b->up, h->own->normed, s->up, F, kind, NO_LIMIT);
    act(h, b);
    meet(h);
    multiply_chunk(h, &b->down, s->acted, s->x, pad(m->width, 16), m->half ? ADD_ROUNDED : ADD, NO_LIMIT);
    meet(h);
}

static void run_chunk(const Hand *h) {
    const Model *m = h->m;
    look_up(h);
    meet(h);
    for (int64_t layer = 0; layer < m->layers; layer++) {
        int only_cache = !h->job->logits && layer == m->layers - 1;
        attention_layer(h, layer, only_cache);
        if (!only_cache) mlp_layer(h, layer);
    }
    if (h->job->logits) {
        norm(h, m->norm, (int)m->unembed.dot, (int)m->head_half);
        float *to = h->job->logits + h->from * m->vocab;
        multiply_chunk(h, &m->unembed, h->own->normed, to, m->vocab, m->head_half ? WRITE_ROUNDED : WRITE, m->vocab);
    }
    meet(h);
}

static void run_range(Hand *h, int64_t from, int64_t to) {
    for (; from < to; from += CHUNK) {
        h->from = from;
        h->rows = to - from < CHUNK ? to - from : CHUNK;
        run_chunk(h);
    }
}

static void work(void *argument, int number) {
    Job *job = argument;
    if (number >= job->barrier.threads) return; /* all of the pool may come; scratch was prepared for so many */
    Scratch *own = &job->native->scratch[number];
    Hand h = {job, job->model, own, own, 0, 1, -1, 0, 0};
    if (job->team) {
        h.shared = &job->native->scratch[0], h.number = number, h.threads = job->barrier.threads;
        run_range(&h, 0, job->count);
        return;
    }
    while ((h.task = atomic_fetch_add(&job->next, 1)) < job->task_count)
        run_range(&h, job->tasks[h.task], job->tasks[h.task + 1]);
}

/* ---- what Python calls ---- */

enum { FINE, BAD_TOKEN, BAD_SLOT, BAD_POSITION, NO_MEMORY };

int64_t ponder_has_dot(void) { return BF16_DOT; }

Native *ponder_new(int64_t threads) {
    Native *native = calloc(1, sizeof *native);
    if (native) pool_start(&native->pool, (int)threads);
    return native;
}

void ponder_free(Native *native) {
    pool_stop(&native->pool);
    for (int i = 0; i < MOST_THREADS; i++) free(native->scratch[i].memory);
    free(native);
}

static int check(const Job *job, int64_t *span) {
    *span = 0;
    for (int64_t i = 0; i < job->count; i++) {
        if (job->tokens[i] < 0 || job->tokens[i] >= job->model->vocab) return BAD_TOKEN;
        if (job->rows[i] < 0 || job->rows[i] >= job->slots) return BAD_SLOT;
        if (job->positions[i] < 0 || job->positions[i] >= job->capacity || job->positions[i] >= job->model->reach)
            return BAD_POSITION;
        *span = job->positions[i] >= *span ? job->positions[i] + 1 : *span;
    }
    *span = pad(*span, 16);
    return FINE;
}

/* Tasks of about the size that gives every thread two: whole slots, or chunks of slots that are longer. */
static void divide(Job *job, int threads) {
    int64_t size = pad((job->count + 2 * threads - 1) / (2 * threads), 8), begun = 0;
    job->tasks[0] = job->task_count = 0;
    for (int64_t i = 1; i < job->count && threads > 1; i++) {
        int inside = job->rows[i] == job->rows[i - 1];
        if (i - begun >= (inside ? CHUNK : size)) job->tasks[++job->task_count] = begun = i;
    }
    job->tasks[++job->task_count] = job->count;
}

/* Tokens of `count` items into the cache (layers, slots, kv heads, capacity, head); fp32 logits (count, vocab) unless NULL. */
int64_t ponder_step(Native *native, const Model *model, const int64_t *tokens, const int64_t *rows,
                    const int64_t *positions, int64_t count, void *k, void *v, int64_t slots, int64_t capacity,
                    float *logits) {
    Job job = {native, model, tokens, rows, positions, count, slots, capacity, k, v, logits, NULL, 0, 0, NULL, {0, 0, 0}, 0};
    int threads = pool_size(&native->pool);
    int64_t span;
    int wrong = check(&job, &span);
    if (wrong || !count) return wrong;
    job.tasks = malloc((size_t)(count + 2) * sizeof *job.tasks);
    job.entered = calloc((size_t)count + 2, sizeof *job.entered);
    if (!job.tasks || !job.entered) {
        free(job.tasks), free(job.entered);
        return NO_MEMORY;
    }
    divide(&job, threads);
    job.team = threads > 1 && model->team;
    if (!job.team && job.task_count < threads) threads = (int)job.task_count;
    job.barrier.threads = threads;
    for (int i = 0; i < threads && !wrong; i++)
        if (!prepare(&native->scratch[i], model, span)) wrong = NO_MEMORY;
    if (!wrong) pool_run(&native->pool, work, &job, threads);
    free(job.tasks), free(job.entered);
    return wrong;
}

/* A token per row and its log-probability at the row's temperature (1 where greedy). */
int64_t ponder_draw(const float *logits, int64_t count, int64_t vocab, const float *temperatures, const uint8_t *greedy,
                    const double *uniforms, int64_t *tokens, float *logprobs) {
    double *blocks = malloc((size_t)(vocab / BLOCK + 1) * sizeof *blocks);
    if (!blocks) return NO_MEMORY;
    for (int64_t b = 0; b < count; b++)
        tokens[b] = draw_row(logits + b * vocab, vocab, temperatures[b], greedy && greedy[b], uniforms[b], blocks,
                             logprobs + b);
    free(blocks);
    return FINE;
}
