/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml knows where in the text each value stands; it counts in characters, not in bytes. */
#include "slice/slice_paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/reader.h"

/* A value in the text that is to be replaced; the list has them in the order of the text. */
struct value {
    size_t begin, end; /* characters */
    const char *path;  /* of the document */
};

struct values {
    unsigned n;
    struct value list[SLICE_NODES_MAX];
};

static void find_image(struct reader *reader, yaml_node_t *key, yaml_node_t *value, void *object)
{
    struct values *values = object;
    const yaml_node_t *image = reader_value(reader, value, "image");
    const char *path = image && reader_is_scalar(image) ? (const char *)image->data.scalar.value : "/";

    if (*path != '/')
        values->list[values->n++] = (struct value){image->start_mark.index, image->end_mark.index, path};
}

/* Where character 'index' of a text in UTF-8 is. */
static size_t byte_of(const char *text, size_t size, size_t index)
{
    size_t i = 0;

    for (; i < size; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80 && !index--)
            break;
    return i;
}

/* Writes a path in double quotes; what YAML would take for something else is escaped. */
static void put_quoted(FILE *stream, const char *folder, const char *path)
{
    fputc('"', stream);
    for (unsigned part = 0; part < 2; part++) {
        for (const char *c = part ? path : folder; *c; c++)
            fprintf(stream, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        if (!part)
            fputc('/', stream);
    }
    fputc('"', stream);
}

static char *replace(const char *text, size_t size, const char *folder, const struct values *values)
{
    size_t result_size, done = 0;
    char *result = NULL;
    FILE *stream = open_memstream(&result, &result_size);

    if (!stream)
        return NULL;
    for (unsigned i = 0; i < values->n; i++) {
        size_t begin = byte_of(text, size, values->list[i].begin),
               end = byte_of(text, size, values->list[i].end);

        fwrite(text + done, 1, begin - done, stream);
        put_quoted(stream, folder, values->list[i].path);
        done = end;
    }
    fwrite(text + done, 1, size - done, stream);
    if (fclose(stream)) {
        free(result);
        return NULL;
    }
    return result;
}

char *slice_with_whole_paths(const char *text, size_t size, const char *folder, struct slice_errors *errors)
{
    struct values *values = calloc(1, sizeof *values);
    struct reader reader;
    yaml_node_t *root, *nodes;
    char *result = NULL;

    memset(errors, 0, sizeof *errors);
    root = values ? reader_open(&reader, text, size, errors) : NULL;
    nodes = root ? reader_value(&reader, root, "nodes") : NULL;
    if (nodes)
        reader_entries(&reader, nodes, SLICE_NODES_MAX, find_image, values);
    if (values && values->n && size >= 2 && ((unsigned char)*text >= 0xef || !text[1]))
        slice_errors_add(errors, (struct slice_place){1, 1},
                         "The file begins with a byte order mark; write it without, or whole paths.");
    if (root && !errors->n) {
        result = replace(text, size, folder, values);
        if (!result)
            slice_errors_add(errors, (struct slice_place){0}, "There is no memory for the slice file.");
    }
    if (values)
        reader_close(&reader);
    free(values);
    return result;
}

const struct slice_node *slice_find_relative_path(const struct slice *slice)
{
    for (unsigned i = 0; i < slice->n_nodes; i++)
        if (slice->nodes[i].image[0] && slice->nodes[i].image[0] != '/')
            return &slice->nodes[i];
    return NULL;
}
