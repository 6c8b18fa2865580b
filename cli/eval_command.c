/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define EVALUATION VNODE_SOURCE "/bench/eval"

/* The evaluation needs the load generator and the test guest, which are not installed: it runs in the source tree. */
int command_eval(struct cli *cli, int argc, char **argv)
{
    const char **words;

    if (access(EVALUATION, X_OK))
        return cli_fail(EXIT_LACKING,
                        "The evaluation runs in the source tree that vnode was built from, but %s cannot be run: "
                        "%s. Take a source tree, and type './run eval' in it.",
                        EVALUATION, strerror(errno));
    words = calloc((size_t)argc + 2, sizeof *words);
    if (!words || setenv("VNODE_BUILD", VNODE_BUILT, false))
        return cli_fail(EXIT_REFUSED, "No memory for the command line.");
    words[0] = EVALUATION;
    memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    execv(EVALUATION, (char **)words);
    free(words);
    return cli_fail(EXIT_REFUSED, "%s cannot be run: %s.", EVALUATION, strerror(errno));
}
