/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of classes, a line each.
 */
#include "picture/class_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/lines.h"
#include "common/utf8.h"

/* Why this line is no class name, or NULL. */
static const char *fault(lines_result result, const lines *line)
{
    if (result == LINES_NUL)
        return "holds a zero byte";
    if (result == LINES_LONG || line->length > CLASS_NAMES_LONGEST)
        return "is longer than a class name may be";
    if (line->length == 0)
        return "is empty; every line is the name of a class";
    if (!utf8_valid((const uint8_t *)line->text, line->length))
        return "is not UTF-8";
    return NULL;
}

static bool append(class_names *c, size_t *room, const lines *line)
{
    if (c->count == *room) {
        const size_t wanted = *room ? 2 * *room : 64;
        char **const longer = realloc(c->names, wanted * sizeof *longer);
        if (!longer)
            return false;
        c->names = longer;
        *room = wanted;
    }
    char *const name = malloc(line->length + 1);
    if (!name)
        return false;
    memcpy(name, line->text, line->length + 1);
    c->names[c->count++] = name;
    return true;
}

static bool read_names(FILE *file, lines *line, const char *path, class_names *c, report *r)
{
    size_t room = 0;
    lines_result result;
    lines_start(line, file);
    errno = 0;
    while ((result = lines_next(line)) != LINES_END) {
        const unsigned long long number = line->number;
        const char *const why = fault(result, line);
        if (why)
            return report_fail(r, "%s: line %llu %s (1 to %u bytes)", path, number, why,
                               CLASS_NAMES_LONGEST);
        if (c->count == CLASS_NAMES_MAX)
            return report_fail(r, "%s: more than %u lines; so many classes are the limit", path,
                               CLASS_NAMES_MAX);
        if (!append(c, &room, line))
            return report_fail(r, "%s: no memory for %zu class names", path, c->count + 1);
    }
    if (ferror(file))
        return report_fail(r, "%s: cannot be read: %s", path, strerror(errno));
    if (c->count == 0)
        return report_fail(r, "%s: no class names in the file", path);
    return true;
}

bool class_names_read(const char *path, class_names *out, report *r)
{
    class_names c = { NULL, 0 };
    FILE *const file = fopen(path, "rb");
    if (!file)
        return report_fail(r, "%s: cannot be opened: %s", path, strerror(errno));
    lines *const line = malloc(sizeof *line);
    if (!line)
        report_fail(r, "%s: no memory for a line of %d bytes", path, LINES_LONGEST);
    const bool done = line && read_names(file, line, path, &c, r);
    free(line);
    fclose(file);
    if (!done) {
        class_names_free(&c);
        return false;
    }
    *out = c;
    return true;
}

void class_names_free(class_names *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->names[i]);
    free(c->names);
    *c = (class_names){ NULL, 0 };
}
