/* SPDX-License-Identifier: Apache-2.0 */
#include "slice/reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_SHOWN_SIZE 120
#define DEPTH_MAX 16
#define KEYS_MAX 64 /* of a mapping with fixed keys; looking for duplicates costs the square */

void slice_errors_add(struct slice_errors *errors, struct slice_place at, const char *format, ...)
{
    struct slice_error *error = &errors->list[errors->n];
    va_list arguments;

    if (errors->n == SLICE_ERRORS_MAX) {
        errors->more = true;
        return;
    }
    error->at = at;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    errors->n++;
}

static int compare_places(const void *a, const void *b)
{
    const struct slice_place *left = &((const struct slice_error *)a)->at;
    const struct slice_place *right = &((const struct slice_error *)b)->at;

    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return (left->column > right->column) - (left->column < right->column);
}

void slice_errors_sort(struct slice_errors *errors)
{
    qsort(errors->list, errors->n, sizeof errors->list[0], compare_places);
}

static struct slice_place place_of(const yaml_mark_t *mark)
{
    return (struct slice_place){(unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

struct slice_place reader_place(const yaml_node_t *node)
{
    return place_of(&node->start_mark);
}

void reader_fail(struct reader *reader, const yaml_node_t *node, const char *format, ...)
{
    char sentence[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    slice_errors_add(reader->errors, reader_place(node), "%s %s", reader->path[0] ? reader->path : "The file",
                     sentence);
}

/*
 * Refuses what would cost more than the file's size says, before the document is built: aliases, by which a few lines
 * stand for a billion, and nesting, whose cost libyaml squares. Both show in the events.
 */
static bool is_plain(struct reader *reader, const char *text, size_t size)
{
    yaml_parser_t parser;
    yaml_event_t event;
    unsigned depth = 0;
    const char *fault = NULL;
    bool ended = false;

    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    while (!ended && !fault && yaml_parser_parse(&parser, &event)) {
        depth += event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
        depth -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        if (event.type == YAML_ALIAS_EVENT)
            fault = "has an alias (*NAME); write out what it stands for";
        else if (depth > DEPTH_MAX)
            fault = "is nested deeper than any slice";
        if (fault)
            slice_errors_add(reader->errors, place_of(&event.start_mark), "The file %s.", fault);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return !fault; /* what cannot be parsed is told by who parses next */
}

yaml_node_t *reader_open(struct reader *reader, const char *text, size_t size, struct slice_errors *errors)
{
    yaml_node_t *root = NULL;
    yaml_parser_t parser;

    memset(reader, 0, sizeof *reader);
    reader->errors = errors;
    if (size > SLICE_FILE_SIZE_MAX) {
        slice_errors_add(errors, (struct slice_place){1, 1},
                         "The file has %zu bytes; at most %u are possible.", size, SLICE_FILE_SIZE_MAX);
        return NULL;
    }
    if (!is_plain(reader, text, size) || !yaml_parser_initialize(&parser))
        return NULL;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    if (!yaml_parser_load(&parser, &reader->document)) {
        slice_errors_add(errors, place_of(&parser.problem_mark), "The file is no YAML: %s.",
                         parser.problem ? parser.problem : "there is no memory");
    } else {
        root = yaml_document_get_root_node(&reader->document);
        if (!root)
            slice_errors_add(errors, (struct slice_place){1, 1}, "The file is empty.");
    }
    yaml_parser_delete(&parser);
    return root;
}

void reader_close(struct reader *reader)
{
    yaml_document_delete(&reader->document);
}

/* Appends ".NAME" or "[NUMBER]" to the path; returns the length before, for leave(). */
static size_t enter(struct reader *reader, const char *name, unsigned number)
{
    size_t length = strlen(reader->path);

    if (name)
        snprintf(reader->path + length, READER_PATH_SIZE - length, "%s%.40s", length ? "." : "", name);
    else
        snprintf(reader->path + length, READER_PATH_SIZE - length, "[%u]", number);
    return length;
}

static void leave(struct reader *reader, size_t length)
{
    reader->path[length] = '\0';
}

unsigned reader_count(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE)
        return (unsigned)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (node->type == YAML_SEQUENCE_NODE)
        return (unsigned)(node->data.sequence.items.top - node->data.sequence.items.start);
    return 0;
}

bool reader_is_scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE;
}

bool reader_is_sequence(const yaml_node_t *node)
{
    return node->type == YAML_SEQUENCE_NODE;
}

static const char *scalar_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

yaml_node_t *reader_value(struct reader *reader, yaml_node_t *node, const char *key)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&reader->document, pair->key);

        if (reader_is_scalar(name) && !strcmp(scalar_text(name), key))
            return yaml_document_get_node(&reader->document, pair->value);
    }
    return NULL;
}

