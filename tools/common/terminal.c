/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks the environment; nothing here writes.
 */
#define _DEFAULT_SOURCE /* struct winsize */

#include "common/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_is(FILE *file)
{
    const char *const kind = getenv("TERM");

    return isatty(fileno(file)) && (kind == NULL || strcmp(kind, "dumb") != 0);
}

bool terminal_colour(FILE *file)
{
    const char *const no_colour = getenv("NO_COLOR");

    return terminal_is(file) && (no_colour == NULL || no_colour[0] == '\0');
}

const char *terminal_style(FILE *file, const char *style)
{
    return terminal_colour(file) ? style : "";
}

int terminal_width(FILE *file)
{
    struct winsize size;

    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return 80;
}

size_t terminal_columns(const char *text)
{
    size_t columns = 0;

    for (; *text != '\0'; text++) {
        columns += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return columns;
}

bool terminal_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *const value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL ||
                   strstr(value, "utf-8") != NULL;
        }
    }
    return false;
}

void terminal_bar(FILE *file, double share, int columns)
{
    static const char *const EIGHTHS[] = { "",       "\u258f", "\u258e", "\u258d",
                                           "\u258c", "\u258b", "\u258a", "\u2589" };
    const bool utf8 = terminal_utf8();
    const int eighths = (int)(share * columns * 8 + 0.5);

    fputs(terminal_style(file, TERMINAL_BAR), file);
    for (int i = 0; i < (utf8 ? eighths / 8 : (eighths + 4) / 8); i++) {
        fputs(utf8 ? "\u2588" : "#", file);
    }
    fputs(utf8 ? EIGHTHS[eighths % 8] : "", file);
    fputs(terminal_style(file, TERMINAL_PLAIN), file);
}
