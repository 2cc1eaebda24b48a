/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of labelled.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "common/labelled.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/lines.h"

void labelled_free(labelled *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->item[i].path);
    }
    free(l->item);
    *l = (labelled){ 0 };
}

/* "folder/name", or the name alone where it is absolute. NULL without memory. */
static char *join_path(const char *folder, const char *name)
{
    const size_t folder_length = name[0] == '/' ? 0 : strlen(folder);
    const size_t name_length = strlen(name);
    char *const path = malloc(folder_length + name_length + 2);

    if (path == NULL) {
        return NULL;
    }
    memcpy(path, folder, folder_length);
    size_t used = folder_length;
    if (used > 0 && path[used - 1] != '/') {
        path[used++] = '/';
    }
    memcpy(path + used, name, name_length + 1);
    return path;
}

static bool parse_class(const char *text, uint32_t *out)
{
    uint64_t value = 0;

    if (*text == '\0' || strlen(text) > 10) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

static bool append(labelled *out, size_t *room, char *path, uint32_t label)
{
    if (out->count == *room) {
        const size_t larger = *room == 0 ? 256 : *room * 2;
        labelled_picture *const item = realloc(out->item, larger * sizeof(*item));
        if (item == NULL) {
            return false;
        }
        out->item = item;
        *room = larger;
    }
    out->item[out->count++] = (labelled_picture){ path, label };
    return true;
}

/* Takes one line apart and appends it. */
static bool take_line(labelled *out, size_t *room, lines *line, const char *labels,
                      const char *folder, uint32_t classes, report *r)
{
    const unsigned long long number = line->number;
    char *const tab = strrchr(line->text, '\t');
    uint32_t label = 0;

    if (tab == NULL || tab == line->text || !parse_class(tab + 1, &label)) {
        return report_fail(r,
                           "%s: line %llu is not a file name, a tab and a class index: \"%.80s\"",
                           labels, number, line->text);
    }
    if (label >= classes) {
        return report_fail(r, "%s: line %llu has class %u, but the model has %u classes (0 to %u)",
                           labels, number, (unsigned)label, (unsigned)classes,
                           (unsigned)classes - 1);
    }
    if (out->count == LABELLED_MAX) {
        return report_fail(r, "%s: more than %d pictures", labels, LABELLED_MAX);
    }
    *tab = '\0';
    char *const path = join_path(folder, line->text);
    if (path == NULL || !append(out, room, path, label)) {
        free(path);
        return report_fail(r, "%s: no memory for %zu pictures", labels, out->count + 1);
    }
    return true;
}

static bool read_lines(labelled *out, FILE *file, const char *labels, const char *folder,
                       uint32_t classes, size_t limit, report *r)
{
    lines *const line = malloc(sizeof(*line));
    lines_result got = LINES_END;
    size_t room = 0;
    bool good = true;

    if (line == NULL) {
        return report_fail(r, "%s: no memory for a line of %d bytes", labels, LINES_LONGEST);
    }
    lines_start(line, file);
    errno = 0;
    while (good && (limit == 0 || out->count < limit) && (got = lines_next(line)) != LINES_END) {
        if (got != LINES_GOOD) {
            good = report_fail(r, "%s: line %llu %s", labels, (unsigned long long)line->number,
                               got == LINES_NUL ? "holds a NUL byte" : "is too long");
        } else if (line->length > 0) {
            good = take_line(out, &room, line, labels, folder, classes, r);
        }
    }
    free(line);
    if (good && ferror(file)) {
        good = report_fail(r, "%s: cannot read: %s", labels, strerror(errno));
    }
    if (good && out->count == 0) {
        good = report_fail(r, "%s: holds no pictures", labels);
    }
    return good;
}

bool labelled_read(labelled *out, const char *labels, const char *folder, uint32_t classes,
                   size_t limit, report *r)
{
    FILE *const file = fopen(labels, "rb");

    if (file == NULL) {
        return report_fail(r, "%s: cannot open: %s", labels, strerror(errno));
    }
    *out = (labelled){ 0 };
    const bool good = read_lines(out, file, labels, folder, classes, limit, r);
    fclose(file);
    if (!good) {
        labelled_free(out);
    }
    return good;
}
