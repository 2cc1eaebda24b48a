/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of one session. They run one function together, each with its own number, and meet at
 * barriers inside it: a forward pass is one such call.
 */
#ifndef IVITI_THREADS_H
#define IVITI_THREADS_H

#ifndef IVITI_FREESTANDING
#include <pthread.h>
#include <stdatomic.h>
#endif
#include <stdbool.h>

#include "base/placement.h"
#include "iviti/iviti.h"

#define IVITI_MAX_THREADS 64

typedef void iviti_work(void *context, unsigned thread);

#ifdef IVITI_FREESTANDING
/* No threads but the caller's. */
typedef struct iviti_pool {
    unsigned threads; /* 1 */
} iviti_pool;
#else
typedef struct iviti_pool {
    atomic_uint threads;    /* members, the caller's thread included */
    atomic_uint arrived;    /* at the current barrier */
    atomic_uint generation; /* of barriers passed */
    pthread_mutex_t mutex;
    pthread_cond_t passed;
    iviti_placement placement;
    iviti_work *work;       /* NULL: leave */
    void *context;
    unsigned workers;
    struct iviti_worker {
        struct iviti_pool *pool;
        unsigned number;
        pthread_t handle;
    } worker[IVITI_MAX_THREADS - 1];
} iviti_pool;
#endif

/* Starts threads - 1 workers; threads in [1, 64]. Returns IVITI_OK or THREAD, then nothing runs. */
iviti_status iviti_pool_start(iviti_pool *pool, unsigned threads);
void iviti_pool_stop(iviti_pool *pool);

/* Calls work(context, t) for every t in [0, threads), 0 on this thread; returns when all have. */
void iviti_pool_run(iviti_pool *pool, iviti_work *work, void *context);

/* Inside work: waits for all members. What they wrote before is visible after. */
void iviti_pool_barrier(iviti_pool *pool);

#endif
