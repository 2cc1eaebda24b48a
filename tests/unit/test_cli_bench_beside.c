/* SPDX-License-Identifier: Apache-2.0
 *
 * iviti-bench --layers and --peers: the products that peers multiply are those of the model, the
 * layers' figures add up, and a build or a machine without oneDNN says so.
 */
#include "cli_run.h"

#include "cli_json.h"
#include "cli_model.h"

#include "bench/products.h"
#include "bench/timing.h"
#include "iviti/iviti.h"
#include "model/model.h"

#define COMMON                                                                                     \
    "model", "isa", "threads", "runs", "median_ms", "min_ms", "gmac", "gmac_per_s", "rss_mb",      \
        "load_ms", "session_ms", "computed_gmac"

static iviti_model *load(const char *path)
{
    iviti_model *model = NULL;

    assert_int_equal(iviti_model_load(path, NULL, &model), IVITI_OK);
    return model;
}

/* ---- products ------------------------------------------------------------------------------ */

static void products_are_all_the_arithmetic(void **state)
{
    static product_list list;

    (void)state;
    for (int kind = 0; kind < FIXTURE_KINDS; kind++) {
        const iviti_geometry g = fixture_geometry((fixture_kind)kind);
        const char *const path = cli_path("products.gguf");
        iviti_model_info info;

        assert_true(fixture_model(&g, 1, path));
        iviti_model *const model = load(path);
        iviti_model_describe(model, &info);
        products_of(&model->geometry, &list);
        assert_int_equal(products_macs(&list), info.macs);
        static const uint32_t pruning[] = { 0, 5, 1, 2 }; /* products of a stage, by its kind */
        assert_int_equal(list.count, 6 * model->geometry.depth + model->geometry.stages + 1 +
                                         model->geometry.convolutions +
                                         model->geometry.token_head +
                                         pruning[g.prune.kind] * g.prune.stages);
        iviti_model_free(model);
    }
}

static void assert_product(const product *p, uint32_t batch, uint32_t rows, uint32_t inner,
                           uint32_t columns, bool weights)
{
    assert_int_equal(p->batch, batch);
    assert_int_equal(p->rows, rows);
    assert_int_equal(p->inner, inner);
    assert_int_equal(p->columns, columns);
    assert_int_equal(p->weights, weights);
}

static void products_of_deit_tiny(void **state)
{
    static product_list list;
    iviti_geometry g = fixture_geometry(FIXTURE_VIT_TABLE);
    char text[256];

    (void)state;
    g.image_width = g.image_height = 224;
    g.patch = 16;
    g.classes = 1000;
    g.stage[0] = (iviti_stage){ .depth = 12, .dim = 192, .heads = 3, .hidden = 768 };
    assert_null(iviti_geometry_complete(&g, text, sizeof(text)));
    products_of(&g, &list);
    assert_int_equal(list.count, 74);
    assert_product(&list.item[0], 1, 196, 768, 192, true);
    assert_product(&list.item[67], 1, 197, 192, 576, true);
    assert_product(&list.item[68], 3, 197, 64, 197, false);
    assert_product(&list.item[69], 3, 197, 197, 64, false);
    assert_product(&list.item[70], 1, 197, 192, 192, true);
    assert_product(&list.item[71], 1, 197, 192, 768, true);
    assert_product(&list.item[72], 1, 197, 768, 192, true);
    assert_product(&list.item[73], 1, 1, 192, 1000, true);
}

static void products_of_swin_tiny(void **state)
{
    static product_list list;
    iviti_geometry g = fixture_geometry(FIXTURE_SWIN_TABLE);
    char text[256];

    (void)state;
    g.image_width = g.image_height = 224;
    g.patch = 4;
    g.stages = 4;
    for (uint32_t i = 0; i < 4; i++) {
        g.stage[i] = (iviti_stage){ .depth = i == 2 ? 6 : 2,
                                    .dim = 96u << i,
                                    .heads = 3u << i,
                                    .hidden = 384u << i,
                                    .window = 7 };
    }
    assert_null(iviti_geometry_complete(&g, text, sizeof(text)));
    products_of(&g, &list);
    assert_int_equal(list.count, 6 * 12 + 5);
    assert_product(&list.item[2], 64 * 3, 49, 32, 49, false);
    assert_product(&list.item[3], 64 * 3, 49, 49, 32, false);
    assert_product(&list.item[13], 1, 784, 384, 192, true); /* the first merge */
    assert_product(&list.item[72], 24, 49, 49, 32, false);  /* one window in the last stage */
    assert_product(&list.item[76], 1, 1, 768, g.classes, true);
}

