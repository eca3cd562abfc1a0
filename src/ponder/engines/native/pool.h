/* A few threads that wait for work: spinning a little, then asleep.

   `pool_run` calls `work(job, thread)` on the calling thread (0) and the others. Unless `all` are needed, a thread that
   wakes too late finds the work closed and stays out, so a busy machine never makes the caller wait for one that has not
   begun. */
#ifndef PONDER_POOL_H
#define PONDER_POOL_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_THREADS 64

typedef struct Pool Pool;
typedef struct {
    Pool *pool;
    int number;
} Seat;

struct Pool {
    int threads; /* the caller's included */
    pid_t owner;
    pthread_t handles[MOST_THREADS];
    Seat seats[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t posted, left;
    atomic_uint turn; /* counts jobs */
    int open, running, stopping;
    void (*work)(void *, int);
    void *job;
};

static inline void pause_briefly(int spins) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (spins % 64 == 63) sched_yield();
}

static void *pool_thread(void *argument) {
    Seat *seat = argument;
    Pool *pool = seat->pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < 512 && atomic_load_explicit(&pool->turn, memory_order_acquire) == seen; i++) pause_briefly(0);
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->turn) == seen && !pool->stopping) pthread_cond_wait(&pool->posted, &pool->lock);
        seen = atomic_load(&pool->turn);
        int stop = pool->stopping, join = pool->open && !stop;
        pool->running += join;
        pthread_mutex_unlock(&pool->lock);
        if (stop) return NULL;
        if (!join) continue;
        pool->work(pool->job, seat->number);
        pthread_mutex_lock(&pool->lock);
        if (--pool->running == 0) pthread_cond_signal(&pool->left);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void pool_stop(Pool *pool) {
    if (pool->owner != getpid()) return; /* after a fork the threads are the parent's */
    pthread_mutex_lock(&pool->lock);
    pool->stopping = 1;
    pthread_cond_broadcast(&pool->posted);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->posted);
    pthread_cond_destroy(&pool->left);
}

/* As many of `threads` as the system gives. */
static void pool_start(Pool *pool, int threads) {
    sigset_t all, before;
    memset(pool, 0, sizeof *pool);
    pool->owner = getpid();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->posted, NULL);
    pthread_cond_init(&pool->left, NULL);
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        Seat *seat = &pool->seats[pool->threads];
        *seat = (Seat){pool, pool->threads};
        if (pthread_create(&pool->handles[pool->threads], NULL, pool_thread, seat)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Threads that can work in this process. */
static int pool_size(const Pool *pool) { return pool->owner == getpid() ? pool->threads : 1; }

static void pool_run(Pool *pool, void (*work)(void *, int), void *job, int threads) {
    if (threads > 1) {
        pthread_mutex_lock(&pool->lock);
        pool->work = work, pool->job = job, pool->open = 1;
        atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
        pthread_cond_broadcast(&pool->posted);
        pthread_mutex_unlock(&pool->lock);
    }
    work(job, 0);
    if (threads > 1) {
        pthread_mutex_lock(&pool->lock);
        pool->open = 0;
        while (pool->running) pthread_cond_wait(&pool->left, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
}

typedef struct {
    int threads;
    atomic_int arrived, phase;
} Barrier;

static void barrier_wait(Barrier *barrier) {
    if (barrier->threads < 2) return;
    int phase = atomic_load(&barrier->phase);
    if (atomic_fetch_add(&barrier->arrived, 1) + 1 == barrier->threads) {
        atomic_store(&barrier->arrived, 0);
        atomic_fetch_add(&barrier->phase, 1);
        return;
    }
    for (int i = 0; atomic_load(&barrier->phase) == phase; i++) pause_briefly(i);
}

#endif
