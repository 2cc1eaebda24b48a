/* SPDX-License-Identifier: Apache-2.0
 *
 * The zip container as torch.save writes it: a small right file, and every way in which a zip can
 * say two things at once.
 */
#include "checkpoint_files.h"

/* Records of the toy, in the order of the file. */
enum { PICKLE, ORDER, FIRST, SECOND, VERSION };

#define CENTRAL_FLAGS   8
#define CENTRAL_METHOD  10
#define CENTRAL_CRC     16
#define CENTRAL_STORED  20
#define CENTRAL_SIZE    24
#define CENTRAL_NAME    28
#define CENTRAL_EXTRA   30
#define CENTRAL_COMMENT 32
#define CENTRAL_DISK    34
#define CENTRAL_OFFSET  42
#define LOCAL_FLAGS     6
#define LOCAL_METHOD    8
#define LOCAL_CRC       14
#define LOCAL_STORED    18
#define LOCAL_SIZE      22
#define LOCAL_NAME      26
#define LOCAL_EXTRA     28

/* {"a": float tensor (2, 3) of storage 0, "b": int64 tensor () of storage 1} */
static bytes toy_pickle(void)
{
    bytes b = { 0 };
    op_proto(&b);
    put_text(&b, "}(");
    op_string(&b, "a");
    op_tensor(&b, &(toy_tensor){ .type = "FloatStorage",
                                 .key = "0",
                                 .elements = 6,
                                 .rank = 2,
                                 .size = { 2, 3 },
                                 .stride = { 3, 1 } });
    op_string(&b, "b");
    op_tensor(&b, &(toy_tensor){ .type = "LongStorage", .key = "1", .elements = 1 });
    put_text(&b, "u.");
    return b;
}

static const char *const toy_names[] = { "toy/data.pkl", "toy/byteorder", "toy/data/0",
                                         "toy/data/1", "toy/version" };

/* The toy with other names or contents; NULL keeps what is right. */
static toy_zip toy_with(size_t which, const char *name, const char *text, bool zip64)
{
    toy_zip z = { 0 };
    bytes contents[5] = { toy_pickle() };
    put_text(&contents[ORDER], "little");
    put_ramp(&contents[FIRST], 6);
    put_number(&contents[SECOND], (uint64_t)-7, 8);
    put_text(&contents[VERSION], "3\n");
    if (text != NULL) {
        contents[which].size = 0;
        put_text(&contents[which], text);
    }
    for (size_t i = 0; i < 5; i++) {
        zip_add(&z, i == which && name != NULL ? name : toy_names[i], contents[i].p,
                contents[i].size, true);
        drop(&contents[i]);
    }
    zip_close(&z, zip64);
    return z;
}

static toy_zip toy(void)
{
    return toy_with(0, NULL, NULL, true);
}

static void loads(toy_zip *z)
{
    checkpoint *c = must_load(&z->file);
    assert_string_equal(c->container, "pytorch zip");
    assert_int_equal(c->count, 2);
    must_hold(c, "a", (const float[]){ 0, 1, 2, 3, 4, 5 }, 6);
    must_hold(c, "b", (const float[]){ -7 }, 1);
    assert_int_equal(checkpoint_find(c, "b")->rank, 0);
    checkpoint_close(c);
    drop(&z->file);
}

static void reads_what_is_right(void **state)
{
    (void)state;
    toy_zip z = toy();
    for (size_t i = 0; i < z.count; i++) {
        assert_int_equal(z.data[i] % 64, 0);
    }
    loads(&z);
    z = toy_with(0, NULL, NULL, false);
    loads(&z);
    z = toy_with(VERSION, NULL, "10", true);
    loads(&z);
    z = toy_with(VERSION, "toy/.data/serialization_id", "0123456789012345678901234567890123456789",
                 true);
    loads(&z);
    z = toy_with(ORDER, "toy/.format_version", "1", true);
    loads(&z);
    /* Sizes in the local header as well as in the directory are no contradiction. */
    z = toy();
    set_number(&z.file, z.local[FIRST] + LOCAL_STORED, 24, 4);
    set_number(&z.file, z.local[FIRST] + LOCAL_SIZE, 24, 4);
    loads(&z);
    /* 32-bit fields that are all ones refer to the 64-bit record. */
    z = toy();
    set_number(&z.file, z.end + 8, 0xFFFFFFFF, 4);
    set_number(&z.file, z.end + 12, UINT64_MAX, 8);
    loads(&z);
}