/* ---- rounds -------------------------------------------------------------------------------- */

typedef struct player {
    char letter;
    char *log;
    unsigned left; /* runs until it fails */
} player;

static bool play(void *context)
{
    player *const p = context;

    p->log[strlen(p->log)] = p->letter;
    return p->left-- > 0;
}

static void contestants_take_turns(void **state)
{
    char log[64] = "";
    double seconds[2][3];
    player players[2] = { { 'a', log, 100 }, { 'b', log, 100 } };
    contestant all[2] = { { .run = play, .context = &players[0], .seconds = seconds[0] },
                          { .run = play, .context = &players[1], .seconds = seconds[1] } };
    timing_plan plan = { .rounds = 3, .least = 3, .patience = 0 };
    progress p;

    (void)state;
    progress_start(&p, "test", 3, true);
    assert_int_equal(timing_rounds(all, 2, &plan, &p), 3);
    assert_string_equal(log, "aabbaabbaabbaabb");
    for (size_t i = 0; i < 2; i++) {
        assert_true(all[i].fastest == seconds[i][0]);
        assert_true(all[i].median == seconds[i][1]);
        assert_true(seconds[i][0] <= seconds[i][1] && seconds[i][1] <= seconds[i][2]);
    }

    memset(log, 0, sizeof(log));
    plan.least = 1; /* and no patience for more */
    assert_int_equal(timing_rounds(all, 1, &plan, &p), 1);
    assert_string_equal(log, "aaa"); /* alone it stays warm */

    players[1].left = 3; /* its second turn fails */
    assert_int_equal(timing_rounds(all, 2, &plan, &p), 0);
    progress_end(&p);
}

static void the_median_is_in_the_middle(void **state)
{
    double odd[] = { 3, 1, 2 };
    double even[] = { 4, 1, 3, 2 };

    (void)state;
    assert_true(timing_median(odd, 3) == 2);
    assert_true(timing_median(even, 4) == 2.5);
    assert_true(timing_median(odd, 1) == 1);
}

/* ---- --layers ------------------------------------------------------------------------------ */

static const json_t *layer_of(json_t *object, const char *name)
{
    size_t i;
    json_t *layer;

    json_array_foreach(json_object_get(object, "layers"), i, layer)
    {
        if (strcmp(cli_string(layer, "name"), name) == 0) {
            return layer;
        }
    }
    return NULL;
}

/* Every layer of `names` and no other; the shares add up to one. Returns the calls of all kernels.
 */
static json_int_t check_layers(json_t *object, const char *const *names)
{
    size_t i;
    json_t *layer;
    json_int_t calls = 0;
    double share = 0, ms = 0;

    json_array_foreach(json_object_get(object, "layers"), i, layer)
    {
        assert_non_null(names[i]);
        CLI_KEYS(layer, "name", "ms", "share", "gmac_per_s", "calls");
        assert_string_equal(cli_string(layer, "name"), names[i]);
        assert_true(cli_number(layer, "ms") >= 0);
        ms += cli_number(layer, "ms");
        share += cli_number(layer, "share");
        calls += cli_integer(layer, "calls");
    }
    assert_null(names[i]);
    assert_true(share > 0.99 && share < 1.01);
    assert_true(ms > 0);
    return calls;
}

static void layers_of_a_vit(void **state)
{
    static const char *const NAMES[] = { "embed", "norm1", "qkv",  "attention", "proj",  "norm2",
                                         "fc1",   "fc2",   "norm", "head",      "other", NULL };
    const char *const path = cli_write_model("model.gguf");
    iviti_model *const model = load(path);
    const iviti_geometry *const g = &model->geometry;

    (void)state;
    cli_result result =
        CLI("iviti-bench", "--json", "--runs", "3", "--threads=2", "--layers", path);
    json_t *const object = cli_one_object(&result);
    CLI_KEYS(object, COMMON, "layers", "layers_ms", "resize_ms");
    /* per block: two norms, q, k and v, a head each, proj, fc1, fc2; beside embed, norm and head */
    assert_int_equal(check_layers(object, NAMES), 3 + g->depth * (8 + g->stage[0].heads));
    assert_int_equal(cli_integer((json_t *)(uintptr_t)layer_of(object, "qkv"), "calls"),
                     3 * g->depth);
    /* The last block computes queries, projection and MLP of the class token alone. */
    const uint64_t skipped = iviti_stage_tokens(g, 0) - g->prefix_tokens;
    const uint64_t dim = g->stage[0].dim;
    const uint64_t saved = skipped * (2 * dim * dim + 2 * dim * g->stage[0].hidden +
                                      2 * iviti_stage_tokens(g, 0) * dim);
    const double difference = cli_number(object, "gmac") - cli_number(object, "computed_gmac");
    const double expected = (double)saved / 1e9; /* of figures that have six places */
    assert_true(difference > expected - 1.1e-6 && difference < expected + 1.1e-6);
    assert_true(cli_number(object, "layers_ms") > 0);
    assert_true(cli_number(object, "resize_ms") > 0);
    json_decref(object);
    cli_free(&result);
    iviti_model_free(model);
}

