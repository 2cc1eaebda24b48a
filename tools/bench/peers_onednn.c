/* SPDX-License-Identifier: Apache-2.0
 *
 * oneDNN 2.x: u8 x s8 -> s32 and f32 products. Of its forms of an int8 product, matmul to s32 with
 * weights in the layout `any` is the fastest, for its inner_product is as fast, a narrower result
 * costs up to a tenth more, and plain weights as much. The right operands of the attention's
 * products lie in that layout too, as though somebody had packed them for nothing.
 *
 * The library is loaded when it is needed, so that it neither weighs on the memory measured before
 * nor chooses an instruction set before it is told which.
 */
#define _GNU_SOURCE /* setenv, madvise */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <oneapi/dnnl/dnnl.h>

#include "bench/peers.h"

#define TEXT(x)         #x
#define TEXT_OF(x)      TEXT(x)
#define ONEDNN_FILE     "libdnnl.so." TEXT_OF(DNNL_VERSION_MAJOR)
#define OPERANDS        4 /* source, weights, destination, scratch */
#define OPERAND_WEIGHTS 1
#define OPERAND_SCRATCH 3
#define ALIGNMENT       ((size_t)2 << 20) /* of a huge page */

/* The functions used, found by name in the library. */
#define ONEDNN_FUNCTIONS(F)                                                                        \
    F(version)                                                                                     \
    F(get_effective_cpu_isa)                                                                       \
    F(engine_create)                                                                               \
    F(engine_destroy)                                                                              \
    F(stream_create)                                                                               \
    F(stream_wait)                                                                                 \
    F(stream_destroy)                                                                              \
    F(memory_desc_init_by_tag)                                                                     \
    F(memory_desc_get_size)                                                                        \
    F(memory_create)                                                                               \
    F(memory_destroy)                                                                              \
    F(matmul_desc_init)                                                                            \
    F(primitive_attr_create)                                                                       \
    F(primitive_attr_set_scratchpad_mode)                                                          \
    F(primitive_attr_destroy)                                                                      \
    F(primitive_desc_create)                                                                       \
    F(primitive_desc_query_md)                                                                     \
    F(primitive_desc_destroy)                                                                      \
    F(primitive_create)                                                                            \
    F(primitive_execute)                                                                           \
    F(primitive_destroy)

typedef struct onednn {
    void *library;
    void (*omp_set_num_threads)(int threads);
    int (*omp_get_max_threads)(void);
#define MEMBER(name) __typeof__(dnnl_##name) *name;
    ONEDNN_FUNCTIONS(MEMBER)
#undef MEMBER
} onednn;

/* One product, ready to run. */
typedef struct step {
    dnnl_primitive_desc_t plan;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[OPERANDS];
    dnnl_exec_arg_t argument[OPERANDS];
    size_t bytes[OPERANDS];
} step;

typedef struct peer {
    const char *name;
    dnnl_data_type_t left, right, result;
    step *steps;    /* (products) */
    uint8_t *block; /* shared activations, scratch, then every layer's weights */
} peer;

struct peers {
    onednn dnn;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    size_t products;
    peer item[PEERS_MAX];
    char description[128];
};

static const peer PEERS[PEERS_MAX] = {
    { .name = "onednn-u8s8-gemm", .left = dnnl_u8, .right = dnnl_s8, .result = dnnl_s32 },
    { .name = "onednn-f32-gemm", .left = dnnl_f32, .right = dnnl_f32, .result = dnnl_f32 },
};

/* ---- the library --------------------------------------------------------------------------- */

/* dlsym gives a pointer to an object for what is a function; POSIX vouches for the bytes. */
static bool find(void *library, const char *name, void *function, report *r)
{
    void *const address = dlsym(library, name);

    if (address == NULL) {
        return report_fail(r, "%s has no function %s", ONEDNN_FILE, name);
    }
    memcpy(function, &address, sizeof(address));
    return true;
}

/* oneDNN's name of the most that it may use; NULL: whatever it finds. */
static const char *cap_of(iviti_isa isa)
{
    switch (isa) {
    case IVITI_ISA_AVX2:
        return "AVX2";
    case IVITI_ISA_AVXVNNI:
        return "AVX2_VNNI";
    case IVITI_ISA_AVX512VNNI:
        return "AVX512_CORE_VNNI";
    default:
        return NULL;
    }
}

