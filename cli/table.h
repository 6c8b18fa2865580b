/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

/*
 * A table for people: columns as wide as their widest cell, numbers to the right.
 *
 *     struct table *table = table_create("NAME|>PACKETS");
 *     table_text(table, "vm1");
 *     table_count(table, 1234567);
 *     table_print(table, stdout);      prints and frees
 */

#include <stdint.h>
#include <stdio.h>

struct table;

/* 'columns': titles separated by '|', with '>' in front of those whose cells are aligned to the right. */
struct table *table_create(const char *columns);

/* Cells, from left to right, row by row. */
void table_text(struct table *table, const char *text);
void table_format(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_count(struct table *table, uint64_t count); /* 1,234,567 */
void table_bytes(struct table *table, uint64_t bytes); /* 1.23 MB */

void table_print(struct table *table, FILE *stream);

/* "1,234,567", into 'text', which has room for 32 bytes. Returns 'text'. */
char *format_count(uint64_t count, char text[32]);

/* "1.23 MB" (powers of 1000). */
char *format_bytes(uint64_t bytes, char text[32]);

#endif