static bool is_clean(const yaml_node_t *node, bool lines)
{
    const char *text = scalar_text(node);

    for (size_t i = 0; i < node->data.scalar.length; i++)
        if ((unsigned char)text[i] < ' ' && !(lines && (text[i] == '\n' || text[i] == '\t')))
            return false;
    return true;
}

const char *reader_text(struct reader *reader, const yaml_node_t *node, bool lines)
{
    if (!reader_is_scalar(node)) {
        reader_fail(reader, node, "has to be a text.");
        return NULL;
    }
    if (!node->data.scalar.length) {
        reader_fail(reader, node, "is empty.");
        return NULL;
    }
    if (!is_clean(node, lines)) {
        reader_fail(reader, node, "has control characters.");
        return NULL;
    }
    return scalar_text(node);
}

bool reader_copy(struct reader *reader, const yaml_node_t *node, char *to, size_t size)
{
    const char *text = reader_text(reader, node, false);

    if (!text)
        return false;
    if (strlen(text) >= size) {
        reader_fail(reader, node, "is too long: at most %zu bytes are possible.", size - 1);
        return false;
    }
    strcpy(to, text);
    return true;
}

bool reader_number(struct reader *reader, const yaml_node_t *node, uint64_t low, uint64_t high, uint64_t *value)
{
    const char *text = reader_text(reader, node, false);
    char *end;

    if (!text)
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || *value < low || *value > high) {
        reader_fail(reader, node, "has to be a whole number from %llu to %llu, not '%.40s'.",
                    (unsigned long long)low, (unsigned long long)high, text);
        return false;
    }
    return true;
}

bool reader_quantity(struct reader *reader, const yaml_node_t *node, enum quantity quantity, uint64_t low,
                     uint64_t *value)
{
    const char *text = reader_text(reader, node, false);
    int code = text ? quantity_parse(quantity, text, value) : EINVAL;

    if (!text)
        return false;
    if (code == ERANGE)
        reader_fail(reader, node, "is too large: '%.40s'.", text);
    else if (code)
        reader_fail(reader, node, "has to be a number with its unit, such as %s, not '%.40s'.",
                    quantity_example(quantity), text);
    else if (*value < low)
        reader_fail(reader, node, "is too little: '%.40s'.", text);
    return !code && *value >= low;
}

int reader_choice(struct reader *reader, const yaml_node_t *node, const char *const words[], unsigned n)
{
    const char *text = reader_text(reader, node, false);
    char list[WORDS_SHOWN_SIZE] = "";

    if (!text)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        size_t length = strlen(list);

        if (!strcmp(text, words[i]))
            return (int)i;
        snprintf(list + length, sizeof list - length, "%s%s", !i ? "" : i + 1 == n ? " or " : ", ", words[i]);
    }
    reader_fail(reader, node, "has to be %s, not '%.40s'.", list, text);
    return -1;
}

/* How many letters have to be changed, added or left out to get from one word to the other (Levenshtein 1966). */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t width = strlen(b);

    if (width >= 32 || strlen(a) >= 32)
        return UINT32_MAX;
    for (unsigned i = 0; i <= width; i++)
        row[i] = i;
    for (unsigned line = 1; a[line - 1]; line++) {
        unsigned diagonal = row[0];

        row[0] = line;
        for (unsigned i = 1; i <= width; i++) {
            unsigned changed = diagonal + (a[line - 1] != b[i - 1]);
            unsigned shorter = (row[i - 1] < row[i] ? row[i - 1] : row[i]) + 1;

            diagonal = row[i];
            row[i] = changed < shorter ? changed : shorter;
        }
    }
    return row[width];
}

