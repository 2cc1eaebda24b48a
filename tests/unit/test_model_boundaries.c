/* SPDX-License-Identifier: Apache-2.0
 *
 * Every number of a model's header, of every fixture, takes the values where arithmetic goes wrong: alone,
 * and sizes in pairs. The answer is a clean status, or a model that runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/reader.h"
#include "model/gguf.h"
#include "model/source.h"
#include "model_edit.h"
#include "model_toy.h"

#define MOST_FIELDS 1024

typedef struct field {
    size_t at;
    unsigned bytes; /* 4 or 8 */
    bool decides;   /* nothing but the value that is there can be right */
} field;

typedef struct fields {
    field list[MOST_FIELDS];
    size_t count;
} fields;

static void add(fields *f, uint64_t at, unsigned bytes, bool decides)
{
    assert_true(f->count < MOST_FIELDS);
    f->list[f->count++] = (field){ (size_t)at, bytes, decides };
}

static uint64_t get(const uint8_t *image, const field *f)
{
    return f->bytes == 4 ? iviti_get_u32(image + f->at) : iviti_get_u64(image + f->at);
}

static void put(uint8_t *image, const field *f, uint64_t value)
{
    if (f->bytes == 4)
        iviti_put_u32(image + f->at, (uint32_t)value);
    else
        iviti_put_u64(image + f->at, value);
}

/* Where the numbers are, by the reader's own syntax: counts and lengths, types, values, dimensions,
 * offsets. */
static void find_fields(const model_fixture *m, fields *numbers, fields *sizes)
{
    iviti_memory_source source;
    iviti_reader r;
    iviti_gguf_counts counts;
    iviti_gguf_pair pair;
    iviti_gguf_tensor tensor;
    uint8_t *const buffer = malloc(m->size);
    const iviti_allocator none = { NULL, NULL, NULL };
    numbers->count = sizes->count = 0;
    iviti_memory_source_open(&source, m->image, m->size);
    iviti_reader_open(&r, &source.source, &none, NULL, buffer, m->size);
    assert_int_equal(iviti_gguf_begin(&r, &counts), IVITI_OK);
    add(numbers, 4, 4, true);
    add(numbers, 8, 8, true);
    add(numbers, 16, 8, true);
    for (uint64_t i = 0; i < counts.pairs; i++) {
        assert_int_equal(iviti_gguf_next_pair(&r, &pair), IVITI_OK);
        const uint64_t type_at = pair.key_offset + pair.key_bytes;
        add(numbers, pair.key_offset - 8, 8, true);
        if (i < 2 || pair.key_bytes % 4 == 0) /* types and counts of some: they are all alike */
            add(numbers, type_at, 4, true);
        if (pair.array)
            add(numbers, type_at + 8, 8, true);
        if (pair.type == IVITI_GGUF_STRING)
            add(numbers, pair.array ? pair.data_offset : type_at + 4, 8, true);
        if (pair.type != IVITI_GGUF_U32 || i == 0)
            continue;
        for (uint64_t k = 0; k < pair.count; k++) {
            add(numbers, pair.data_offset + 4 * k, 4, false);
            if (k == 0 && !(pair.key_bytes == 18 && memcmp(pair.key, "iviti.weights.bits", 18) == 0))
                add(sizes, pair.data_offset, 4, false);
        }
    }
    for (uint64_t i = 0; i < counts.tensors; i++) {
        const uint64_t at = iviti_reader_position(&r);
        assert_int_equal(iviti_gguf_next_tensor(&r, &tensor), IVITI_OK);
        const uint64_t rank_at = at + 8 + tensor.name_bytes;
        if (i % 7 != 0) /* the directory's entries are all alike, too */
            continue;
        add(numbers, at, 8, true);
        add(numbers, rank_at, 4, true);
        for (uint32_t d = 0; d < tensor.rank; d++)
            add(numbers, rank_at + 4 + 8 * d, 8, true);
        add(numbers, rank_at + 4 + 8 * tensor.rank, 4, true);
        add(numbers, rank_at + 8 + 8 * tensor.rank, 8, true);
    }
    iviti_reader_close(&r);
    free(buffer);
}

