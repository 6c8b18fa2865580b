/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;

static const struct {
    const char *name;
    int priority; /* of syslog(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set_level(enum log_level level)
{
    max_level = level;
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    int size;

    if (level > max_level)
        return;
    if (getenv("JOURNAL_STREAM"))
        size = snprintf(line, sizeof line, "<%d>", levels[level].priority);
    else
        size = snprintf(line, sizeof line, "%s: ", levels[level].name);
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof line - size, format, arguments);
    va_end(arguments);
    if (size > (int)sizeof line - 2)
        size = sizeof line - 2;
    line[size++] = '\n';
    /* One write, so that lines of several threads do not mix. Nothing can be done if it fails. */
    if (write(STDERR_FILENO, line, size) < 0)
        return;
}
