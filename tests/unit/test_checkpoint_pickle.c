/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle machine: opcodes, globals, calls, and everything that it must not do.
 */
#include "checkpoint_pickles.h"

/* ---- what must be read ----------------------------------------------------------------------- */

static void finds_the_state_dict(void **state)
{
    (void)state;
    static const char *const names[] = { "model", "state_dict", "model_state_dict" };
    for (size_t i = 0; i < 3; i++) {
        bytes b = { 0 };
        op_proto(&b);
        put_text(&b, "}(");
        op_string(&b, "epoch");
        op_int(&b, 29);
        op_string(&b, "lr");
        put(&b, "G\x3F\xB9\x99\x99\x99\x99\x99\x9A", 9);
        op_string(&b, names[i]);
        op_ordered_dict(&b);
        put_items(&b, &floats);
        op_string(&b, "optimizer");
        put_text(&b, "}("); /* {0: {"step": 1, "x": [None, True]}, 1: ()} */
        op_int(&b, 0);
        put_text(&b, "}(");
        op_string(&b, "step");
        op_int(&b, 1);
        op_string(&b, "x");
        put_text(&b, "](N\x88");
        put_text(&b, "eu");
        op_int(&b, 1);
        put_text(&b, ")uu.");
        checkpoint *c = load(&b);
        assert_string_equal(c->container, "pytorch zip");
        assert_int_equal(c->count, 2);
        must_hold(c, "a", (const float[]){ 0, 1, 2, 3, 4, 5 }, 6);
        must_hold(c, "b", (const float[]){ -7 }, 1);
        checkpoint_close(c);
    }
}

static void follows_the_memo(void **state)
{
    (void)state;
    bytes b = { 0 };
    op_proto(&b);
    put_text(&b, "}q");
    put_number(&b, 0, 1);
    put_items(&b, &floats);
    op_string(&b, "c");
    put_text(&b, "r");
    put_number(&b, 1, 4);
    op_tensor(&b, &floats);
    put_text(&b, "s");
    op_string(&b, "self"); /* the dict in itself costs nothing */
    put_text(&b, "h");
    put_number(&b, 0, 1);
    put_text(&b, "s");
    op_string(&b, "name");
    put_text(&b, "j");
    put_number(&b, 1, 4);
    put_text(&b, "s.");
    checkpoint *c = load(&b);
    assert_int_equal(c->count, 3);
    checkpoint_close(c);
}

static void reads_every_form_of_integer_and_string(void **state)
{
    (void)state;
    bytes b = { 0 };
    op_proto(&b);
    put_text(&b, "}");
    put_items(&b, &floats);
    put(&b, "U\x05short", 7);
    op_global(&b, "torch._utils", "_rebuild_tensor_v2");
    op(&b, '(');
    op_storage(&b, "FloatStorage", "0", 6, false);
    put(&b, "\x8A\x00", 2);                         /* LONG1 of no bytes: 0 */
    put(&b, "M\x03\x00K\x02\x86", 6);               /* (3, 2) */
    put(&b, "\x8A\x01\x02\x8A\x02\x01\x00\x86", 8); /* (2, 1) */
    put(&b, "\x89", 1);
    op_ordered_dict(&b);
    put_text(&b, "NtRs.");
    checkpoint *c = load(&b);
    must_hold(c, "short", (const float[]){ 0, 1, 2, 3, 4, 5 }, 6);
    assert_int_equal(checkpoint_find(c, "short")->shape[0], 3);
    checkpoint_close(c);
}

/* ---- what must be refused -------------------------------------------------------------------- */

static void refuses_globals_and_runs_nothing(void **state)
{
    (void)state;
    static const char *const globals[][2] = {
        { "os", "system" },
        { "posix", "system" },
        { "builtins", "eval" },
        { "__builtin__", "exec" },
        { "subprocess", "Popen" },
        { "argparse", "Namespace" },
        { "numpy.core.multiarray", "scalar" },
        { "torch._utils", "_rebuild_tensor" },
        { "torch._utils", "_rebuild_tensor_v3" },
        { "torch._utils", "_rebuild_qtensor" },
        { "torch._utils", "_rebuild_sparse_tensor" },
        { "torch.storage", "UntypedStorage" },
        { "torch", "ComplexFloatStorage" },
        { "torch", "QInt8Storage" },
        { "torch", "load" },
        { "torch.hub", "load" },
        { "collections", "OrderedDict " },
        { "collections", "ordereddict" },
        { "collections.OrderedDict", "" },
        { "", "OrderedDict" },
        { "collections", "defaultdict" },
    };
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "save model.state_dict() only: found global %s.%s",
                 globals[i][0], globals[i][1]);
        bytes b = { 0 };
        op_proto(&b);
        op_global(&b, globals[i][0], globals[i][1]);
        op_string(&b, "touch iviti-was-here");
        put(&b, "\x85R.", 3);
        refuse(&b, expected);
    }
    assert_null(fopen("iviti-was-here", "rb"));
}