/* Sets one field of a right file. */
typedef struct spoil {
    char part; /* L local header, C directory entry, D descriptor, 6 zip64 end, T locator, E end */
    size_t record, field;
    uint64_t value;
    size_t width;
    const char *expected;
} spoil;

static size_t part_offset(const toy_zip *z, const spoil *s)
{
    switch (s->part) {
    case 'L':
        return z->local[s->record];
    case 'C':
        return z->entry[s->record];
    case 'D':
        return z->after[s->record];
    case '6':
        return z->end64;
    case 'T':
        return z->locator;
    default:
        return z->end;
    }
}

static void refuses_spoiled_fields(void **state)
{
    (void)state;
    static const spoil cases[] = {
        { 'E', 0, 0, 0x06054B51, 4, "end record is not at the end" },
        { 'E', 0, 4, 1, 2, "split archive" },
        { 'E', 0, 6, 1, 2, "split archive" },
        { 'E', 0, 8, 4, 2, "split archive" },
        { 'E', 0, 8, 0x00040004, 4, "two end records differ" },
        { 'E', 0, 12, 1, 4, "two end records differ" },
        { 'E', 0, 16, 1, 4, "two end records differ" },
        { 'E', 0, 20, 1, 2, "end record is not at the end" },
        { 'T', 0, 4, 1, 4, "zip64 locator" },
        { 'T', 0, 8, 0, 8, "zip64 locator" },
        { 'T', 0, 8, UINT64_MAX, 8, "zip64 locator" },
        { 'T', 0, 16, 2, 4, "zip64 locator" },
        { '6', 0, 0, 0, 4, "zip64 end record is damaged" },
        { '6', 0, 4, 45, 8, "zip64 end record is damaged" },
        { '6', 0, 16, 1, 4, "zip64 end record is damaged" },
        { '6', 0, 20, 1, 4, "zip64 end record is damaged" },
        { '6', 0, 24, 4, 8, "zip64 end record is damaged" },
        { '6', 0, 40, UINT64_MAX, 8, "two end records differ" },
        { '6', 0, 48, UINT64_MAX, 8, "two end records differ" },
        { 'C', FIRST, 0, 0, 4, "the directory is damaged" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x0809, 2, "encrypted" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x0828, 2, "flags 0x0828 are not supported" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x0848, 2, "flags 0x0848 are not supported" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x2808, 2, "flags 0x2808 are not supported" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x080A, 2, "flags 0x080a are not supported" },
        { 'C', FIRST, CENTRAL_FLAGS, 0x0800, 2, "says something else than the directory" },
        { 'C', FIRST, CENTRAL_METHOD, 8, 2, "says something else than the directory" },
        { 'C', FIRST, CENTRAL_METHOD, 12, 2, "compression method 12 is not supported" },
        { 'C', FIRST, CENTRAL_CRC, 1, 4, "not its data descriptor" },
        { 'C', FIRST, CENTRAL_STORED, 23, 4, "its two sizes differ" },
        { 'C', FIRST, CENTRAL_SIZE, 25, 4, "its two sizes differ" },
        { 'C', FIRST, CENTRAL_SIZE, UINT32_MAX, 4, "a size is missing" },
        { 'C', FIRST, CENTRAL_NAME, 9, 2, "damaged" },
        { 'C', FIRST, CENTRAL_NAME, 0, 2, "the name ''" },
        { 'C', FIRST, CENTRAL_NAME, 0xFFFF, 2, "reaches past the directory" },
        { 'C', FIRST, CENTRAL_EXTRA, 4, 2, "damaged" },
        { 'C', FIRST, CENTRAL_EXTRA, 0xFFFF, 2, "reaches past the directory" },
        { 'C', FIRST, CENTRAL_COMMENT, 0xFFFF, 2, "reaches past the directory" },
        { 'C', VERSION, CENTRAL_COMMENT, 1, 2, "reaches past the directory" },
        { 'C', FIRST, CENTRAL_DISK, 1, 2, "another disk" },
        { 'C', FIRST, CENTRAL_OFFSET, 0, 4, "overlaps the next record" },
        { 'C', FIRST, CENTRAL_OFFSET, 1, 4, "overlaps the next record" },
        { 'C', FIRST, CENTRAL_OFFSET, 0xFFFFFF00, 4, "bytes that are not its data descriptor" },
        { 'C', FIRST, CENTRAL_OFFSET, UINT32_MAX, 4, "a size is missing" },
        { 'C', PICKLE, CENTRAL_OFFSET, 64, 4, "bytes before the first record" },
        { 'L', FIRST, 0, 0, 4, "no local header" },
        { 'L', FIRST, LOCAL_FLAGS, 0x0800, 2, "says something else" },
        { 'L', FIRST, LOCAL_FLAGS, 0x0809, 2, "says something else" },
        { 'L', FIRST, LOCAL_METHOD, 8, 2, "says something else" },
        { 'L', FIRST, LOCAL_CRC, 1, 4, "its local header has other sizes" },
        { 'L', FIRST, LOCAL_STORED, 23, 4, "its local header has other sizes" },
        { 'L', FIRST, LOCAL_SIZE, 25, 4, "its local header has other sizes" },
        { 'L', FIRST, LOCAL_SIZE, UINT32_MAX, 4, "its local header has other sizes" },
        { 'L', FIRST, LOCAL_NAME, 9, 2, "says something else" },
        { 'L', FIRST, LOCAL_NAME, 0xFFFF, 2, "reaches into the directory" },
        { 'L', FIRST, LOCAL_EXTRA, 0xFFFF, 2, "reaches into the directory" },
        { 'L', FIRST, LOCAL_EXTRA, 3, 2, "a damaged extra field" },
        { 'L', FIRST, 30 + 10, 1, 2, "a damaged extra field" },
        { 'L', FIRST, 30, 'T', 1, "says something else" },
        { 'D', FIRST, 0, 0, 4, "not its data descriptor" },
        { 'D', FIRST, 4, 0, 4, "not its data descriptor" },
        { 'D', FIRST, 8, 23, 4, "its data descriptor has other sizes" },
        { 'D', FIRST, 12, 25, 4, "its data descriptor has other sizes" },
        { 'D', FIRST, 16, 0, 4, "no local header" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy_zip z = toy();
        set_number(&z.file, part_offset(&z, &cases[i]) + cases[i].field, cases[i].value,
                   cases[i].width);
        must_fail_and_drop(&z.file, cases[i].expected);
    }
}

static void refuses_damaged_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        toy_zip z = toy();
        z.file.p[z.data[i]] ^= 1;
        must_fail_and_drop(&z.file, "is damaged: CRC");
    }
}

