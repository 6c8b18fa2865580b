/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/request.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "slice/slice.h"

#define ID_MAX (INT64_C(1) << 53) /* what every JSON library can hold */

enum parameter { SLICE = 1, NODE = 2, SPEC = 4, DRY_RUN = 8, RESERVE = 16, FOLLOW = 32 };

static const struct {
    const char *name;
    unsigned needed, possible; /* sets of parameters */
} methods[REQUEST_METHODS] = {
    [REQUEST_DEPLOY] = {"deploy", SPEC, DRY_RUN | RESERVE},
    [REQUEST_DESTROY] = {"destroy", SLICE, 0},
    [REQUEST_LIST] = {"list", 0, 0},
    [REQUEST_INSPECT] = {"inspect", SLICE, 0},
    [REQUEST_START] = {"start", SLICE | NODE, 0},
    [REQUEST_STOP] = {"stop", SLICE | NODE, 0},
    [REQUEST_RESTART] = {"restart", SLICE | NODE, 0},
    [REQUEST_EVENTS] = {"events", 0, SLICE | FOLLOW},
    [REQUEST_USAGE] = {"usage", 0, 0},
    [REQUEST_DOWN] = {"down", 0, 0},
};

static const struct {
    const char *name;
    enum parameter bit;
} parameters[] = {
    {"slice", SLICE},     {"node", NODE},       {"spec", SPEC},
    {"dry_run", DRY_RUN}, {"reserve", RESERVE}, {"follow", FOLLOW},
};

const char *request_method_name(enum request_method method)
{
    return methods[method].name;
}

void request_free(struct request *request)
{
    free(request->spec);
    request->spec = NULL;
}

static int read_name(const json_t *value, char *to, size_t size, const char *what, struct error *error)
{
    const char *text = json_string_value(value);

    if (!text || !slice_name_is_good(text, size))
        return error_set(
            error, EINVAL,
            "The parameter '%s' has to be a name: a letter, then letters, digits, '-' and '_', at most "
            "%zu in all.",
            what, size - 1);
    strcpy(to, text);
    return 0;
}

static int read_flag(const json_t *value, bool *flag, const char *what, struct error *error)
{
    if (!json_is_boolean(value))
        return error_set(error, EINVAL, "The parameter '%s' has to be true or false.", what);
    *flag = json_is_true(value);
    return 0;
}

static int read_spec(const json_t *value, struct request *request, struct error *error)
{
    const char *text = json_string_value(value);

    if (!text || json_string_length(value) > SLICE_FILE_SIZE_MAX)
        return error_set(error, EINVAL,
                         "The parameter 'spec' has to be a slice file's text of at most %u bytes.",
                         SLICE_FILE_SIZE_MAX);
    request->spec = strdup(text);
    return request->spec ? 0 : error_set(error, ENOMEM, "There is no memory for the slice file.");
}

static int read_parameter(struct request *request, enum parameter parameter, const char *name,
                          const json_t *value, struct error *error)
{
    switch (parameter) {
    case SLICE: return read_name(value, request->slice, sizeof request->slice, name, error);
    case NODE: return read_name(value, request->node, sizeof request->node, name, error);
    case SPEC: return read_spec(value, request, error);
    case DRY_RUN: return read_flag(value, &request->dry_run, name, error);
    case RESERVE: return read_flag(value, &request->reserve, name, error);
    case FOLLOW: return read_flag(value, &request->follow, name, error);
    }
    return EINVAL;
}

static int read_parameters(json_t *object, struct request *request, struct error *error)
{
    const unsigned needed = methods[request->method].needed;
    const unsigned possible = needed | methods[request->method].possible;
    const size_t n = sizeof parameters / sizeof *parameters;
    unsigned seen = 0;
    const char *name;
    json_t *value;
    int code = 0;

    json_object_foreach(object, name, value)
    {
        size_t i = 0;

        while (i < n && strcmp(parameters[i].name, name) != 0)
            i++;
        if (i == n || !(parameters[i].bit & possible))
            return error_set(error, EINVAL, "The method '%s' has no parameter '%.40s'.",
                             methods[request->method].name, name);
        seen |= parameters[i].bit;
        code = read_parameter(request, parameters[i].bit, name, value, error);
        if (code)
            return code;
    }
    for (size_t i = 0; i < n; i++)
        if (parameters[i].bit & needed & ~seen)
            return error_set(error, EINVAL, "The method '%s' needs the parameter '%s'.",
                             methods[request->method].name, parameters[i].name);
    return 0;
}

static int read_method(const json_t *value, struct request *request, struct error *error)
{
    const char *name = json_string_value(value);

    for (enum request_method method = 0; name && method < REQUEST_METHODS; method++)
        if (!strcmp(name, methods[method].name)) {
            request->method = method;
            return 0;
        }
    return error_set(error, EINVAL, "There is no method '%.40s'.", name ? name : "");
}

static int read_request(const json_t *object, struct request *request, struct error *error)
{
    const json_t *id = json_object_get(object, "id");
    json_t *params = json_object_get(object, "params");
    int code;

    if (!json_is_object(object))
        return error_set(error, EINVAL, "A request has to be a JSON object.");
    if (!json_is_integer(id) || json_integer_value(id) <= 0 || json_integer_value(id) > ID_MAX)
        return error_set(error, EINVAL, "A request needs an 'id', a number from 1 to 2^53.");
    request->id = (uint64_t)json_integer_value(id);
    if (params && !json_is_object(params))
        return error_set(error, EINVAL, "'params' has to be a JSON object.");
    if (json_object_size(object) != (params ? 3u : 2u))
        return error_set(error, EINVAL,
                         "A request has the members 'id', 'method' and 'params', and no others.");
    code = read_method(json_object_get(object, "method"), request, error);
    return code ? code : read_parameters(params, request, error);
}

int request_parse(const char *line, size_t size, struct request *request, struct error *error)
{
    json_error_t fault;
    json_t *object;
    int code;

    memset(request, 0, sizeof *request);
    object = size <= REQUEST_SIZE_MAX ? json_loadb(line, size, JSON_REJECT_DUPLICATES, &fault) : NULL;
    if (!object)
        return error_set(error, EINVAL, "The request is no JSON: %.100s.",
                         size <= REQUEST_SIZE_MAX ? fault.text : "it is too long");
    code = read_request(object, request, error);
    json_decref(object);
    if (code)
        request_free(request);
    return code;
}
