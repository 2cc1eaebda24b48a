/* SPDX-License-Identifier: Apache-2.0
 *
 * libiviti: Vision Transformers in integer arithmetic alone.
 *
 * The whole of it, in the order in which a program uses it:
 *
 *     iviti_model *model = NULL;
 *     iviti_session *session = NULL;
 *     iviti_class best;
 *
 *     if (iviti_model_load("digits-vit.gguf", NULL, &model) == IVITI_OK &&
 *         iviti_session_create(model, NULL, &session) == IVITI_OK &&
 *         iviti_session_run(session, &(iviti_image){ pixels, width, height, 3 * width }) == IVITI_OK &&
 *         iviti_session_top(session, 1, &best, NULL) == IVITI_OK)
 *         puts(iviti_model_label(model, best.index));
 *     iviti_session_free(session);
 *     iviti_model_free(model);
 *
 * A model never changes after it is loaded: any number of threads may share one. A session holds the
 * memory of one run: use one per thread of your program. Running allocates nothing. Nothing in the
 * library aborts, exits, prints, keeps global state, or executes a floating-point instruction; the
 * logits of a picture are the same bits on every processor, instruction set and thread count.
 *
 * Every function that can fail returns an iviti_status. Output parameters are written only on
 * success. Sizes are size_t and in bytes unless a name says otherwise.
 */
#ifndef IVITI_IVITI_H
#define IVITI_IVITI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(IVITI_SHARED)
#define IVITI_API __declspec(dllimport)
#elif defined(__GNUC__)
#define IVITI_API __attribute__((visibility("default")))
#else
#define IVITI_API
#endif

#define IVITI_VERSION_MAJOR 0
#define IVITI_VERSION_MINOR 1
#define IVITI_VERSION_PATCH 0

/* ---- status ------------------------------------------------------------------------------- */

/* What can go wrong. The tens name the family; the numbers never change their meaning. */
typedef enum iviti_status {
    IVITI_OK = 0,

    IVITI_ERROR_ARGUMENT = 10,       /* an argument breaks its documented contract */
    IVITI_ERROR_IMAGE_SIZE = 11,     /* picture with no pixels, or with a side above the limit */

    IVITI_ERROR_NOT_A_MODEL = 20,    /* the bytes are not a GGUF file */
    IVITI_ERROR_TRUNCATED = 21,      /* the file ends before its own description does */
    IVITI_ERROR_CORRUPT = 22,        /* a field, tensor or value contradicts the format */
    IVITI_ERROR_CHECKSUM = 23,       /* the bytes are not those that were written */
    IVITI_ERROR_RANGE = 24,          /* a constant that could overflow the integer arithmetic */

    IVITI_ERROR_VERSION = 30,        /* a format version that this library does not know */
    IVITI_ERROR_ARCHITECTURE = 31,   /* a GGUF file of another architecture */
    IVITI_ERROR_UNSUPPORTED = 32,    /* a feature, operator or instruction set not available here */

    IVITI_ERROR_LIMIT = 40,          /* larger than a documented limit or the caller's budget */

    IVITI_ERROR_MEMORY = 50,         /* the allocator returned nothing */
    IVITI_ERROR_BUFFER = 51,         /* the caller's buffer is too small */

    IVITI_ERROR_IO = 60,             /* the file cannot be opened or read */

    IVITI_ERROR_STATE = 70,          /* results asked for before the first run */
    IVITI_ERROR_THREAD = 71          /* a worker thread cannot be started */
} iviti_status;

/* The constant's name, "IVITI_ERROR_TRUNCATED"; never NULL. */
IVITI_API const char *iviti_status_name(iviti_status status);

/* One sentence in plain words; never NULL. */
IVITI_API const char *iviti_status_text(iviti_status status);

/* "0.1.0", of the library linked (not of this header). */
IVITI_API const char *iviti_version(void);

/* ---- what the caller may provide ------------------------------------------------------------ */

/* Where memory comes from. Both functions are called from the thread that calls the library;
 * allocate() returns memory aligned to at least 16 bytes, or NULL. */
typedef struct iviti_allocator {
    void *(*allocate)(void *user, size_t bytes);
    void (*release)(void *user, void *memory);
    void *user;
} iviti_allocator;

/* Receives one sentence that names the field, its value and the limit, before a call returns an
 * error. `message` is valid during the call only. */
typedef struct iviti_log {
    void (*write)(void *user, iviti_status status, const char *message);
    void *user;
} iviti_log;

/* A model file that is not a path: `read` fills up to `bytes` bytes and returns how many it filled,
 * in order from the first to the last; 0 means end or failure. `size` is the whole length. */
typedef struct iviti_source {
    size_t (*read)(void *user, void *buffer, size_t bytes);
    void *user;
    uint64_t size;
} iviti_source;