static void refuses_other_names(void **state)
{
    (void)state;
    static const struct {
        size_t record;
        const char *name, *expected;
    } cases[] = {
        { VERSION, "toy/data/0", "there are two of this name" },
        { VERSION, "toy/notes.txt", "none of torch.save's" },
        { VERSION, "toy/data/01", "none of torch.save's" },
        { VERSION, "toy/data/", "none of torch.save's" },
        { VERSION, "toy/data/x", "none of torch.save's" },
        { VERSION, "toy/data/12345678901", "none of torch.save's" },
        { VERSION, "toy/", "is not in the folder" },
        { VERSION, "toz/version", "is not in the folder" },
        { VERSION, "version", "is not in the folder" },
        { VERSION, "/version", "which no checkpoint has" },
        { VERSION, "toy/../x", "which no checkpoint has" },
        { VERSION, "toy\\version", "which no checkpoint has" },
        { VERSION, "toy/v\nersion", "'toy/v\\x0aersion'" },
        { VERSION, "toy/v\xC3\xA9", "which no checkpoint has" },
        { VERSION, "toy/constants.pkl", "TorchScript" },
        { VERSION, "toy/code/__torch__.py", "TorchScript" },
        { VERSION, "toy/data/2", "3 storages are in the file, data.pkl mentions 2" },
        { FIRST, "toy/data/3", "storage 0 is mentioned in data.pkl and not in the file" },
        { PICKLE, "toy/data.plk", "neither data.pkl" },
        { PICKLE, "toy/x/data.pkl", "none of torch.save's" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy_zip z = toy_with(cases[i].record, cases[i].name, NULL, true);
        must_fail_and_drop(&z.file, cases[i].expected);
    }
}

static void refuses_other_contents(void **state)
{
    (void)state;
    static const struct {
        size_t record;
        const char *text, *expected;
    } cases[] = {
        { ORDER, "big", "byteorder is not 'little'" },
        { ORDER, "", "byteorder is not 'little'" },
        { VERSION, "", "version record" },
        { VERSION, "\n", "version record" },
        { VERSION, "0\n", "version record" },
        { VERSION, "11\n", "version record" },
        { VERSION, "3\n\n", "version record" },
        { VERSION, "-1", "version record" },
        { FIRST, "short", "storage 0 has 5 bytes, data.pkl says 24" },
        { FIRST, "twenty-five bytes of data", "storage 0 has 25 bytes, data.pkl says 24" },
        { SECOND, "", "storage 1 has 0 bytes, data.pkl says 8" },
        { PICKLE, "", "data.pkl, byte 0: cut short" },
        { PICKLE, "\x80\x02", "data.pkl, byte 2: cut short" },
        { PICKLE, "\x80\x04.", "protocol 2" },
        { PICKLE, "PK\x03\x04", "protocol 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy_zip z = toy_with(cases[i].record, NULL, cases[i].text, true);
        must_fail_and_drop(&z.file, cases[i].expected);
    }
}

static void refuses_compression_and_odd_flags(void **state)
{
    (void)state;
    static const char text[] = "\x80\x02}.";
    toy_zip z = { 0 };
    const toy_record packed = {
        .name = "toy/data.pkl", .data = text, .stored = 4, .size = 4, .method = 8
    };
    zip_add_record(&z, &packed);
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "is compressed, torch.save only stores");
    z = (toy_zip){ 0 };
    zip_add(&z, "toy/data.pkl", text, 4, false);
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "has flags 0x0000, torch.save writes 0x0808");
}