/* Loads, and runs what loads. */
static iviti_status try_file(model_fixture *m)
{
    fixture_seal(m->image, m->size);
    load_result r = edit_load(m->image, m->size, NULL);
    assert_int_equal(r.sentences, r.status == IVITI_OK ? 0 : 1);
    assert_int_equal(r.logged, r.status);
    if (r.status != IVITI_OK) {
        assert_null(r.model);
        assert_int_not_equal(r.status, IVITI_ERROR_CHECKSUM);
        assert_int_not_equal(r.status, IVITI_ERROR_MEMORY);
        return r.status;
    }
    static const uint8_t pixels[5 * 4 * 3] = { 1, 2, 3, 250, 251, 252 };
    iviti_session *session = NULL;
    assert_int_equal(iviti_session_create(r.model, NULL, &session), IVITI_OK);
    assert_int_equal(iviti_session_run(session, &(iviti_image){ pixels, 5, 4, 15 }), IVITI_OK);
    iviti_session_free(session);
    iviti_model_free(r.model);
    return IVITI_OK;
}

static const uint64_t boundaries[] = {
    0,          1,          2,           3,           4,          7,         8,
    63,         64,         65,          256,         257,        1024,      1025,
    2048,       2049,       4096,        4097,        16384,      16385,     65536,
    65537,      1u << 20,   0x3FFFFFFF,  0x40000000,  0x7FFFFFFF, 1u << 31,  UINT32_MAX,
    1ull << 32, 1ull << 40, INT64_MAX,   1ull << 63,  UINT64_MAX,
};

#define BOUNDARIES (sizeof boundaries / sizeof *boundaries)

static void each_number_alone(void **state)
{
    fields *const numbers = malloc(sizeof *numbers), *const sizes = malloc(sizeof *sizes);
    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = toy_geometry((fixture_kind)kind);
        model_fixture m = fixture_build(&g, 1);
        find_fields(&m, numbers, sizes);
        assert_true(numbers->count > 60 && sizes->count > 8);
        for (size_t i = 0; i < numbers->count; i++) {
            const field *const f = &numbers->list[i];
            const uint64_t right = get(m.image, f);
            for (size_t b = 0; b < BOUNDARIES + 2; b++) {
                const uint64_t value = b < BOUNDARIES ? boundaries[b]
                                       : b == BOUNDARIES ? right - 1 : right + 1;
                if (value == right || (f->bytes == 4 && value > UINT32_MAX))
                    continue;
                put(m.image, f, value);
                const iviti_status status = try_file(&m);
                if (f->decides && status == IVITI_OK)
                    fail_msg("fixture %d loads with %llu instead of %llu at byte %zu", kind,
                             (unsigned long long)value, (unsigned long long)right, f->at);
            }
            put(m.image, f, right);
        }
        assert_int_equal(try_file(&m), IVITI_OK);
        fixture_free(&m);
    }
    free(numbers);
    free(sizes);
}

static void sizes_in_pairs(void **state)
{
    static const uint64_t values[] = { 0, 1, 64, 1024, 4096, 65536, 1u << 31, UINT32_MAX };
    static const size_t count = sizeof values / sizeof *values;
    static const fixture_kind kinds[] = { FIXTURE_VIT_TABLE, FIXTURE_SWIN_SHIFT };
    fields *const numbers = malloc(sizeof *numbers), *const sizes = malloc(sizeof *sizes);
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const iviti_geometry g = toy_geometry(kinds[k]);
        model_fixture m = fixture_build(&g, 1);
        find_fields(&m, numbers, sizes);
        for (size_t i = 0; i < sizes->count; i++)
            for (size_t j = 0; j < i; j++) {
                const field *const a = &sizes->list[i], *const b = &sizes->list[j];
                const uint64_t right_a = get(m.image, a), right_b = get(m.image, b);
                for (size_t v = 0; v < count * count; v++) {
                    put(m.image, a, values[v % count]);
                    put(m.image, b, values[v / count]);
                    try_file(&m);
                }
                put(m.image, a, right_a);
                put(m.image, b, right_b);
            }
        fixture_free(&m);
    }
    free(numbers);
    free(sizes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_alone),
        cmocka_unit_test(sizes_in_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
