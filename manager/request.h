/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_REQUEST_H
#define MANAGER_REQUEST_H

/*
 * A request to the manager, out of a line of JSON (docs/manager-protocol.md). Whatever the line is, the result is a request all
 * of whose members are as they are said to be here, or a sentence about what is wrong.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "slice/slice.h"

/* Bytes of a line: a slice file as a JSON string may take more than it has, but not twice as much unless it is nonsense. */
#define REQUEST_SIZE_MAX (2 * SLICE_FILE_SIZE_MAX + 4096)

enum request_method {
    REQUEST_DEPLOY,
    REQUEST_DESTROY,
    REQUEST_LIST,
    REQUEST_INSPECT,
    REQUEST_START,
    REQUEST_STOP,
    REQUEST_RESTART,
    REQUEST_EVENTS,
    REQUEST_USAGE,
    REQUEST_DOWN,
    REQUEST_METHODS
};

struct request {
    uint64_t id;
    enum request_method method;
    char slice[SLICE_NAME_SIZE]; /* good names, or "" */
    char node[NODE_NAME_SIZE];
    char *spec; /* of deploy: the slice file's text */
    bool dry_run, reserve;
    bool follow; /* of events: those to come, too */
};

/*
 * Parses a line without its newline. Returns 0 and a request, to be freed by request_free(); or an errno value with a sentence, and
 * then 'request->id' is that of the request if it could be read, else 0.
 */
int request_parse(const char *line, size_t size, struct request *request, struct error *error);

void request_free(struct request *request);

const char *request_method_name(enum request_method method);

#endif