/* Zero-initialise, then set what you need: all zeros are the defaults. */
typedef struct iviti_load_options {
    iviti_allocator allocator; /* default: malloc and free */
    iviti_log log;             /* default: none */
    size_t max_memory;         /* refuse a model that needs more; 0: no limit but the format's */
    int skip_checksum;         /* do not verify the file's CRC-32C */
} iviti_load_options;

/* Instruction sets, all bit-identical. IVITI_ISA_BEST takes the fastest that this processor has. */
typedef enum iviti_isa {
    IVITI_ISA_BEST = 0,
    IVITI_ISA_REF = 1,        /* plain C */
    IVITI_ISA_AVX2 = 10,
    IVITI_ISA_AVXVNNI = 11,
    IVITI_ISA_AVX512VNNI = 12,
    IVITI_ISA_NEON = 20,
    IVITI_ISA_DOTPROD = 21,
    IVITI_ISA_I8MM = 22
} iviti_isa;

/* "ref", "avx2", ...; "?" for a value that is none. */
IVITI_API const char *iviti_isa_name(iviti_isa isa);

/* The set of that name, or -1. "best" gives IVITI_ISA_BEST. */
IVITI_API int iviti_isa_from_name(const char *name);

/* 1 if this processor and this build have it. */
IVITI_API int iviti_isa_available(iviti_isa isa);

/* Zero-initialise, then set what you need: all zeros are the defaults. */
typedef struct iviti_session_options {
    iviti_allocator allocator; /* default: malloc and free */
    iviti_log log;             /* default: none */
    size_t max_memory;         /* refuse to need more; 0: no limit */
    unsigned threads;          /* 1 to 64; 0: 1. Threads beyond the first belong to the session */
    unsigned batch;            /* pictures that may run together, 1 to 64; 0: 1 */
    iviti_isa isa;             /* at most this instruction set */
    int attention;             /* record what iviti_session_attention() gives; costs time */
} iviti_session_options;

/* ---- models --------------------------------------------------------------------------------- */

typedef struct iviti_model iviti_model;

/* Reads and checks a model file, models/FORMAT.md.
 *
 * [in]  path     a file of at most 2 GiB
 * [in]  options  NULL for the defaults
 * [out] model    the caller's until iviti_model_free; untouched on failure
 *
 * Returns IVITI_OK, IO, NOT_A_MODEL, TRUNCATED, CORRUPT, CHECKSUM, RANGE, VERSION, ARCHITECTURE,
 * UNSUPPORTED, LIMIT, MEMORY or ARGUMENT. The file is not kept open and may change afterwards. */
IVITI_API iviti_status iviti_model_load(const char *path, const iviti_load_options *options,
                                        iviti_model **model);

/* The same from memory; `data` is not needed after the call. */
IVITI_API iviti_status iviti_model_load_memory(const void *data, size_t size,
                                               const iviti_load_options *options,
                                               iviti_model **model);

/* The same from a function that delivers the file's bytes in order. */
IVITI_API iviti_status iviti_model_load_source(const iviti_source *source,
                                               const iviti_load_options *options,
                                               iviti_model **model);

/* Frees a model no session of which is left. NULL is allowed. */
IVITI_API void iviti_model_free(iviti_model *model);

typedef struct iviti_model_info {
    const char *architecture;   /* "vit" or "swin" */
    uint32_t image_width;       /* pixels the network sees, after resize and crop */
    uint32_t image_height;
    uint32_t patch_size;
    uint32_t depth;             /* transformer blocks, all stages */
    uint32_t dim;               /* embedding width, of the first stage */
    uint32_t classes;           /* logits per picture */
    uint32_t features;          /* width of the final features */
    uint32_t tokens;            /* tokens entering the first block, prefix tokens included */
    uint32_t prefix_tokens;     /* class and distillation tokens; 0 where tokens are averaged */
    uint64_t parameters;        /* weights, biases and position table entries */
    uint64_t macs;              /* multiply-accumulates of one forward pass */
    uint32_t logits_multiplier; /* logit in natural units = integer * multiplier / 2^shift */
    uint32_t logits_shift;
    size_t memory;              /* bytes held by the model */
    uint32_t grid_width;        /* patches of a row of the picture, and rows of patches */
    uint32_t grid_height;
    uint32_t prune_stages;      /* where tokens are left out or merged; 0: nowhere */
} iviti_model_info;

/* Fills `info`; its strings live as long as the model. */
IVITI_API void iviti_model_describe(const iviti_model *model, iviti_model_info *info);

/* The class's name in UTF-8, or "" where the file has no names or no such class. Lives as long as
 * the model. */
IVITI_API const char *iviti_model_label(const iviti_model *model, uint32_t index);

/* ---- sessions ------------------------------------------------------------------------------- */

typedef struct iviti_session iviti_session;

/* RGB, 8 bits a channel, rows of 3 * width bytes that begin `stride` bytes apart (stride may be
 * larger than a row, or negative for pictures stored bottom-up: `pixels` is the top row). */
