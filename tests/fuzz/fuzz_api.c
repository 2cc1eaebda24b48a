/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of the library in any order with any arguments that a C program can pass within the contract of
 * iviti.h: NULL, sizes and counts out of range, memory of any size and alignment, allocators that fail,
 * models that are cut. The input is the list of calls. Whatever the threads, batches, instruction sets and
 * earlier failures, a picture's logits are those of a fresh session of one thread.
 */
#include "fuzz.h"

#include "iviti/iviti.h"
#include "unit/model_toy.h"

#define SESSIONS 4
#define MODELS   ((size_t)FIXTURE_KINDS)
#define PICTURES 8
#define SIDE     40 /* longest side of a picture that is really there */
#define CLASSES  16
#define BATCH    64

static struct {
    model_fixture file;
    iviti_model *model;
    iviti_model_info info;
    bool known[PICTURES];
    int32_t logits[PICTURES][CLASSES];
} models[MODELS];

static uint8_t pixels[PICTURES][SIDE * SIDE * 3];

typedef struct slot {
    iviti_session *session;
    size_t model;
    unsigned batch;
    void *memory; /* the caller's, where the session lies in it */
    size_t pictures;
    unsigned picture[BATCH];
} slot;

/* Numbers from the input; zeros when it is used up. */
typedef struct calls {
    const uint8_t *at;
    size_t left;
} calls;

static unsigned take(calls *c, unsigned below)
{
    if (c->left == 0)
        return 0;
    c->left--;
    return *c->at++ % below;
}

static iviti_image picture(unsigned number)
{
    const uint32_t width = SIDE - number * 4, height = 3 + number * 5;
    return (iviti_image){ pixels[number], width, height, 3 * (ptrdiff_t)width };
}

static void setup(void)
{
    for (size_t p = 0; p < PICTURES; p++)
        for (size_t i = 0; i < sizeof pixels[p]; i++)
            pixels[p][i] = (uint8_t)(i * (2 * p + 3) + i / 97 * p);
    for (size_t m = 0; m < MODELS; m++) {
        const iviti_geometry g = toy_geometry((fixture_kind)m);
        models[m].file = fixture_build(&g, 1);
        FUZZ_PROMISE(iviti_model_load_memory(models[m].file.image, models[m].file.size, NULL,
                                             &models[m].model) == IVITI_OK);
        iviti_model_describe(models[m].model, &models[m].info);
        FUZZ_PROMISE(models[m].info.classes <= CLASSES);
    }
}

/* ---- what was said ------------------------------------------------------------------------------ */

static void keep(void *user, iviti_status status, const char *message)
{
    (void)message;
    *(iviti_status *)user = status;
}

/* One of the statuses that the call's comment lists, 0 at the end. */
static void among(iviti_status status, const int *list)
{
    while (*list != 0 && *list != (int)status)
        list++;
    FUZZ_PROMISE(status == IVITI_OK || *list != 0);
}

#define AMONG(status, ...) among(status, (const int[]){ __VA_ARGS__, 0 })

static void *allocate_some(void *user, size_t bytes)
{
    unsigned *const left = user;
    return *left == 0 ? NULL : (--*left, malloc(bytes));
}

static void release_some(void *user, void *memory)
{
    (void)user;
    free(memory);
}

/* ---- results ------------------------------------------------------------------------------------ */

static const int32_t *logits_of(size_t m, unsigned number)
{
    if (!models[m].known[number]) {
        iviti_session *session = NULL;
        const iviti_image image = picture(number);
        const iviti_session_options options = { .isa = IVITI_ISA_REF };
        FUZZ_PROMISE(iviti_session_create(models[m].model, &options, &session) == IVITI_OK &&
                     iviti_session_run(session, &image) == IVITI_OK);
        memcpy(models[m].logits[number], iviti_session_logits(session),
               models[m].info.classes * sizeof(int32_t));
        iviti_session_free(session);
        models[m].known[number] = true;
    }
    return models[m].logits[number];
}

