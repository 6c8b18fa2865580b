/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what the manager does with slices, once:
 *
 *     reconcile [OPTION...] RUN STATE FASTPATH VSWITCH deploy FILE [STOPPED...]
 *     reconcile [OPTION...] RUN STATE FASTPATH VSWITCH empty|remove SLICE
 *     reconcile [OPTION...] RUN STATE FASTPATH VSWITCH list
 *     reconcile [OPTION...] RUN STATE FASTPATH VSWITCH states FILE [STOPPED...]
 *
 *     -c N       kills itself before the Nth step, from 1
 *     -k KERNEL  real machines, by libvirt, with this kernel ...
 *     -i INITRD  ... and this initial file system; else machines are fakes
 *
 * "empty" is a slice without nodes. Each step is a line of output. Status 1 and a sentence on standard error: it failed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/reconcile.h"

static unsigned n_steps, crash_at;

static void step(const char *node, const char *text, void *argument)
{
    if (++n_steps == crash_at)
        raise(SIGKILL);
    printf("%s: %s\n", node, text);
    fflush(stdout);
}

static void print_name(const char *slice, void *argument)
{
    puts(slice);
}

static void print_state(const struct node_state *state, void *argument)
{
    printf("%s %s %s\n", state->node, state->state, state->why);
}

static int on_file(struct reconciler *reconciler, bool deploy, char **words, unsigned n, struct error *error)
{
    static const struct reconcile_progress progress = {.step = step};
    struct slice_errors errors;
    struct slice *slice = slice_parse_file(words[0], &errors);
    struct slice_wish wish = {.slice = slice, .n_stopped = n - 1, .stopped = (const char *const *)(words + 1)};
    int code;

    if (!slice)
        return error_set(error, 1, "%s: %u: %s", words[0], errors.list[0].at.line, errors.list[0].text);
    code = deploy ? reconcile_slice(reconciler, &wish, &progress, error)
                  : reconcile_states(reconciler, &wish, print_state, NULL, error);
    slice_free(slice);
    return code;
}

static int empty(struct reconciler *reconciler, const char *name, struct error *error)
{
    static const struct reconcile_progress progress = {.step = step};
    struct slice slice = {.offload = {.promote = 1000, .demote = 100}};

    snprintf(slice.name, sizeof slice.name, "%s", name);
    return reconcile_slice(reconciler, &(struct slice_wish){.slice = &slice}, &progress, error);
}

static int act(struct reconciler *reconciler, char **words, unsigned n, struct error *error)
{
    if (!strcmp(words[0], "list"))
        return reconcile_list(reconciler, print_name, NULL, error);
    if (n < 2)
        return error_set(error, 1, "%s needs an argument.", words[0]);
    if (!strcmp(words[0], "remove"))
        return reconcile_remove(reconciler, words[1], error);
    if (!strcmp(words[0], "empty"))
        return empty(reconciler, words[1], error);
    return on_file(reconciler, !strcmp(words[0], "deploy"), words + 1, n - 1, error);
}

int main(int argc, char **argv)
{
    struct reconcile_settings settings = {.vm_driver = &vm_fake, .guest_kernel = "/k", .guest_initrd = "/i"};
    struct reconciler *reconciler;
    struct error error = {0};
    int code, option;

    while ((option = getopt(argc, argv, "+c:k:i:")) != -1) {
        if (option == 'c')
            crash_at = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'k')
            settings.guest_kernel = optarg;
        else if (option == 'i')
            settings.guest_initrd = optarg;
        else
            return 2;
        settings.vm_driver = option == 'k' ? &vm_libvirt : settings.vm_driver;
    }
    if (argc - optind < 5) {
        fprintf(stderr, "five arguments are needed\n");
        return 2;
    }
    settings.run_folder = argv[optind];
    settings.state_folder = argv[optind + 1];
    settings.fastpath_socket = argv[optind + 2];
    settings.vswitch_db = argv[optind + 3];
    code = reconciler_open(&reconciler, &settings, &error);
    if (!code)
        code = act(reconciler, argv + optind + 4, (unsigned)(argc - optind) - 4, &error);
    reconciler_close(reconciler);
    if (code)
        fprintf(stderr, "%s\n", error.text);
    return code != 0;
}