/* Bytes that no record owns, and records that share bytes. */
static void refuses_hidden_and_shared_bytes(void **state)
{
    (void)state;
    static const char data[] = "\x80\x02}.";
    toy_zip z = toy();
    put_text(&z.file, "x");
    must_fail_and_drop(&z.file, "the end record is not at the end");

    z = (toy_zip){ 0 };
    zip_add(&z, "toy/data.pkl", data, 4, true);
    put_text(&z.file, "hidden");
    zip_add(&z, "toy/version", "3", 1, true);
    zip_close(&z, true);
    must_fail_and_drop(&z.file, "bytes that are not its data descriptor");

    z = (toy_zip){ 0 };
    zip_add(&z, "toy/data.npy", data, 4, false);
    put_text(&z.file, "hidden");
    zip_add(&z, "toy/version.npy", "3", 1, false);
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "bytes that belong to no record");

    z = (toy_zip){ 0 };
    zip_add(&z, "toy/data.pkl", data, 4, true);
    put_text(&z.file, "hidden");
    zip_close(&z, true);
    must_fail_and_drop(&z.file, "bytes that are not its data descriptor");

    z = toy();
    set_number(&z.file, z.entry[SECOND] + CENTRAL_OFFSET, z.local[FIRST], 4);
    must_fail_and_drop(&z.file, "zip record 'toy/data/");

    /* Two names in the directory for the same local header. */
    z = (toy_zip){ 0 };
    zip_add(&z, "toy/data.npy", data, 4, false);
    bytes twice = { 0 };
    put(&twice, z.central.p, z.central.size);
    put(&z.central, twice.p, twice.size);
    drop(&twice);
    z.count = 2;
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "overlaps the next record");

    /* A record that holds the next one. */
    z = toy();
    const size_t longer = z.after[SECOND] - z.data[FIRST];
    set_number(&z.file, z.entry[FIRST] + CENTRAL_STORED, longer, 4);
    set_number(&z.file, z.entry[FIRST] + CENTRAL_SIZE, longer, 4);
    must_fail_and_drop(&z.file, "overlaps the next record");

    z = toy();
    set_number(&z.file, z.entry[VERSION] + CENTRAL_STORED, 1000, 4);
    set_number(&z.file, z.entry[VERSION] + CENTRAL_SIZE, 1000, 4);
    must_fail_and_drop(&z.file, "its data reaches into the directory");
}