typedef struct iviti_image {
    const uint8_t *pixels;
    uint32_t width; /* 1 to 65535, height alike; width * height at most 2^28 */
    uint32_t height;
    ptrdiff_t stride;
} iviti_image;

/* Bytes that a session of these options takes, or 0 if the options are not valid. */
IVITI_API size_t iviti_session_bytes(const iviti_model *model,
                                     const iviti_session_options *options);

/* Allocates one block, plans it, and starts the threads. The model must outlive the session.
 * Returns IVITI_OK, ARGUMENT, UNSUPPORTED (instruction set), LIMIT, MEMORY or THREAD. */
IVITI_API iviti_status iviti_session_create(const iviti_model *model,
                                            const iviti_session_options *options,
                                            iviti_session **session);

/* The same in the caller's memory of at least iviti_session_bytes() bytes, aligned to 64; the
 * memory stays the caller's and may be reused after iviti_session_free(). */
IVITI_API iviti_status iviti_session_create_in(void *memory, size_t bytes,
                                               const iviti_model *model,
                                               const iviti_session_options *options,
                                               iviti_session **session);

/* NULL is allowed. */
IVITI_API void iviti_session_free(iviti_session *session);

/* The instruction set in use. */
IVITI_API iviti_isa iviti_session_isa(const iviti_session *session);

/* Resizes and crops the picture as the model file says (bit for bit as Pillow does), then runs the
 * network. Returns IVITI_OK, ARGUMENT or IMAGE_SIZE. */
IVITI_API iviti_status iviti_session_run(iviti_session *session, const iviti_image *image);

/* Runs the network on pixels that already have the model's width and height. */
IVITI_API iviti_status iviti_session_run_pixels(iviti_session *session, const iviti_image *pixels);

/* Runs `count` pictures together, 1 to options.batch: fewer meetings of the threads for each picture,
 * and the same bits as one by one. Where one picture is refused none runs, and the results of the
 * last run stay. Returns IVITI_OK, ARGUMENT or IMAGE_SIZE. */
IVITI_API iviti_status iviti_session_run_batch(iviti_session *session, const iviti_image *images,
                                               size_t count);

/* ---- results of the last run ---------------------------------------------------------------- */

/* Pictures of the last run; 0 before the first. */
IVITI_API size_t iviti_session_count(const iviti_session *session);

/* int32 logits (count, classes), all at one scale; NULL before the first run. Valid until the next. */
IVITI_API const int32_t *iviti_session_logits(const iviti_session *session);

/* s8 features (count, info.features) that enter the classifier; NULL before the first run. Their
 * scale differs from channel to channel but is the same for every picture. */
IVITI_API const int8_t *iviti_session_features(const iviti_session *session);

/* RGB8 pixels (count, image_height, image_width, 3) that entered the network; NULL before the first
 * run. */
IVITI_API const uint8_t *iviti_session_pixels(const iviti_session *session);

typedef struct iviti_class {
    uint32_t index;
    int32_t logit;
    uint32_t probability; /* softmax over all classes, in units of 2^-16 */
} iviti_class;

/* The `count` most likely classes of the first picture, best first, ties to the lower index.
 * [out] top      (count) entries; those beyond the number of classes stay untouched
 * [out] written  how many were written; may be NULL
 * Returns IVITI_OK, ARGUMENT or STATE. */
IVITI_API iviti_status iviti_session_top(const iviti_session *session, size_t count,
                                         iviti_class *top, size_t *written);

/* The same of picture `picture` of a batch, counted from 0. */
IVITI_API iviti_status iviti_session_top_of(const iviti_session *session, size_t picture,
                                            size_t count, iviti_class *top, size_t *written);

/* The patches of the first picture that are left after stage `stage` of pruning (counted from 0, below
 * info.prune_stages): their numbers in the grid, row by row, ascending. A token into which others
 * were merged stands for its own patch; one fused of all that were left out has no number.
 * [out] count    how many
 * Valid until the next run. NULL before the first, or where there is no such stage. */
IVITI_API const uint32_t *iviti_session_kept(const iviti_session *session, uint32_t stage,
                                             size_t *count);

/* The same of picture `picture` of a batch, counted from 0. */
IVITI_API const uint32_t *iviti_session_kept_of(const iviti_session *session, size_t picture,
                                                uint32_t stage, size_t *count);

/* How much the class token of picture `picture` attends to each patch in block `block`: (grid_height,
 * grid_width), the mean over all heads in units of 2^-16, where 65535 stands for 1, too. Patches
 * that were left out before have 0; those merged into one token share its attention equally.
 * Valid until the next run. NULL before the first, without options.attention, for a model without a
 * class token, or where there is no such picture or block. */
IVITI_API const uint16_t *iviti_session_attention(const iviti_session *session, size_t picture,
                                                  uint32_t block);

#ifdef __cplusplus
}
#endif

#endif
