/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/slice_file.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "slice/slice_paths.h"

static void tell_errors(const struct cli *cli, const char *path, const struct slice_errors *errors)
{
    json_t *list;

    if (!cli->json) {
        for (unsigned i = 0; i < errors->n; i++) {
            const struct slice_error *error = &errors->list[i];

            if (error->at.line)
                fprintf(stderr, "%s:%u:%u: %s\n", path, error->at.line, error->at.column, error->text);
            else
                fprintf(stderr, "vnode: %s\n", error->text);
        }
        if (errors->more)
            fprintf(stderr, "%s: there are more mistakes; these come first.\n", path);
        return;
    }
    list = json_array();
    for (unsigned i = 0; i < errors->n; i++)
        json_array_append_new(list, json_pack("{s:i, s:i, s:s}", "line", (int)errors->list[i].at.line, "column",
                                              (int)errors->list[i].at.column, "text", errors->list[i].text));
    list = json_pack("{s:s, s:b, s:o}", "file", path, "valid", 0, "errors", list);
    cli_print_json(list);
    json_decref(list);
}

struct slice *slice_file_read(const struct cli *cli, const char *path)
{
    static struct slice_errors errors;
    struct slice *slice = slice_parse_file(path, &errors);

    if (!slice)
        tell_errors(cli, path, &errors);
    return slice;
}

/* The folder that a file lies in, without links, to be freed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    char *folder = name ? realpath(name, NULL) : NULL;

    free(name);
    return folder;
}

char *slice_file_text(const struct cli *cli, const char *path, char name[SLICE_NAME_SIZE])
{
    static struct slice_errors errors;
    struct slice *slice = NULL;
    size_t size;
    char *text = slice_read_file(path, &size, &errors), *folder = folder_of(path), *whole = NULL;

    if (text)
        slice = slice_parse(text, size, &errors);
    if (slice && !folder)
        slice_errors_add(&errors, (struct slice_place){0}, "The folder of %.150s cannot be found: %s.", path,
                         strerror(errno));
    else if (slice)
        whole = slice_with_whole_paths(text, size, folder, &errors);
    if (whole)
        strcpy(name, slice->name);
    else
        tell_errors(cli, path, &errors);
    slice_free(slice);
    free(folder);
    free(text);
    return whole;
}

int slice_file_choose(const char *given, char path[SLICE_PATH_SIZE])
{
    int code = EXIT_OK;
    glob_t files = {0};

    if (!given && glob("*.vn.yml", 0, NULL, &files))
        code = cli_fail(EXIT_USAGE, "There is no slice file (*.vn.yml) in this folder; name one with -t FILE.");
    else if (!given && files.gl_pathc > 1)
        code = cli_fail(EXIT_USAGE,
                        "There are several slice files in this folder, %s, %s ...; name one with -t FILE.",
                        files.gl_pathv[0], files.gl_pathv[1]);
    if (!code && !given)
        given = files.gl_pathv[0];
    if (!code && strlen(given) >= SLICE_PATH_SIZE)
        code = cli_fail(EXIT_USAGE, "The file name '%.60s...' is too long.", given);
    if (!code)
        strcpy(path, given);
    globfree(&files);
    return code;
}

bool slice_choice_take(struct slice_choice *choice, int *argc, char **argv)
{
    *choice = (struct slice_choice){0};
    return cli_take_option(argc, argv, "-t", &choice->file) >= 0 &&
           cli_take_option(argc, argv, "--slice", &choice->slice) >= 0 && !(choice->file && choice->slice);
}

int slice_choose(const struct cli *cli, const struct slice_choice *choice, char name[SLICE_NAME_SIZE])
{
    char path[SLICE_PATH_SIZE];
    struct slice *slice;
    int code;

    if (choice->slice) {
        if (!slice_name_is_good(choice->slice, SLICE_NAME_SIZE))
            return cli_fail(EXIT_USAGE, "'%.40s' is no slice's name.", choice->slice);
        strcpy(name, choice->slice);
        return EXIT_OK;
    }
    code = slice_file_choose(choice->file, path);
    if (code)
        return code;
    slice = slice_file_read(cli, path);
    if (!slice)
        return EXIT_USAGE;
    strcpy(name, slice->name);
    slice_free(slice);
    return EXIT_OK;
}