static void check_results(const slot *s)
{
    const int32_t *const logits = iviti_session_logits(s->session);
    FUZZ_PROMISE(iviti_session_count(s->session) == s->pictures);
    FUZZ_PROMISE((logits != NULL) == (s->pictures > 0));
    FUZZ_PROMISE((iviti_session_features(s->session) != NULL) == (s->pictures > 0));
    FUZZ_PROMISE((iviti_session_pixels(s->session) != NULL) == (s->pictures > 0));
    const size_t classes = models[s->model].info.classes;
    for (size_t i = 0; i < s->pictures; i++)
        if (s->picture[i] < PICTURES)
            FUZZ_PROMISE(memcmp(logits + i * classes, logits_of(s->model, s->picture[i]),
                                classes * sizeof *logits) == 0);
}

/* ---- calls -------------------------------------------------------------------------------------- */

static void create(calls *c, slot *s)
{
    static const iviti_isa sets[] = { IVITI_ISA_BEST,      IVITI_ISA_REF,  IVITI_ISA_AVX2,
                                      IVITI_ISA_AVXVNNI,   IVITI_ISA_NEON, IVITI_ISA_AVX512VNNI,
                                      (iviti_isa)9,        IVITI_ISA_I8MM };
    static const unsigned counts[] = { 0, 1, 2, 3, 1, 4, 65, 4000000000u };
    iviti_status said = IVITI_OK;
    unsigned allocations = take(c, 3);
    iviti_session_options o = { .log = { keep, &said },
                                .threads = counts[take(c, 8)],
                                .batch = counts[take(c, 8)],
                                .isa = sets[take(c, 8)] };
    const unsigned how = take(c, 8);
    const size_t m = take(c, MODELS);
    iviti_session *session = NULL;
    void *memory = NULL;
    iviti_status status;

    if (s->session != NULL)
        return;
    const size_t needed = iviti_session_bytes(models[m].model, &o);
    FUZZ_PROMISE((needed != 0) == (o.threads <= 64 && o.batch <= 64));
    if (how < 3) {
        const size_t bytes = how == 0 ? needed : how == 1 ? needed / 2 : 64;
        memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
        FUZZ_PROMISE(memory != NULL);
        status = iviti_session_create_in((char *)memory + (take(c, 8) == 1), bytes,
                                         models[m].model, &o, &session);
        AMONG(status, IVITI_ERROR_ARGUMENT, IVITI_ERROR_UNSUPPORTED, IVITI_ERROR_BUFFER);
        FUZZ_PROMISE(how == 0 || status != IVITI_OK);
    } else {
        o.allocator = (iviti_allocator){ how == 3 ? allocate_some : NULL,
                                         how == 3 || how == 4 ? release_some : NULL, &allocations };
        o.max_memory = how == 5 ? needed - 1 : how == 6 ? needed : 0;
        status = iviti_session_create(models[m].model, &o, &session);
        AMONG(status, IVITI_ERROR_ARGUMENT, IVITI_ERROR_UNSUPPORTED, IVITI_ERROR_LIMIT,
              IVITI_ERROR_MEMORY);
    }
    FUZZ_PROMISE(status == said && (status == IVITI_OK) == (session != NULL));
    if (status != IVITI_OK) {
        free(memory);
        return;
    }
    FUZZ_PROMISE(iviti_isa_available(iviti_session_isa(session)));
    *s = (slot){ session, m, o.batch > 0 ? o.batch : 1, memory, 0, { 0 } };
    /* The log's user pointer lives no longer: sessions that stay have none. */
    iviti_session_free(session);
    o.log.write = NULL;
    o.allocator = (iviti_allocator){ NULL, NULL, NULL };
    o.max_memory = 0;
    if (memory != NULL)
        status = iviti_session_create_in(memory, needed, models[m].model, &o, &s->session);
    else
        status = iviti_session_create(models[m].model, &o, &s->session);
    FUZZ_PROMISE(status == IVITI_OK);
}

static void destroy(slot *s)
{
    iviti_session_free(s->session);
    free(s->memory);
    *s = (slot){ .session = NULL };
}

