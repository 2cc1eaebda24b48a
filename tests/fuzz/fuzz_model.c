/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files: load, and run what was loaded, so that every byte of every tensor is used.
 *
 * The input is loaded as it is, and once more with its checksum made right, so that changes are seen
 * behind it. What the reader accepts must run, and the fastest kernels must give the reference's bits.
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "iviti/iviti.h"
#include "kernels/ref/ref.h"
#include "model/gguf.h"
#include "model/schema.h"

/* Networks beyond this load but do not run: a thousandth of the inputs would take most of the time. */
#define MOST_MACS  (UINT64_C(1) << 25)
#define MOST_BYTES ((size_t)64 << 20)

typedef struct watch {
    unsigned sentences;
    iviti_status logged;
    size_t alive, bytes;
} watch;

static void keep(void *user, iviti_status status, const char *message)
{
    watch *const w = user;
    w->sentences++;
    w->logged = status;
    FUZZ_PROMISE(strlen(message) > 10 && strlen(message) < 512);
}

static void *allocate(void *user, size_t bytes)
{
    watch *const w = user;
    w->alive++;
    w->bytes += bytes;
    return malloc(bytes);
}

static void release(void *user, void *memory)
{
    watch *const w = user;
    w->alive--;
    free(memory);
}

static iviti_status load(const uint8_t *data, size_t size, watch *w, iviti_model **model)
{
    const iviti_load_options options = { .allocator = { allocate, release, w }, .log = { keep, w } };
    *model = NULL;
    const iviti_status status = iviti_model_load_memory(data, size, &options, model);

    FUZZ_PROMISE((status == IVITI_OK) == (*model != NULL));
    FUZZ_PROMISE(w->sentences == (status != IVITI_OK) && w->logged == status);
    FUZZ_PROMISE(w->alive == (status == IVITI_OK));
    /* What a file may ask for: padding to panels, and position biases spread over a window's pairs. */
    FUZZ_PROMISE(w->bytes <= ((size_t)16 << 20) + 600 * size);
    FUZZ_PROMISE(status != IVITI_ERROR_IO && status != IVITI_ERROR_ARGUMENT &&
                 strcmp(iviti_status_name(status), "?") != 0);
    return status;
}

static void run_set(const iviti_model *model, iviti_isa isa, const iviti_image *picture,
                    int32_t *logits)
{
    iviti_model_info info;
    iviti_session *session = NULL;
    iviti_class top[3];
    size_t written = 0;
    iviti_model_describe(model, &info);
    FUZZ_PROMISE(iviti_session_create(model, &(iviti_session_options){ .isa = isa }, &session) ==
                 IVITI_OK);
    FUZZ_PROMISE(iviti_session_run(session, picture) == IVITI_OK);
    FUZZ_PROMISE(iviti_session_top(session, 3, top, &written) == IVITI_OK);
    for (size_t i = 0; i < written; i++)
        FUZZ_PROMISE(top[i].index < info.classes && top[i].probability <= 65536);
    memcpy(logits, iviti_session_logits(session), info.classes * sizeof *logits);
    iviti_session_free(session);
}

static void run(const iviti_model *model, uint64_t hash)
{
    static uint8_t pixels[40 * 24 * 3];
    iviti_model_info info;
    iviti_model_describe(model, &info);
    for (uint32_t i = 0; i < info.classes && i < 3; i++)
        FUZZ_PROMISE(iviti_model_label(model, i) != NULL);
    if (info.macs > MOST_MACS || iviti_session_bytes(model, NULL) > MOST_BYTES)
        return;
    for (size_t i = 0; i < sizeof pixels; i++) {
        hash = hash * 6364136223846793005u + 1442695040888963407u;
        pixels[i] = hash >> 62 == 0 ? (uint8_t)(hash >> 63 ? 255 : 0) : (uint8_t)(hash >> 40);
    }
    const iviti_image picture = { pixels, 40, 24, 40 * 3 };
    int32_t *const slow = malloc(info.classes * sizeof *slow);
    int32_t *const fast = malloc(info.classes * sizeof *fast);
    FUZZ_PROMISE(slow != NULL && fast != NULL);
    run_set(model, IVITI_ISA_REF, &picture, slow);
    run_set(model, IVITI_ISA_BEST, &picture, fast);
    FUZZ_PROMISE(memcmp(slow, fast, info.classes * sizeof *slow) == 0);
    free(slow);
    free(fast);
}

/* Whether the four bytes at IVITI_CHECKSUM_OFFSET are those of the checksum: elsewhere a change there is a
 * change of the file's structure. */
static bool has_checksum(const uint8_t *data, size_t size)
{
    static const char key[] = IVITI_CHECKSUM_KEY;
    const size_t length = sizeof key - 1;
    if (size < IVITI_CHECKSUM_OFFSET + 4)
        return false;
    const uint8_t *const type = data + IVITI_CHECKSUM_OFFSET - 4, *const name = type - length;
    return iviti_get_u32(type) == IVITI_GGUF_U32 && memcmp(name, key, length) == 0 &&
           iviti_get_u64(name - 8) == length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iviti_model *model;
    watch w = { 0 };
    const iviti_status as_it_is = load(data, size, &w, &model);
    iviti_model_free(model);
    FUZZ_PROMISE(w.alive == 0);
    if (!has_checksum(data, size)) {
        FUZZ_PROMISE(as_it_is != IVITI_OK);
        return 0;
    }

    uint8_t *const sealed = fuzz_copy(data, size);
    iviti_put_u32(sealed + IVITI_CHECKSUM_OFFSET, 0);
    iviti_put_u32(sealed + IVITI_CHECKSUM_OFFSET, iviti_crc32c_ref(0, sealed, size));
    w = (watch){ 0 };
    const iviti_status status = load(sealed, size, &w, &model);
    free(sealed);
    FUZZ_PROMISE(status != IVITI_ERROR_CHECKSUM);
    FUZZ_PROMISE(as_it_is == status || as_it_is == IVITI_ERROR_CHECKSUM);
    if (status == IVITI_OK)
        run(model, fuzz_hash(data, size));
    iviti_model_free(model);
    FUZZ_PROMISE(w.alive == 0);
    return 0;
}