/* An extra field in the directory: the toy's only record gets one. */
static bytes with_extra(const void *extra, size_t size, uint32_t record_size)
{
    toy_zip z = { 0 };
    zip_add(&z, "toy/a.npy", "abcd", 4, false);
    set_number(&z.central, CENTRAL_EXTRA, size, 2);
    set_number(&z.central, CENTRAL_SIZE, record_size, 4);
    put(&z.central, extra, size);
    zip_close(&z, false);
    return z.file;
}

static void reads_zip64_fields_where_needed_only(void **state)
{
    (void)state;
    static const char four[] = "\x01\x00\x08\x00\x04\x00\x00\x00\x00\x00\x00\x00";
    static const char both[] = "\x01\x00\x10\x00\x04\x00\x00\x00\x00\x00\x00\x00"
                               "\x04\x00\x00\x00\x00\x00\x00\x00";
    static const char huge[] = "\x01\x00\x08\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    bytes b = with_extra(four, 12, UINT32_MAX); /* right, and then no .npy inside */
    must_fail_and_drop(&b, "is not an .npy array");
    b = with_extra(four, 12, 4);
    must_fail_and_drop(&b, "a zip64 field that no size needs");
    b = with_extra(both, 20, UINT32_MAX);
    must_fail_and_drop(&b, "a zip64 field that no size needs");
    b = with_extra(huge, 12, UINT32_MAX);
    must_fail_and_drop(&b, "its two sizes differ");
    b = with_extra(four, 8, UINT32_MAX);
    must_fail_and_drop(&b, "a damaged extra field");
    b = with_extra("", 0, UINT32_MAX);
    must_fail_and_drop(&b, "a size is missing");
    b = with_extra("\x02\x00\x08\x00\x04\x00\x00\x00\x00\x00\x00\x00", 12, UINT32_MAX);
    must_fail_and_drop(&b, "a size is missing");
    b = with_extra("\x01\x00\x00\x00\x01\x00\x00\x00", 8, 4);
    must_fail_and_drop(&b, "a damaged extra field");
}

static void refuses_wrong_counts(void **state)
{
    (void)state;
    static const uint64_t counts[] = { 0, 1, 4, 6, 16384, 16385, UINT32_MAX, UINT64_MAX };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        toy_zip z = toy();
        set_number(&z.file, z.end64 + 24, counts[i], 8);
        set_number(&z.file, z.end64 + 32, counts[i], 8);
        set_number(&z.file, z.end + 8, 0xFFFFFFFF, 4);
        must_fail_and_drop(&z.file, counts[i] > 16384 ? "the limit is 16384" : "director");
    }
    toy_zip z = toy();
    set_number(&z.file, z.end64 + 24, 16385, 8);
    set_number(&z.file, z.end64 + 32, 16385, 8);
    set_number(&z.file, z.end + 8, 0xFFFFFFFF, 4);
    must_fail_and_drop(&z.file, "has 16385 records, the limit is 16384");
    z = (toy_zip){ 0 }; /* records, and a directory of none */
    zip_add(&z, "toy/data.pkl", "\x80\x02}.", 4, true);
    z.central.size = 0;
    z.count = 0;
    zip_close(&z, false);
    must_fail_and_drop(&z.file, "the number of records does not fit the directory");
    bytes empty = { 0 };
    put(&empty, "PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    must_fail_and_drop(&empty, "an empty zip file");
}

static void survives_cuts_and_flips(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        toy_zip z = toy_with(0, NULL, NULL, zip64 != 0);
        every_truncation_fails(&z.file);
        assert_true(flip_every_byte(&z.file) > z.file.size);
        drop(&z.file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_right),
        cmocka_unit_test(refuses_spoiled_fields),
        cmocka_unit_test(refuses_damaged_data),
        cmocka_unit_test(refuses_other_names),
        cmocka_unit_test(refuses_other_contents),
        cmocka_unit_test(refuses_compression_and_odd_flags),
        cmocka_unit_test(refuses_hidden_and_shared_bytes),
        cmocka_unit_test(reads_zip64_fields_where_needed_only),
        cmocka_unit_test(refuses_wrong_counts),
        cmocka_unit_test(survives_cuts_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
