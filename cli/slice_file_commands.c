/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about slice files that need nobody's answer: validate, graph. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/slice_file.h"

int command_validate(struct cli *cli, int argc, char **argv)
{
    struct slice *slice;

    if (argc != 1)
        return cli_usage(cli);
    slice = slice_file_read(cli, argv[0]);
    if (!slice)
        return EXIT_USAGE;
    if (cli->json) {
        json_t *answer = json_pack("{s:s, s:b, s:s, s:i, s:i, s:i, s:I}", "file", argv[0], "valid", 1, "slice",
                                   slice->name, "nodes", (int)slice->n_nodes, "links", (int)slice->n_links,
                                   "cpu", (int)slice_cpu(slice), "memory", (json_int_t)slice_memory(slice));

        cli_print_json(answer);
        json_decref(answer);
    } else {
        printf("%s: slice %s is good: %u nodes, %u links, %u CPUs and %llu MiB for virtual machines.\n",
               argv[0], slice->name, slice->n_nodes, slice->n_links, slice_cpu(slice),
               (unsigned long long)slice_memory(slice) >> 20);
    }
    slice_free(slice);
    return EXIT_OK;
}

/* What a link's label says of its guarantees: "500 Mbit/s"; "" when it has none. */
static const char *rate_label(const struct slice_link *link, char text[48])
{
    text[0] = '\0';
    if (link->rate)
        snprintf(text, 48, "%g Mbit/s", (double)link->rate / 1e6);
    return text;
}

static void print_dot(const struct slice *slice)
{
    static const char *const shapes[NODE_KINDS] = {"box", "ellipse", "diamond", "house"};
    char rate[48];

    printf("graph \"%s\" {\n", slice->name);
    for (unsigned i = 0; i < slice->n_nodes; i++)
        printf("    \"%s\" [shape=%s, label=\"%s\\n%s\"];\n", slice->nodes[i].name,
               shapes[slice->nodes[i].kind], slice->nodes[i].name, slice_node_kind_name(slice->nodes[i].kind));
    for (unsigned i = 0; i < slice->n_links; i++) {
        const struct slice_endpoint *ends = slice->links[i].ends;
        const struct slice_node *left = &slice->nodes[ends[0].node], *right = &slice->nodes[ends[1].node];

        printf("    \"%s\" -- \"%s\" [taillabel=\"%s\", headlabel=\"%s\", label=\"%s\"];\n", left->name,
               right->name, left->interfaces[ends[0].interface].name,
               right->interfaces[ends[1].interface].name, rate_label(&slice->links[i], rate));
    }
    printf("}\n");
}

static void print_mermaid(const struct slice *slice)
{
    static const char *const forms[NODE_KINDS] = {"n%u[%s]\n", "n%u([%s])\n", "n%u{%s}\n", "n%u[/%s/]\n"};

    printf("graph LR\n");
    for (unsigned i = 0; i < slice->n_nodes; i++) {
        printf("    ");
        printf(forms[slice->nodes[i].kind], i, slice->nodes[i].name);
    }
    for (unsigned i = 0; i < slice->n_links; i++) {
        const struct slice_endpoint *ends = slice->links[i].ends;
        char rate[48];

        rate_label(&slice->links[i], rate);
        printf("    n%u ---%s%s%s n%u\n", ends[0].node, rate[0] ? "|" : "", rate, rate[0] ? "|" : "",
               ends[1].node);
    }
}

int command_graph(struct cli *cli, int argc, char **argv)
{
    const char *form = "dot";
    struct slice *slice;

    if (cli_take_option(&argc, argv, "--as", &form) < 0 || argc != 1 ||
        (strcmp(form, "dot") != 0 && strcmp(form, "mermaid") != 0))
        return cli_usage(cli);
    slice = slice_file_read(cli, argv[0]);
    if (!slice)
        return EXIT_USAGE;
    if (!strcmp(form, "dot"))
        print_dot(slice);
    else
        print_mermaid(slice);
    slice_free(slice);
    return EXIT_OK;
}
