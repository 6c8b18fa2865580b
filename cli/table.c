/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16

struct table {
    unsigned n_columns;
    bool right[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    char **cells;
    size_t n_cells, room;
};

/* Output for people cannot go on without memory, and nothing is lost by ending here. */
static void *must(void *memory)
{
    if (!memory) {
        fputs("vnode: No memory.\n", stderr);
        exit(1);
    }
    return memory;
}

struct table *table_create(const char *columns)
{
    struct table *table = must(calloc(1, sizeof *table));
    char *copy = must(strdup(columns)), *position = NULL;
    unsigned n = 1;

    for (const char *c = columns; *c; c++)
        n += *c == '|';
    table->n_columns = n < COLUMNS_MAX ? n : COLUMNS_MAX;
    n = 0;
    for (char *title = strtok_r(copy, "|", &position); title; title = strtok_r(NULL, "|", &position)) {
        table->right[n] = *title == '>';
        table_text(table, title + table->right[n]);
        n++;
    }
    free(copy);
    return table;
}

void table_text(struct table *table, const char *text)
{
    unsigned column = table->n_cells % table->n_columns;
    size_t width = strlen(text);

    if (table->n_cells == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cells = must(realloc(table->cells, table->room * sizeof *table->cells));
    }
    table->cells[table->n_cells++] = must(strdup(text));
    if (width > table->width[column])
        table->width[column] = width;
}

void table_format(struct table *table, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        must(NULL);
    va_end(arguments);
    table_text(table, text);
    free(text);
}

void table_count(struct table *table, uint64_t count)
{
    char text[32];

    table_text(table, format_count(count, text));
}

void table_bytes(struct table *table, uint64_t bytes)
{
    char text[32];

    table_text(table, format_bytes(bytes, text));
}

void table_print(struct table *table, FILE *stream)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        unsigned column = i % table->n_columns;
        bool last = column + 1 == table->n_columns;

        if (table->right[column])
            fprintf(stream, "%*s", (int)table->width[column], table->cells[i]);
        else
            fprintf(stream, "%-*s", last ? 0 : (int)table->width[column], table->cells[i]);
        fputs(last ? "\n" : "  ", stream);
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}

char *format_count(uint64_t count, char text[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    char *next = text;

    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            *next++ = ',';
        *next++ = digits[i];
    }
    *next = '\0';
    return text;
}

char *format_bytes(uint64_t bytes, char text[32])
{
    static const char units[] = "kMGTPE";
    double scaled = bytes;
    int unit = -1;

    while (scaled >= 999.5) {
        scaled /= 1000;
        unit++;
    }
    if (unit < 0)
        snprintf(text, 32, "%u B", (unsigned)bytes);
    else
        snprintf(text, 32, "%.*f %cB", scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0, scaled, units[unit]);
    return text;
}