static void refuses_opcodes_by_name(void **state)
{
    (void)state;
    static const struct {
        uint8_t opcode;
        const char *name;
    } cases[] = {
        { 0x93, "STACK_GLOBAL" }, { 'i', "INST" },       { 'o', "OBJ" },
        { 0x81, "NEWOBJ" },       { 0x92, "NEWOBJ_EX" }, { 0x82, "EXT1" },
        { 0x83, "EXT2" },         { 0x84, "EXT4" },      { 'P', "PERSID" },
        { 0x94, "MEMOIZE" },      { 0x95, "FRAME" },     { 0x8C, "SHORT_BINUNICODE" },
        { 0x8D, "BINUNICODE8" },  { 'B', "BINBYTES" },   { 0x8B, "LONG4" },
        { '0', "POP" },           { '1', "POP_MARK" },   { '2', "DUP" },
        { 'l', "LIST" },          { 'd', "DICT" },       { 0x8F, "EMPTY_SET" },
        { 0x91, "FROZENSET" },    { 'I', "INT" },        { 'L', "LONG" },
        { 'F', "FLOAT" },         { 'S', "STRING" },     { 'T', "BINSTRING" },
        { 'V', "UNICODE" },       { 'g', "GET" },        { 'p', "PUT" },
        { 0x80, "unknown" },      { 0x00, "unknown" },   { 0xFF, "unknown" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "data.pkl, byte 4: opcode 0x%02x (%s) is not allowed",
                 (unsigned)cases[i].opcode, cases[i].name);
        bytes b = { 0 };
        op_proto(&b);
        put_text(&b, "}}");
        put(&b, &cases[i].opcode, 1);
        put_text(&b, "os\nsystem\n.");
        refuse(&b, expected);
    }
    /* STACK_GLOBAL as it is used: the names come from the stack. */
    refuse_raw(RAW("X\x02\0\0\0osX\x06\0\0\0system\x93X\x04\0\0\0true\x85R."), "STACK_GLOBAL");
}

