/* SPDX-License-Identifier: Apache-2.0
 *
 * A barrier that spins briefly, because a forward pass meets one every few hundred microseconds, and
 * sleeps when it has to wait longer, because between runs a session must cost nothing. Between the two
 * it yields: a thread that sleeps within a run would wake late, and perhaps beside the one that woke it.
 */
#include "base/threads.h"

#ifdef IVITI_FREESTANDING

iviti_status iviti_pool_start(iviti_pool *pool, unsigned threads)
{
    pool->threads = 1;
    return threads == 1 ? IVITI_OK : IVITI_ERROR_THREAD;
}

void iviti_pool_stop(iviti_pool *pool)
{
    (void)pool;
}

void iviti_pool_run(iviti_pool *pool, iviti_work *work, void *context)
{
    (void)pool;
    work(context, 0);
}

void iviti_pool_barrier(iviti_pool *pool)
{
    (void)pool;
}

#else

#include <sched.h>

/* A wait is hundreds of pauses where every thread has a processor; one that lasts longer may be for a
 * thread that needs this processor, so from then on it is offered, and at last given up. */
#define SPINS       20000
#define SPINS_ALONE 2000
#define SPINS_YIELD 100 /* between two offers */

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void iviti_pool_barrier(iviti_pool *pool)
{
    const unsigned members = atomic_load(&pool->threads);
    if (members == 1)
        return;

    const unsigned generation = atomic_load_explicit(&pool->generation, memory_order_acquire);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == members) {
        atomic_store(&pool->arrived, 0);
        pthread_mutex_lock(&pool->mutex);
        atomic_fetch_add(&pool->generation, 1);
        pthread_cond_broadcast(&pool->passed);
        pthread_mutex_unlock(&pool->mutex);
        return;
    }

    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != generation)
            return;
        if (spin >= SPINS_ALONE && spin % SPINS_YIELD == 0)
            (void)sched_yield();
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->generation) == generation)
        pthread_cond_wait(&pool->passed, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    struct iviti_worker *worker = argument;
    iviti_pool *pool = worker->pool;

    for (;;) {
        iviti_pool_barrier(pool); /* until there is work */
        if (!pool->work)
            return NULL;
        iviti_placement_join(&pool->placement);
        pool->work(pool->context, worker->number);
        iviti_pool_barrier(pool); /* until all have done it */
    }
}

iviti_status iviti_pool_start(iviti_pool *pool, unsigned threads)
{
    atomic_init(&pool->threads, threads);
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->generation, 0);
    pool->work = NULL;
    pool->workers = 0;
    if (pthread_mutex_init(&pool->mutex, NULL))
        return IVITI_ERROR_THREAD;
    if (pthread_cond_init(&pool->passed, NULL)) {
        pthread_mutex_destroy(&pool->mutex);
        return IVITI_ERROR_THREAD;
    }

    while (pool->workers + 1 < threads) {
        struct iviti_worker *worker = &pool->worker[pool->workers];
        worker->pool = pool;
        worker->number = pool->workers + 1;
        if (pthread_create(&worker->handle, NULL, worker_main, worker)) {
            atomic_store(&pool->threads, pool->workers + 1); /* those that did start may leave */
            iviti_pool_stop(pool);
            return IVITI_ERROR_THREAD;
        }
        pool->workers++;
    }
    return IVITI_OK;
}

void iviti_pool_stop(iviti_pool *pool)
{
    pool->work = NULL;
    iviti_pool_barrier(pool);
    for (unsigned i = 0; i < pool->workers; i++)
        pthread_join(pool->worker[i].handle, NULL);
    pthread_cond_destroy(&pool->passed);
    pthread_mutex_destroy(&pool->mutex);
}

void iviti_pool_run(iviti_pool *pool, iviti_work *work, void *context)
{
    pool->work = work;
    pool->context = context;
    iviti_placement_begin(&pool->placement);
    iviti_pool_barrier(pool);
    work(context, 0);
    iviti_pool_barrier(pool);
}

#endif
