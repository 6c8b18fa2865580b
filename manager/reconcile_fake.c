/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/reconcile_fake.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_PATH_SIZE 512

struct reconciler {
    const struct reconcile_settings *settings;
};

int reconciler_open(struct reconciler **reconciler, const struct reconcile_settings *settings,
                    struct error *error)
{
    char path[FAKE_PATH_SIZE];

    *reconciler = calloc(1, sizeof **reconciler);
    if (!*reconciler)
        return error_set(error, ENOMEM, "There is no memory.");
    (*reconciler)->settings = settings;
    snprintf(path, sizeof path, "%s/fake", settings->state_folder);
    mkdir(path, 0755);
    return 0;
}

int64_t reconciler_machines_ms(struct reconciler *reconciler)
{
    return 0;
}

void reconciler_close(struct reconciler *reconciler)
{
    free(reconciler);
}

/* Whether the file 'name' of the state folder is there, and holds 'word' (NULL: anything). */
static bool told(const struct reconciler *reconciler, const char *name, const char *word)
{
    char path[FAKE_PATH_SIZE], line[NODE_NAME_SIZE] = "";
    FILE *file;
    bool there;

    snprintf(path, sizeof path, "%s/%s", reconciler->settings->state_folder, name);
    file = fopen(path, "re");
    there = file && (!word || (fscanf(file, "%31s", line) == 1 && !strcmp(line, word)));
    if (file)
        fclose(file);
    return there;
}

static void folder_of(const struct reconciler *reconciler, const char *slice, char path[FAKE_PATH_SIZE])
{
    snprintf(path, FAKE_PATH_SIZE, "%s/fake/%s", reconciler->settings->state_folder, slice);
}

static void path_of(const struct reconciler *reconciler, const char *slice, const char *node,
                    char path[FAKE_PATH_SIZE])
{
    snprintf(path, FAKE_PATH_SIZE, "%s/fake/%s/%s", reconciler->settings->state_folder, slice, node);
}

static void read_line(const char *path, char line[128])
{
    FILE *file = fopen(path, "re");

    if (!file || !fgets(line, 128, file))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
}

static bool is_stopped(const struct slice_wish *wish, const char *node)
{
    for (unsigned i = 0; i < wish->n_stopped; i++)
        if (!strcmp(wish->stopped[i], node))
            return true;
    return false;
}

static int start_node(struct reconciler *reconciler, const char *slice, const struct slice_node *node,
                      const struct reconcile_progress *progress, struct error *error)
{
    char path[FAKE_PATH_SIZE], now[128], wanted[128], text[64];
    FILE *file;

    path_of(reconciler, slice, node->name, path);
    read_line(path, now);
    snprintf(wanted, sizeof wanted, "running cpu=%u memory=%" PRIu64, node->cpu, node->memory);
    if (!strcmp(now, wanted))
        return 0;
    snprintf(text, sizeof text, "starting %s", node->name);
    if (progress && progress->step)
        progress->step(node->name, text, progress->argument);
    if (told(reconciler, "kill", node->name)) {
        snprintf(path, sizeof path, "%s/kill", reconciler->settings->state_folder);
        unlink(path);
        kill(getpid(), SIGKILL);
    }
    if (told(reconciler, "fail", node->name))
        return error_set(error, EIO, "Node %s cannot be started: it was told to fail.", node->name);
    if (told(reconciler, "starting", NULL))
        memcpy(wanted, "boots..", 7);
    file = fopen(path, "we");
    if (!file || fprintf(file, "%s\n", wanted) < 0 || fclose(file))
        return error_set(error, errno, "%.200s cannot be written: %s.", path, strerror(errno));
    return 0;
}

/* Removes the nodes of a slice that 'wish' does not want to run; NULL: all of them. */
static void remove_nodes(struct reconciler *reconciler, const char *slice, const struct slice_wish *wish)
{
    char folder[FAKE_PATH_SIZE], path[FAKE_PATH_SIZE];
    DIR *directory;
    struct dirent *file;

    folder_of(reconciler, slice, folder);
    directory = opendir(folder);
    while (directory && (file = readdir(directory))) {
        if (file->d_name[0] == '.')
            continue;
        if (wish && slice_find_node(wish->slice, file->d_name) >= 0 && !is_stopped(wish, file->d_name))
            continue;
        path_of(reconciler, slice, file->d_name, path);
        unlink(path);
    }
    if (directory)
        closedir(directory);
}

int reconcile_slice(struct reconciler *reconciler, const struct slice_wish *wish,
                    const struct reconcile_progress *progress, struct error *error)
{
    const struct slice *slice = wish->slice;
    char folder[FAKE_PATH_SIZE];
    int code = 0;

    folder_of(reconciler, slice->name, folder);
    mkdir(folder, 0755);
    remove_nodes(reconciler, slice->name, wish);
    for (unsigned i = 0; i < slice->n_nodes && !code; i++)
        if (!is_stopped(wish, slice->nodes[i].name))
            code = start_node(reconciler, slice->name, &slice->nodes[i], progress, error);
    return code;
}

int reconcile_remove(struct reconciler *reconciler, const char *slice, struct error *error)
{
    char folder[FAKE_PATH_SIZE];

    if (told(reconciler, "fail-remove", NULL))
        return error_set(error, EIO, "Slice %s cannot be removed: it was told to fail.", slice);
    remove_nodes(reconciler, slice, NULL);
    folder_of(reconciler, slice, folder);
    rmdir(folder);
    return 0;
}

int reconcile_list(struct reconciler *reconciler, void (*found)(const char *slice, void *argument),
                   void *argument, struct error *error)
{
    char path[FAKE_PATH_SIZE];
    DIR *directory;
    struct dirent *file;

    snprintf(path, sizeof path, "%s/fake", reconciler->settings->state_folder);
    directory = opendir(path);
    while (directory && (file = readdir(directory)))
        if (file->d_name[0] != '.')
            found(file->d_name, argument);
    if (directory)
        closedir(directory);
    return 0;
}

int reconcile_states(struct reconciler *reconciler, const struct slice_wish *wish,
                     void (*found)(const struct node_state *state, void *argument), void *argument,
                     struct error *error)
{
    for (unsigned i = 0; i < wish->slice->n_nodes; i++) {
        const char *name = wish->slice->nodes[i].name;
        struct node_state state = {.node = name, .state = "stopped", .cpu_time_ns = 1000};
        char path[FAKE_PATH_SIZE], line[128];

        path_of(reconciler, wish->slice->name, name, path);
        read_line(path, line);
        if (!strncmp(line, "running", 7))
            state.state = "running";
        else if (!strncmp(line, "boots", 5))
            state.state = "starting";
        else if (!strncmp(line, "failed ", 7)) {
            state.state = "failed";
            snprintf(state.why, sizeof state.why, "%s", line + strlen("failed "));
        }
        found(&state, argument);
    }
    return 0;
}
