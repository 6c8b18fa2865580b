/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLICE_READER_H
#define SLICE_READER_H

/*
 * Reads a YAML document into structs by tables of fields, and says of each mistake where in the file it is. libyaml
 * parses; its nodes know their places, which is why no library that maps YAML to structs stands between: those forget
 * them, and a mistake found later (a link to a node that is not there) could not be shown.
 *
 * Errors are collected, not returned: a reader goes on as far as it can, so that a person sees all of
 * them at once. Anchors and aliases are refused, so what a document costs is bounded by its size.
 */

#include <stdbool.h>
#include <yaml.h>

#include "slice/quantity.h"
#include "slice/slice.h"

#define READER_PATH_SIZE 200

struct reader {
    yaml_document_t document;
    struct slice_errors *errors;
    char path[READER_PATH_SIZE]; /* of the item that is being read: "nodes.a.memory" */
};

/* A key that a mapping may have, and what reads its value into 'object'. */
struct reader_field {
    const char *key; /* NULL ends a table */
    bool required;
    void (*read)(struct reader *reader, yaml_node_t *value, void *object);
};

/* Parses 'text'. Returns the document's root, or NULL with an error noted. reader_close() either way. */
yaml_node_t *reader_open(struct reader *reader, const char *text, size_t size, struct slice_errors *errors);
void reader_close(struct reader *reader);

struct slice_place reader_place(const yaml_node_t *node);

/* Notes an error at 'node', about the item being read: "PATH SENTENCE". */
void reader_fail(struct reader *reader, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Orders the errors by their places. */
void slice_errors_sort(struct slice_errors *errors);

/* Reads a mapping with the keys of 'fields' into 'object'. */
void reader_fields(struct reader *reader, yaml_node_t *node, const struct reader_field fields[], void *object);

/*
 * Calls 'read' for each entry of a mapping whose keys are free, such as names of nodes, with the path set; stops
 * behind 'max' entries with an error. Keys are not NULL, have no control characters, and none comes twice.
 */
void reader_entries(struct reader *reader, yaml_node_t *node, unsigned max,
                    void (*read)(struct reader *reader, yaml_node_t *key, yaml_node_t *value, void *object),
                    void *object);

/* Calls 'read' for each item of a sequence, likewise. */
void reader_items(struct reader *reader, yaml_node_t *node, unsigned max,
                  void (*read)(struct reader *reader, yaml_node_t *value, void *object), void *object);

/* The value of the key 'key' of a mapping; NULL when it has none, or is no mapping. */
yaml_node_t *reader_value(struct reader *reader, yaml_node_t *node, const char *key);

/* How many entries or items a node has; 0 for a scalar. */
unsigned reader_count(const yaml_node_t *node);

bool reader_is_scalar(const yaml_node_t *node);
bool reader_is_sequence(const yaml_node_t *node);

/* The scalar's text; NULL with an error noted when it is none, empty, or has control characters ('lines': but newlines). */
const char *reader_text(struct reader *reader, const yaml_node_t *node, bool lines);

/* Copies a text into a buffer of 'size' bytes; too long is an error. Returns whether it is there. */
bool reader_copy(struct reader *reader, const yaml_node_t *node, char *to, size_t size);

/* A whole number between 'low' and 'high'. Returns whether it is one. */
bool reader_number(struct reader *reader, const yaml_node_t *node, uint64_t low, uint64_t high,
                   uint64_t *value);

/* A quantity with its unit, of at least 'low'. */
bool reader_quantity(struct reader *reader, const yaml_node_t *node, enum quantity quantity, uint64_t low,
                     uint64_t *value);

/* One of the words words[0] to words[n - 1]: its index, or -1. */
int reader_choice(struct reader *reader, const yaml_node_t *node, const char *const words[], unsigned n);

#endif