static void fail_unknown(struct reader *reader, const yaml_node_t *key, const struct reader_field fields[])
{
    const char *name = scalar_text(key), *nearest = NULL;
    char list[WORDS_SHOWN_SIZE] = "";
    unsigned least = 3;

    for (; fields->key; fields++) {
        size_t length = strlen(list);
        unsigned d = distance(name, fields->key);

        if (d < least) {
            least = d;
            nearest = fields->key;
        }
        snprintf(list + length, sizeof list - length, "%s%s", length ? ", " : "", fields->key);
    }
    if (nearest)
        reader_fail(reader, key, "has no key '%.40s'; did you mean '%s'?", name, nearest);
    else
        reader_fail(reader, key, "has no key '%.40s'; possible are: %s.", name, list);
}

/* The key of a pair; NULL with an error noted when it is no text, or was there before. */
static yaml_node_t *key_of(struct reader *reader, yaml_node_t *mapping, const yaml_node_pair_t *pair)
{
    yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);

    if (!reader_is_scalar(key) || !key->data.scalar.length || !is_clean(key, false)) {
        reader_fail(reader, key, "has a key that is no plain text.");
        return NULL;
    }
    for (const yaml_node_pair_t *other = mapping->data.mapping.pairs.start; other < pair; other++) {
        const yaml_node_t *other_key = yaml_document_get_node(&reader->document, other->key);

        if (reader_is_scalar(other_key) && !strcmp(scalar_text(other_key), scalar_text(key))) {
            reader_fail(reader, key, "has the key '%.40s' twice, first in line %u.", scalar_text(key),
                        reader_place(other_key).line);
            return NULL;
        }
    }
    return key;
}

static bool is_mapping(struct reader *reader, yaml_node_t *node, const char *what)
{
    if (node->type == YAML_MAPPING_NODE)
        return true;
    reader_fail(reader, node, "has to be %s.", what);
    return false;
}

void reader_fields(struct reader *reader, yaml_node_t *node, const struct reader_field fields[], void *object)
{
    uint64_t seen = 0;

    if (!is_mapping(reader, node, "a mapping of keys to values"))
        return;
    if (reader_count(node) > KEYS_MAX) {
        reader_fail(reader, node, "has %u keys, far more than there are.", reader_count(node));
        return;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = key_of(reader, node, pair);
        unsigned i = 0;
        size_t before;

        if (!key)
            continue;
        while (fields[i].key && strcmp(fields[i].key, scalar_text(key)) != 0)
            i++;
        if (!fields[i].key) {
            fail_unknown(reader, key, fields);
            continue;
        }
        seen |= UINT64_C(1) << i;
        before = enter(reader, fields[i].key, 0);
        fields[i].read(reader, yaml_document_get_node(&reader->document, pair->value), object);
        leave(reader, before);
    }
    for (unsigned i = 0; fields[i].key; i++)
        if (fields[i].required && !(seen >> i & 1))
            reader_fail(reader, node, "lacks '%s'.", fields[i].key);
}

void reader_entries(struct reader *reader, yaml_node_t *node, unsigned max,
                    void (*read)(struct reader *reader, yaml_node_t *key, yaml_node_t *value, void *object),
                    void *object)
{
    if (!is_mapping(reader, node, "a mapping of names to what they stand for"))
        return;
    if (reader_count(node) > max) {
        reader_fail(reader, node, "has %u entries; at most %u are possible.", reader_count(node), max);
        return;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = key_of(reader, node, pair);
        size_t before;

        if (!key)
            continue;
        before = enter(reader, scalar_text(key), 0);
        read(reader, key, yaml_document_get_node(&reader->document, pair->value), object);
        leave(reader, before);
    }
}

void reader_items(struct reader *reader, yaml_node_t *node, unsigned max,
                  void (*read)(struct reader *reader, yaml_node_t *value, void *object), void *object)
{
    unsigned n = reader_count(node);

    if (!reader_is_sequence(node)) {
        reader_fail(reader, node, "has to be a list.");
        return;
    }
    if (n > max) {
        reader_fail(reader, node, "has %u items; at most %u are possible.", n, max);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        size_t before = enter(reader, NULL, i);

        read(reader, yaml_document_get_node(&reader->document, node->data.sequence.items.start[i]), object);
        leave(reader, before);
    }
}