static bool load(onednn *d, unsigned threads, iviti_isa isa, report *r)
{
    const char *const cap = cap_of(isa);

    if (cap != NULL && setenv("DNNL_MAX_CPU_ISA", cap, 1) != 0) {
        return report_fail(r, "cannot set DNNL_MAX_CPU_ISA to %s", cap);
    }
    d->library = dlopen(ONEDNN_FILE, RTLD_NOW | RTLD_LOCAL);
    if (d->library == NULL) {
        return report_fail(r, "cannot load oneDNN: %s", dlerror());
    }
#define FIND(function)                                                                             \
    if (!find(d->library, "dnnl_" #function, &d->function, r))                                     \
        return false;
    ONEDNN_FUNCTIONS(FIND)
#undef FIND
    /* These come with the library that it is linked to. */
    if (!find(d->library, "omp_set_num_threads", &d->omp_set_num_threads, r) ||
        !find(d->library, "omp_get_max_threads", &d->omp_get_max_threads, r)) {
        return report_fail(r, "%s does not take its threads from OpenMP", ONEDNN_FILE);
    }
    d->omp_set_num_threads((int)threads);
    if (d->omp_get_max_threads() != (int)threads) {
        return report_fail(r, "OpenMP gives oneDNN %d threads instead of %u",
                           d->omp_get_max_threads(), threads);
    }
    return true;
}

static const char *isa_name(dnnl_cpu_isa_t isa)
{
    switch (isa) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx2_vnni:
        return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    default:
        return "no cap";
    }
}

static bool good(dnnl_status_t status, const char *what, report *r)
{
    if (status != dnnl_success) {
        return report_fail(r, "oneDNN cannot %s: status %d", what, (int)status);
    }
    return true;
}

/* ---- preparation --------------------------------------------------------------------------- */

static bool describe_matrix(const onednn *d, dnnl_memory_desc_t *matrix, const product *p,
                            uint32_t rows, uint32_t columns, dnnl_data_type_t type, bool any,
                            report *r)
{
    const dnnl_dims_t flat = { rows, columns };
    const dnnl_dims_t stack = { p->batch, rows, columns };
    const bool batched = p->batch > 1;
    const dnnl_format_tag_t tag = any ? dnnl_format_tag_any : batched ? dnnl_abc : dnnl_ab;

    return good(
        d->memory_desc_init_by_tag(matrix, batched ? 3 : 2, batched ? stack : flat, type, tag),
        "describe a matrix", r);
}

static const dnnl_query_t QUERIES[OPERANDS] = { dnnl_query_src_md, dnnl_query_weights_md,
                                                dnnl_query_dst_md, dnnl_query_scratchpad_md };
static const int ARGUMENTS[OPERANDS] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST,
                                         DNNL_ARG_SCRATCHPAD };

/* Chooses the implementation; then the sizes of the operands are known. */
static bool plan_step(const peers *all, const peer *e, const product *p,
                      const_dnnl_primitive_attr_t attributes, step *s, report *r)
{
    const onednn *const d = &all->dnn;
    dnnl_memory_desc_t left, right, result;
    dnnl_matmul_desc_t matmul;

    if (!describe_matrix(d, &left, p, p->rows, p->inner, e->left, false, r) ||
        !describe_matrix(d, &right, p, p->inner, p->columns, e->right, true, r) ||
        !describe_matrix(d, &result, p, p->rows, p->columns, e->result, false, r) ||
        !good(d->matmul_desc_init(&matmul, &left, &right, NULL, &result), "describe a product",
              r) ||
        !good(d->primitive_desc_create(&s->plan, &matmul, attributes, all->engine, NULL),
              "plan a product", r) ||
        !good(d->primitive_create(&s->primitive, s->plan), "generate a product's code", r)) {
        return false;
    }
    for (size_t i = 0; i < OPERANDS; i++) {
        s->bytes[i] = d->memory_desc_get_size(d->primitive_desc_query_md(s->plan, QUERIES[i], 0));
    }
    return true;
}

static bool plan_steps(const peers *all, const product_list *products, peer *e, report *r)
{
    const onednn *const d = &all->dnn;
    dnnl_primitive_attr_t attributes = NULL;
    bool done = good(d->primitive_attr_create(&attributes), "create attributes", r) &&
                good(d->primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
                     "leave scratch to its caller", r);

    for (size_t i = 0; i < products->count && done; i++) {
        done = plan_step(all, e, &products->item[i], attributes, &e->steps[i], r);
    }
    if (attributes != NULL) {
        d->primitive_attr_destroy(attributes);
    }
    return done;
}

static size_t round_up(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

/* Small numbers of either sign, the same each time; as bytes, whatever they are. */
static void fill(uint8_t *bytes, size_t count, bool f32)
{
    uint32_t state = 2463534242u;

    for (size_t i = 0; i + 4 <= count; i += 4) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        const float real = (float)(int8_t)(state >> 24) / 64.0f;
        memcpy(bytes + i, f32 ? (const void *)&real : (const void *)&state, 4);
    }
}

/* Where the operands lie: activations and scratch are shared, since they stay in the caches as they
 * would in a run; every layer's weights are its own, since a run streams them. */
typedef struct layout {
    size_t shared[OPERANDS]; /* bytes; of the right operand, those that are no weights */
    size_t weights;
    size_t total;
} layout;