/* Something about the picture that the library must refuse, or nothing. */
static iviti_image spoil(calls *c, iviti_image image, int *expected)
{
    *expected = IVITI_ERROR_ARGUMENT;
    switch (take(c, 24)) {
    case 1:
        image.pixels = NULL;
        break;
    case 2:
        image.stride = 3 * (ptrdiff_t)image.width - 1;
        break;
    case 3:
        image.stride = 0;
        break;
    case 4:
        *expected = IVITI_ERROR_IMAGE_SIZE;
        image.width = 0;
        break;
    case 5:
        *expected = IVITI_ERROR_IMAGE_SIZE;
        image.height = 65536;
        break;
    case 6:
        *expected = IVITI_ERROR_IMAGE_SIZE;
        image.width = image.height = 65535;
        break;
    default:
        *expected = IVITI_OK;
        break;
    }
    return image;
}

static void run(calls *c, slot *s)
{
    iviti_image images[BATCH + 1];
    unsigned numbers[BATCH];
    int worst = IVITI_OK;
    unsigned count = 1 + take(c, s->batch + 1);
    const bool batch = take(c, 2) != 0;
    if (!batch)
        count = 1;
    for (unsigned i = 0; i < count && i < BATCH; i++) {
        int expected;
        numbers[i] = take(c, PICTURES);
        images[i] = spoil(c, picture(numbers[i]), &expected);
        worst = worst == IVITI_OK ? expected : worst;
    }
    if (count > s->batch)
        worst = IVITI_ERROR_ARGUMENT;
    const iviti_status status = batch ? iviti_session_run_batch(s->session, images, count)
                                      : iviti_session_run(s->session, images);
    FUZZ_PROMISE((int)status == worst);
    if (status == IVITI_OK) {
        s->pictures = count;
        memcpy(s->picture, numbers, count * sizeof *numbers);
    }
    check_results(s);
}

/* Pixels that already have the model's size: compared with nothing, for no picture here has it. */
static void run_pixels(calls *c, slot *s)
{
    const iviti_model_info *const info = &models[s->model].info;
    const size_t row = 3 * (size_t)info->image_width;
    uint8_t *const own = malloc(row * info->image_height);
    FUZZ_PROMISE(own != NULL);
    for (size_t i = 0; i < row * info->image_height; i++)
        own[i] = (uint8_t)(i * (take(c, 255) + 1u));
    iviti_image image = { own, info->image_width, info->image_height, (ptrdiff_t)row };
    if (take(c, 2) == 1) { /* bottom up */
        image.pixels = own + row * (info->image_height - 1);
        image.stride = -(ptrdiff_t)row;
    }
    int expected;
    image = spoil(c, image, &expected);
    const iviti_status status = iviti_session_run_pixels(s->session, &image);
    FUZZ_PROMISE((int)status == expected);
    if (status == IVITI_OK) {
        s->pictures = 1;
        s->picture[0] = PICTURES;
        FUZZ_PROMISE(image.stride < 0 ||
                     memcmp(iviti_session_pixels(s->session), own, row * info->image_height) == 0);
    }
    check_results(s);
    free(own);
}

static void ask(calls *c, slot *s)
{
    iviti_class top[CLASSES + 2];
    size_t written = 99;
    const size_t which = take(c, 70), count = take(c, CLASSES + 2);
    const iviti_status status =
        iviti_session_top_of(s->session, which, count, top, take(c, 2) ? &written : NULL);
    AMONG(status, IVITI_ERROR_ARGUMENT, IVITI_ERROR_STATE);
    FUZZ_PROMISE(s->pictures > 0 || status != IVITI_OK);
    if (status == IVITI_OK && written != 99) {
        FUZZ_PROMISE(written <= count && written <= models[s->model].info.classes);
        for (size_t i = 1; i < written; i++)
            FUZZ_PROMISE(top[i - 1].logit >= top[i].logit);
    }
    check_results(s);
}