static const struct {
    const char *raw;
    size_t size;
    const char *expected;
} broken_machines[] = {
    { RAW("."), "STOP with 0 values" },
    { RAW("NN."), "STOP with 2 values" },
    { RAW("N(."), "STOP with 1 values and 1 marks" },
    { RAW("(N."), "STOP with 1 values and 1 marks" },
    { RAW("N"), "cut short" },
    { RAW("}.N"), "data.pkl has 1 bytes after its end" },
    { RAW("N."), "holds no dict" },
    { RAW("]."), "holds no dict" },
    { RAW("K\x01."), "holds no dict" },
    /* the stack */
    { RAW("R."), "empty stack" },
    { RAW("NR."), "empty stack" },
    { RAW("b."), "empty stack" },
    { RAW("Q."), "empty stack" },
    { RAW("q\x00."), "empty stack" },
    { RAW("(q\x00."), "empty stack" },
    { RAW("\x85."), "a tuple of 1 from an empty stack" },
    { RAW("N\x86."), "a tuple of 2 from an empty stack" },
    { RAW("NN(N\x87."), "a tuple of 3 from an empty stack" },
    { RAW("s."), "empty stack" },
    { RAW("Ns."), "empty stack" },
    { RAW("NNs."), "a dict that is missing" },
    { RAW("}(NNs."), "a dict that is missing" },
    { RAW("a."), "empty stack" },
    { RAW("Na."), "a list that is missing" },
    { RAW("](Na."), "a list that is missing" },
    { RAW("N(R."), "empty stack" },
    { RAW("t."), "no open mark" },
    { RAW("e."), "no open mark" },
    { RAW("}u."), "no open mark" },
    { RAW("(u."), "a dict that is missing" },
    { RAW("(NNu."), "a dict that is missing" },
    { RAW("(e."), "a list that is missing" },
    /* targets of the wrong kind */
    { RAW("](K\x01Nu."), "not a dict" },
    { RAW("}(Ne."), "not a list" },
    { RAW("}Na."), "not a list" },
    { RAW("NK\x01Ns."), "not a dict" },
    { RAW(")(K\x01Nu."), "not a dict" },
    { RAW("}(K\x01u."), "a key without a value" },
    { RAW("}NNs."), "neither a string nor an integer" },
    { RAW("})Ns."), "neither a string nor an integer" },
    { RAW("}\x88Ns."), "neither a string nor an integer" },
    { RAW("}K\x01Ns]b."), "BUILD of something" },
    { RAW("}}b."), "BUILD of something" },
    { RAW("ccollections\nOrderedDict\n)RNb."), "BUILD of something" },
    { RAW("N)R."), "REDUCE of something" },
    { RAW("})R."), "REDUCE of something" },
    { RAW("ccollections\nOrderedDict\nNR."), "REDUCE of something" },
    { RAW("ccollections\nOrderedDict\n]R."), "REDUCE of something" },
    { RAW("ctorch\nFloatStorage\n)R."), "REDUCE of torch.FloatStorage" },
    { RAW("ccollections\nOrderedDict\nN\x85R."), "OrderedDict with arguments" },
    /* keys twice */
    { RAW("}(K\x01NK\x01Nu."), "the key 1 twice" },
    { RAW("}K\x01NsK\x01Ns."), "the key 1 twice" },
    { RAW("}(X\x01\0\0\0aNX\x01\0\0\0aNu."), "the key 'a' twice" },
    { RAW("}(U\x01"
          "aNX\x01\0\0\0aNu."),
      "the key 'a' twice" },
    /* the memo */
    { RAW("h\x00."), "memo entry 0 is read, 0 exist" },
    { RAW("Nq\x00h\x01."), "memo entry 1 is read, 1 exist" },
    { RAW("Nq\x00j\xFF\xFF\xFF\xFF."), "memo entry 4294967295 is read" },
    { RAW("Nq\x01."), "memo entry 1 is written out of order" },
    { RAW("Nq\x00q\x00."), "memo entry 0 is written out of order" },
    { RAW("Nq\x00q\x02."), "memo entry 2 is written out of order" },
    { RAW("Nr\xFF\xFF\xFF\xFF."), "memo entry 4294967295 is written out of order" },
    /* arguments that are cut short or too long */
    { RAW("q"), "cut short" },
    { RAW("r\x00\x00"), "cut short" },
    { RAW("h"), "cut short" },
    { RAW("J\x01"), "cut short" },
    { RAW("G\x01"), "cut short" },
    { RAW("\x8A"), "cut short" },
    { RAW("\x8A\x08\x01"), "cut short" },
    { RAW("\x8A\x09"
          "123456789."),
      "an integer of 9 bytes, the limit is 8" },
    { RAW("\x8A\xFF."), "an integer of 255 bytes" },
    { RAW("X\x05\0\0\0a."), "cut short" },
    { RAW("X\xFF\xFF\xFF\xFF."), "a string of 4294967295 bytes, the limit is 4096" },
    { RAW("X\x01\x10\0\0."), "a string of 4097 bytes, the limit is 4096" },
    { RAW("U\x05"
          "a."),
      "cut short" },
    { RAW("X\x01\0\0\0\xFF."), "not UTF-8" },
    { RAW("X\x02\0\0\0\xC0\x80."), "not UTF-8" },
    { RAW("X\x01\0\0\0\0."), "holds a NUL" },
    { RAW("cos"), "does not end within 64 bytes" },
    { RAW("cos\nsystem"), "does not end within 64 bytes" },
    { RAW("caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nx\n."),
      "does not end within 64 bytes" },
};

static void refuses_broken_machines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken_machines / sizeof broken_machines[0]; i++) {
        refuse_raw(broken_machines[i].raw, broken_machines[i].size, broken_machines[i].expected);
    }
}

/* `count` times the same bytes, then a STOP. */
static void refuse_repeated(const char *first, const char *repeated, size_t count,
                            const char *expected)
{
    bytes b = { 0 };
    op_proto(&b);
    put_text(&b, first);
    for (size_t i = 0; i < count; i++) {
        put_text(&b, repeated);
    }
    op(&b, '.');
    refuse(&b, expected);
}

static void refuses_what_is_too_much(void **state)
{
    (void)state;
    refuse_repeated("", "(", 33, "more than 32 open marks");
    refuse_repeated("", "(", 32, "STOP with 0 values and 32 marks");
    refuse_repeated("", "N", 65537, "more than 65536 values on the stack");
    refuse_repeated("", "N", 65536, "STOP with 65536 values");
    refuse_repeated("]", "]a", (1U << 20) + 1, "more than 1048576 values");
    refuse_repeated("]", "Na", (1U << 20) + 1, "more than 1048576 entries");
    refuse_repeated("]",
                    "\x88\x88\x88\x87"
                    "a",
                    400000, "more than 1048576 items of tuples");
    bytes b = { 0 };
    op_proto(&b);
    op(&b, 'N');
    for (uint32_t i = 0; i <= 1U << 20; i++) {
        op(&b, 'r');
        put_number(&b, i, 4);
    }
    refuse(&b, "more than 1048576 memo entries");
    char key[258];
    memset(key, 'k', 256);
    key[256] = '\0';
    b = (bytes){ 0 };
    op_proto(&b);
    op(&b, '}');
    op_string(&b, key);
    put_text(&b, "Ns.");
    refuse(&b, "a key of a dict has 256 bytes, the limit is 255");
}