static layout lay_out(const product_list *products, const peer *e)
{
    layout l = { { 0 }, 0, 0 };

    for (size_t i = 0; i < products->count; i++) {
        for (size_t o = 0; o < OPERANDS; o++) {
            const size_t bytes = round_up(e->steps[i].bytes[o]);
            if (o == OPERAND_WEIGHTS && products->item[i].weights) {
                l.weights += bytes;
            } else if (l.shared[o] < bytes) {
                l.shared[o] = bytes;
            }
        }
    }
    l.total = l.weights;
    for (size_t o = 0; o < OPERANDS; o++) {
        l.total += l.shared[o];
    }
    l.total = (l.total + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return l;
}

static bool place_operands(const peers *all, const product_list *products, peer *e, report *r)
{
    const onednn *const d = &all->dnn;
    const layout l = lay_out(products, e);
    uint8_t *shared[OPERANDS];

    e->block = aligned_alloc(ALIGNMENT, l.total);
    if (e->block == NULL) {
        return report_fail(r, "no memory for the weights of %s: %zu bytes", e->name, l.total);
    }
    (void)madvise(e->block, l.total, MADV_HUGEPAGE); /* as the library asks for its models */
    fill(e->block, l.total, e->left == dnnl_f32);
    uint8_t *next = e->block;
    for (size_t o = 0; o < OPERANDS; o++) {
        shared[o] = next;
        next += l.shared[o];
    }
    for (size_t i = 0; i < products->count; i++) {
        step *const s = &e->steps[i];
        for (size_t o = 0; o < OPERANDS; o++) {
            const bool own = o == OPERAND_WEIGHTS && products->item[i].weights;
            if (!good(d->memory_create(&s->memory[o],
                                       d->primitive_desc_query_md(s->plan, QUERIES[o], 0),
                                       all->engine, own ? next : shared[o]),
                      "take memory", r)) {
                return false;
            }
            next += own ? round_up(s->bytes[o]) : 0;
            s->argument[o] = (dnnl_exec_arg_t){ ARGUMENTS[o], s->memory[o] };
        }
    }
    return true;
}

/* ---- the interface ------------------------------------------------------------------------- */

static bool prepare(peers *all, const product_list *products, unsigned threads, iviti_isa isa,
                    report *r)
{
    onednn *const d = &all->dnn;

    if (!load(d, threads, isa, r) ||
        !good(d->engine_create(&all->engine, dnnl_cpu, 0), "create an engine", r) ||
        !good(d->stream_create(&all->stream, all->engine, dnnl_stream_in_order), "create a stream",
              r)) {
        return false;
    }
    const dnnl_version_t *const version = d->version();
    snprintf(all->description, sizeof(all->description), "oneDNN %d.%d.%d, %s", version->major,
             version->minor, version->patch, isa_name(d->get_effective_cpu_isa()));
    all->products = products->count;
    for (size_t i = 0; i < PEERS_MAX; i++) {
        all->item[i] = PEERS[i];
        all->item[i].steps = calloc(products->count, sizeof(step));
        if (all->item[i].steps == NULL) {
            return report_fail(r, "no memory for %zu products", products->count);
        }
        if (!plan_steps(all, products, &all->item[i], r) ||
            !place_operands(all, products, &all->item[i], r)) {
            return false;
        }
    }
    return true;
}

peers *peers_open(const product_list *products, unsigned threads, iviti_isa isa, report *r)
{
    peers *const all = calloc(1, sizeof(*all));

    if (all == NULL) {
        (void)report_fail(r, "no memory for peers");
        return NULL;
    }
    if (!prepare(all, products, threads, isa, r)) {
        peers_close(all);
        return NULL;
    }
    return all;
}

static void close_steps(const onednn *d, peer *e, size_t count)
{
    for (size_t i = 0; e->steps != NULL && i < count; i++) {
        step *const s = &e->steps[i];
        for (size_t o = 0; o < OPERANDS; o++) {
            if (s->memory[o] != NULL) {
                d->memory_destroy(s->memory[o]);
            }
        }
        if (s->primitive != NULL) {
            d->primitive_destroy(s->primitive);
        }
        if (s->plan != NULL) {
            d->primitive_desc_destroy(s->plan);
        }
    }
    free(e->steps);
    free(e->block);
}

void peers_close(peers *all)
{
    if (all == NULL) {
        return;
    }
    for (size_t i = 0; i < PEERS_MAX; i++) {
        close_steps(&all->dnn, &all->item[i], all->products);
    }
    if (all->stream != NULL) {
        all->dnn.stream_destroy(all->stream);
    }
    if (all->engine != NULL) {
        all->dnn.engine_destroy(all->engine);
    }
    free(all); /* the library stays loaded: OpenMP's threads still run its code */
}

size_t peers_count(const peers *all)
{
    (void)all;
    return PEERS_MAX;
}

const char *peer_name(const peers *all, size_t index)
{
    return all->item[index].name;
}

const char *peers_describe(const peers *all)
{
    return all->description;
}

bool peer_run(peers *all, size_t index)
{
    const onednn *const d = &all->dnn;
    const peer *const e = &all->item[index];

    for (size_t i = 0; i < all->products; i++) {
        const step *const s = &e->steps[i];
        if (d->primitive_execute(s->primitive, all->stream, OPERANDS, s->argument) !=
            dnnl_success) {
            return false;
        }
    }
    return d->stream_wait(all->stream) == dnnl_success;
}