/* A model that is cut or whose file has one wrong byte, and memory that ends early. */
static void load(calls *c)
{
    const model_fixture *const f = &models[take(c, MODELS)].file;
    unsigned allocations = take(c, 4);
    iviti_status said = IVITI_OK;
    const iviti_load_options o = { .allocator = { allocate_some, release_some, &allocations },
                                   .log = { keep, &said },
                                   .max_memory = take(c, 3) * (size_t)3000,
                                   .skip_checksum = (int)take(c, 2) };
    size_t size = take(c, 4) != 0 ? f->size : (f->size * take(c, 255) + take(c, 255)) / 256;
    size = size > f->size ? f->size : size;
    uint8_t *const copy = fuzz_copy(f->image, size);
    if (size > 0 && take(c, 2) == 1)
        copy[(size * take(c, 255) + take(c, 255)) / 256 % size] ^= (uint8_t)(1 + take(c, 255));
    iviti_model *model = NULL;
    const iviti_status status = iviti_model_load_memory(copy, size, &o, &model);
    FUZZ_PROMISE(status == said && (status == IVITI_OK) == (model != NULL));
    if (status == IVITI_OK)
        FUZZ_PROMISE(iviti_model_label(model, take(c, 255)) != NULL);
    iviti_model_free(model);
    free(copy);
}

static void pass_nothing(calls *c, slot *s)
{
    iviti_session *session = NULL;
    iviti_class top;
    const iviti_model *const model = models[0].model;
    switch (take(c, 8)) {
    case 0:
        FUZZ_PROMISE(iviti_session_create(NULL, NULL, &session) == IVITI_ERROR_ARGUMENT &&
                     iviti_session_create(model, NULL, NULL) == IVITI_ERROR_ARGUMENT);
        break;
    case 1:
        FUZZ_PROMISE(iviti_session_create_in(NULL, 0, model, NULL, &session) ==
                     IVITI_ERROR_ARGUMENT);
        break;
    case 2:
        FUZZ_PROMISE(iviti_session_run(NULL, NULL) == IVITI_ERROR_ARGUMENT &&
                     iviti_session_run_pixels(s->session, NULL) == IVITI_ERROR_ARGUMENT);
        break;
    case 3:
        FUZZ_PROMISE(iviti_session_run_batch(s->session, NULL, 1) == IVITI_ERROR_ARGUMENT);
        break;
    case 4:
        FUZZ_PROMISE(iviti_session_top(NULL, 1, &top, NULL) == IVITI_ERROR_ARGUMENT &&
                     iviti_session_top(s->session, 1, NULL, NULL) != IVITI_OK);
        break;
    case 5:
        FUZZ_PROMISE(iviti_session_bytes(NULL, NULL) == 0 && iviti_session_logits(NULL) == NULL &&
                     iviti_session_count(NULL) == 0);
        break;
    case 6:
        FUZZ_PROMISE(iviti_model_load(NULL, NULL, NULL) == IVITI_ERROR_ARGUMENT &&
                     iviti_model_load_memory(NULL, 1, NULL, NULL) == IVITI_ERROR_ARGUMENT &&
                     iviti_model_load_source(NULL, NULL, NULL) == IVITI_ERROR_ARGUMENT);
        break;
    default:
        iviti_model_free(NULL);
        iviti_session_free(NULL);
        FUZZ_PROMISE(iviti_isa_name((iviti_isa)take(c, 255)) != NULL &&
                     iviti_status_text((iviti_status)take(c, 255)) != NULL);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    slot slots[SESSIONS] = { { .session = NULL } };
    calls c = { data, size };
    if (!ready)
        setup();
    ready = true;

    for (unsigned n = 0; n < 64 && c.left > 0; n++) {
        const unsigned what = take(&c, 8);
        slot *const s = &slots[take(&c, SESSIONS)];
        if (what == 6)
            load(&c);
        else if (what == 7)
            pass_nothing(&c, s);
        else if (s->session == NULL || what == 0)
            create(&c, s);
        else if (what == 1)
            destroy(s);
        else if (what == 2)
            ask(&c, s);
        else if (what == 3)
            run_pixels(&c, s);
        else
            run(&c, s);
    }
    for (size_t i = 0; i < SESSIONS; i++)
        destroy(&slots[i]);
    return 0;
}