static void layers_of_a_shift_model(void **state)
{
    static const char *const NAMES[] = { "embed", "norm1", "qkv",  "attention", "proj",
                                         "norm2", "fc1",   "gelu", "fc2",       "norm",
                                         "head",  "other", NULL };
    const iviti_geometry g = fixture_geometry(FIXTURE_VIT_SHIFT);
    const char *const path = cli_path("shift.gguf");

    (void)state;
    assert_true(fixture_model(&g, 1, path));
    cli_result result = CLI("iviti-bench", "--json", "--runs", "3", "--layers", path);
    json_t *const object = cli_one_object(&result);
    assert_true(check_layers(object, NAMES) > 0);
    json_decref(object);
    cli_free(&result);
}

static void layers_of_a_swin(void **state)
{
    static const char *const NAMES[] = { "embed", "embed_norm", "norm1", "qkv",   "attention",
                                         "proj",  "norm2",      "fc1",   "fc2",   "merge_norm",
                                         "merge", "norm",       "head",  "other", NULL };
    const iviti_geometry g = fixture_geometry(FIXTURE_SWIN_TABLE);
    const char *const path = cli_path("swin.gguf");

    (void)state;
    assert_true(fixture_model(&g, 1, path));
    cli_result result = CLI("iviti-bench", "--json", "--runs", "3", "--layers", path);
    json_t *const object = cli_one_object(&result);
    assert_true(check_layers(object, NAMES) > 0);
    assert_true(cli_number(object, "computed_gmac") == cli_number(object, "gmac"));
    json_decref(object);
    cli_free(&result);
}

static void people_get_bars(void **state)
{
    const char *const path = cli_write_model("model.gguf");

    (void)state;
    assert_int_equal(setenv("LC_ALL", "C", 1), 0);
    cli_result result = CLI("iviti-bench", "--runs=3", "--threads=1", "--layers", path);
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "\n  layer, on one thread ");
    cli_assert_holds(result.out, "\n  attention ");
    cli_assert_holds(result.out,
                     "  ########################"); /* the longest bar fills 80 columns */
    cli_free(&result);
    assert_int_equal(unsetenv("LC_ALL"), 0);
}

/* ---- --scaling, --beside ------------------------------------------------------------------- */

static void check_rival(json_t *object, const char *key, const char *name)
{
    const json_t *const rival = json_object_get(object, key);

    assert_non_null(rival);
    assert_string_equal(cli_string(rival, "name"), name);
    assert_true(cli_number(rival, "min_ms") > 0);
    assert_true(cli_number(rival, "min_ms") <= cli_number(rival, "median_ms"));
    const double quotient = cli_number(object, "median_ms") / cli_number(rival, "median_ms");
    assert_true(cli_number(rival, "ratio") > 0.98 * quotient - 0.001);
    assert_true(cli_number(rival, "ratio") < 1.02 * quotient + 0.001);
}

static void rivals_are_timed_in_turn(void **state)
{
    const iviti_geometry g = fixture_geometry(FIXTURE_VIT_DISTILLED); /* of other pixels */
    const char *const path = cli_write_model("model.gguf");
    const char *const other = cli_path("other.gguf");
    const char *const wrong = cli_write_text("wrong.gguf", "no model");

    (void)state;
    assert_true(fixture_model(&g, 1, other));
    cli_result result = CLI("iviti-bench", "--json", "--runs=3", "--threads=2", "--scaling",
                            "--beside", other, path);
    json_t *const object = cli_one_object(&result);
    check_rival(object, "one_thread", "one thread");
    check_rival(object, "beside", other);
    assert_null(json_object_get(object, "peers"));
    json_decref(object);
    cli_free(&result);
    result = CLI("iviti-bench", "--runs=3", "--scaling", "--beside", other, path);
    assert_int_equal(result.status, 0);
    cli_assert_holds(result.out, "\n  one thread ");
    cli_assert_holds(result.out, other);
    cli_free(&result);
    CLI_FAILS(1, CLI("iviti-bench", "--runs=3", "--beside", wrong, path), wrong);
}

/* ---- --peers ------------------------------------------------------------------------------- */