/* The call written out, so that each argument can be wrong. */
static void refuse_call(const char *arguments, size_t size, const char *expected)
{
    bytes b = { 0 };
    op_proto(&b);
    op(&b, '}');
    put_items(&b, &floats);
    op_string(&b, "c");
    op_global(&b, "torch._utils", "_rebuild_tensor_v2");
    op(&b, '(');
    op_storage(&b, "FloatStorage", "0", 6, false);
    put(&b, arguments, size);
    put_text(&b, "tRs.");
    refuse(&b, expected);
}

#define HOOKS "ccollections\nOrderedDict\n)R"

static void refuses_wrong_calls(void **state)
{
    (void)state;
    refuse_call(RAW(""), "with 1 arguments");
    refuse_call(RAW("K\x00))\x89"), "with 5 arguments");
    refuse_call(RAW("K\x00))\x89" HOOKS "NN"), "with 8 arguments");
    refuse_call(RAW("N))\x89" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00])\x89" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00)]\x89" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00N\x85)\x89" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00)X\x01\0\0\0001\x85\x89" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00))K\x00" HOOKS), "the arguments of _rebuild_tensor_v2");
    refuse_call(RAW("K\x00))\x89N"), "a tensor has hooks");
    refuse_call(RAW("K\x00))\x89}"), "a tensor has hooks");
    refuse_call(RAW("K\x00))\x89" HOOKS "K\x01Ns"), "a tensor has hooks");
    refuse_call(RAW("K\x00))\x89" HOOKS "}"), "a tensor has metadata");
    refuse_call(RAW("K\x00K\x02\x85K\x01K\x01\x86\x89" HOOKS), "1 sizes and 2 strides");
    refuse_raw(RAW("ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89" HOOKS "tR."),
               "the arguments of _rebuild_tensor_v2");
    refuse_raw(RAW("ctorch._utils\n_rebuild_parameter\n(N\x89" HOOKS "tR."),
               "the arguments of _rebuild_parameter");
    refuse_raw(RAW("ctorch._utils\n_rebuild_parameter\n)R."),
               "the arguments of _rebuild_parameter");
}

static void refuses_dicts_without_named_tensors(void **state)
{
    (void)state;
    bytes b = { 0 };
    op_proto(&b);
    op(&b, '}');
    op_string(&b, "net"); /* under a name that is not known */
    op(&b, '}');
    put_items(&b, &floats);
    put_text(&b, "s.");
    refuse(&b, "holds no dict of tensors");
    b = (bytes){ 0 };
    op_proto(&b);
    op(&b, '}');
    put_items(&b, &floats);
    op_int(&b, 7);
    op_tensor(&b, &floats);
    put_text(&b, "s.");
    refuse(&b, "a tensor has the key 7 instead of a name");
    b = (bytes){ 0 };
    op_proto(&b);
    op(&b, '}');
    put_items(&b, &floats);
    op_string(&b, "");
    op_tensor(&b, &floats);
    put_text(&b, "s.");
    refuse(&b, "an empty name");
}

/* The pickle's bytes are flipped under a right CRC, so that the machine sees every one of them. */
static void survives_cuts_and_flips(void **state)
{
    (void)state;
    const toy_tensor turned = { .type = "FloatStorage",
                                .key = "0",
                                .elements = 6,
                                .rank = 2,
                                .size = { 3, 2 },
                                .stride = { 1, 3 } };
    bytes right = flat(&turned);
    size_t refused = 0;
    for (size_t at = 0; at < right.size; at++) {
        const uint8_t byte = right.p[at];
        for (unsigned value = 0; value < 256; value++) {
            right.p[at] = (uint8_t)value;
            bytes file = wrap(&right);
            checkpoint *c = NULL;
            report r = { "" };
            if (parse_prefix(&file, file.size, &c, &r)) {
                touch(c);
                checkpoint_close(c);
            } else {
                assert_int_equal(strncmp(r.text, "toy.pth: ", 9), 0);
                refused++;
            }
            drop(&file);
        }
        right.p[at] = byte;
    }
    assert_true(refused > right.size * 200);
    for (size_t size = 0; size < right.size; size++) {
        bytes cut = { 0 };
        put(&cut, right.p, size);
        refuse(&cut, "data.pkl");
    }
    drop(&right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_state_dict),
        cmocka_unit_test(follows_the_memo),
        cmocka_unit_test(reads_every_form_of_integer_and_string),
        cmocka_unit_test(refuses_globals_and_runs_nothing),
        cmocka_unit_test(refuses_opcodes_by_name),
        cmocka_unit_test(refuses_broken_machines),
        cmocka_unit_test(refuses_what_is_too_much),
        cmocka_unit_test(refuses_wrong_calls),
        cmocka_unit_test(refuses_dicts_without_named_tensors),
        cmocka_unit_test(survives_cuts_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
