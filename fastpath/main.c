/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "fastpath/fastpath.h"
#include "lib/log.h"

int main(int argc, char *argv[])
{
    struct options options;
    struct error error;
    int result = options_parse(&options, argc, argv, &error);

    if (result) {
        log_error("%s", error.text);
        return 2;
    }
    if (options.help) {
        options_print_help();
        return 0;
    }
    if (options.version) {
        printf("vnode-fastpath " VNODE_VERSION "\n");
        return 0;
    }
    result = fastpath_start(&options, &error);
    if (!result)
        result = fastpath_run(&error);
    if (result)
        log_error("%s", error.text);
    fastpath_stop();
    return result ? EXIT_FAILURE : EXIT_SUCCESS;
}
