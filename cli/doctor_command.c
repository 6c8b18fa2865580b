/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/table.h"

#define CAPABILITIES_MAX 64

static const char *const state_names[] = {
    [CAPABILITY_READY] = "ready", [CAPABILITY_FALLBACK] = "fallback", [CAPABILITY_MISSING] = "missing"};

struct diagnosis {
    unsigned n, n_lacking; /* capabilities; needed ones that are missing */
    struct capability capabilities[CAPABILITIES_MAX];
};

static void examine(const char *root, const struct doctor_check *check, struct diagnosis *diagnosis)
{
    for (; check->name && diagnosis->n < CAPABILITIES_MAX; check++) {
        struct capability *capability = &diagnosis->capabilities[diagnosis->n++];

        *capability = (struct capability){.name = check->name, .is_needed = check->is_needed};
        snprintf(capability->effect, sizeof capability->effect, "%s", check->effect);
        check->look(root, capability);
        diagnosis->n_lacking += capability->is_needed && capability->state == CAPABILITY_MISSING;
    }
}

static void print_table(const struct diagnosis *diagnosis)
{
    struct table *table = table_create("CAPABILITY|STATE|FOUND");

    for (unsigned i = 0; i < diagnosis->n; i++) {
        const struct capability *capability = &diagnosis->capabilities[i];

        table_text(table, capability->name);
        table_format(table, "%s%s", state_names[capability->state],
                     capability->is_needed && capability->state == CAPABILITY_MISSING ? ", needed" : "");
        table_text(table, capability->found);
    }
    table_print(table, stdout);
    for (unsigned i = 0; i < diagnosis->n; i++) {
        const struct capability *capability = &diagnosis->capabilities[i];

        if (capability->state == CAPABILITY_READY)
            continue;
        printf("\n%s: %s\n", capability->name, capability->effect);
        if (capability->command[0])
            printf("    %s\n", capability->command);
    }
    if (diagnosis->n_lacking)
        printf("\n%u of what slices need %s missing.\n", diagnosis->n_lacking,
               diagnosis->n_lacking == 1 ? "is" : "are");
    else
        printf("\nAll that slices need is there.\n");
}

static void print_json(const struct diagnosis *diagnosis)
{
    json_t *list = json_array(), *answer;

    for (unsigned i = 0; i < diagnosis->n; i++) {
        const struct capability *capability = &diagnosis->capabilities[i];

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b, s:s, s:s, s:s}", "name", capability->name, "state",
                            state_names[capability->state], "needed", (int)capability->is_needed, "found",
                            capability->found, "effect", capability->effect, "command", capability->command));
    }
    answer = json_pack("{s:b, s:o}", "ready", diagnosis->n_lacking == 0, "capabilities", list);
    cli_print_json(answer);
    json_decref(answer);
}

int command_doctor(struct cli *cli, int argc, char **argv)
{
    /* For tests: the tree of another machine. */
    const char *root = getenv("VNODE_DOCTOR_ROOT");
    struct diagnosis diagnosis = {0};

    if (argc)
        return cli_usage(cli);
    root = root ? root : "";
    examine(root, doctor_machine, &diagnosis);
    examine(root, doctor_kernel, &diagnosis);
    examine(root, doctor_software, &diagnosis);
    examine(root, doctor_daemons, &diagnosis);
    if (cli->json)
        print_json(&diagnosis);
    else
        print_table(&diagnosis);
    return diagnosis.n_lacking ? EXIT_LACKING : EXIT_OK;
}