/* Runs iviti-bench without the leak sanitizer, which fails on threads of a library that is loaded
 * late. */
static cli_result run_peers(const char *path, const char *isa, const char *threads)
{
    const char *const options = getenv("ASAN_OPTIONS");
    const size_t length = options != NULL ? strlen(options) : 0;
    char kept[1024] = "";
    char changed[1100];

    assert_true(length < sizeof(kept));
    memcpy(kept, length > 0 ? options : "", length + 1);
    snprintf(changed, sizeof(changed), "%s%sdetect_leaks=0", kept, length > 0 ? ":" : "");
    assert_int_equal(setenv("ASAN_OPTIONS", changed, 1), 0);
    const cli_result result = CLI("iviti-bench", "--json", "--quiet", "--runs", "3", "--isa", isa,
                                  "--threads", threads, "--peers", path);
    assert_int_equal(length > 0 ? setenv("ASAN_OPTIONS", kept, 1) : unsetenv("ASAN_OPTIONS"), 0);
    return result;
}

/* True where oneDNN ran; otherwise the tool has said in one sentence that it is missing. */
static bool has_peers(cli_result *result)
{
    if (result->status == 0) {
        return true;
    }
    CLI_FAILS(1, *result, "oneDNN");
    print_message("no oneDNN here: the peers' figures are not looked at\n");
    return false;
}

static void check_peers(const char *path, const char *threads)
{
    static const char *const NAMES[] = { "onednn-u8s8-gemm", "onednn-f32-gemm" };
    size_t i;
    json_t *peer;
    cli_result result = run_peers(path, "best", threads);

    if (!has_peers(&result)) {
        skip();
        return; /* the compiler cannot know that skip() does not */
    }
    json_t *const object = cli_one_object(&result);
    CLI_KEYS(object, COMMON, "peers", "peers_engine");
    assert_int_equal(cli_integer(object, "runs"), 3);
    assert_int_equal(json_array_size(json_object_get(object, "peers")), 2);
    json_array_foreach(json_object_get(object, "peers"), i, peer)
    {
        CLI_KEYS(peer, "name", "median_ms", "min_ms", "gmac_per_s", "ratio");
        assert_string_equal(cli_string(peer, "name"), NAMES[i]);
        const double median = cli_number(peer, "median_ms");
        const double quotient = cli_number(object, "median_ms") / median;
        assert_true(cli_number(peer, "min_ms") > 0 && cli_number(peer, "min_ms") <= median);
        assert_true(cli_number(peer, "ratio") > 0.98 * quotient - 0.001);
        assert_true(cli_number(peer, "ratio") < 1.02 * quotient + 0.001);
    }
    cli_assert_holds(cli_string(object, "peers_engine"), "oneDNN ");
    json_decref(object);
    cli_free(&result);
}

static void peers_of_a_vit(void **state)
{
    (void)state;
    check_peers(cli_write_model("model.gguf"), "1");
    check_peers(cli_write_model("model.gguf"), "2");
}

static void peers_of_a_swin(void **state)
{
    const iviti_geometry g = fixture_geometry(FIXTURE_SWIN_TABLE);
    const char *const path = cli_path("swin.gguf");

    (void)state;
    assert_true(fixture_model(&g, 1, path));
    check_peers(path, "1");
}

static void peers_keep_to_the_instruction_set(void **state)
{
    const char *const path = cli_write_model("model.gguf");

    (void)state;
    if (!iviti_isa_available(IVITI_ISA_AVX2)) {
        print_message("no AVX2 here\n");
        skip();
    }
    cli_result result = run_peers(path, "avx2", "1");
    if (!has_peers(&result)) {
        skip();
        return; /* the compiler cannot know that skip() does not */
    }
    json_t *const object = cli_one_object(&result);
    const char *const engine = cli_string(object, "peers_engine");
    assert_string_equal(engine + strlen(engine) - strlen(", avx2"), ", avx2");
    json_decref(object);
    cli_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_all_the_arithmetic),
        cmocka_unit_test(products_of_deit_tiny),
        cmocka_unit_test(products_of_swin_tiny),
        cmocka_unit_test(contestants_take_turns),
        cmocka_unit_test(the_median_is_in_the_middle),
        cmocka_unit_test(layers_of_a_vit),
        cmocka_unit_test(layers_of_a_shift_model),
        cmocka_unit_test(layers_of_a_swin),
        cmocka_unit_test(people_get_bars),
        cmocka_unit_test(rivals_are_timed_in_turn),
        cmocka_unit_test(peers_of_a_vit),
        cmocka_unit_test(peers_of_a_swin),
        cmocka_unit_test(peers_keep_to_the_instruction_set),
    };
    return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
