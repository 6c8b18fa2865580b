/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"

#include <string.h>

void change_put(struct change *change, const char *name, const char *format, ...)
{
    struct message_argument *argument = &change->arguments[change->n];
    char *text = change->texts[change->n++];
    va_list values;

    va_start(values, format);
    vsnprintf(text, sizeof change->texts[0], format, values);
    va_end(values);
    strcpy(argument->name, name);
    argument->value = text;
    argument->size = (uint16_t)strlen(text);
}

int change_send(struct cli *cli, const char *what, const struct change *change)
{
    struct message_query query = {.n_arguments = (uint16_t)change->n};
    struct message_ok ok;
    int code = cli_connect(cli);

    if (code)
        return code;
    strcpy(query.question, what);
    memcpy(query.arguments, change->arguments, sizeof change->arguments);
    message_put_query(client_begin(cli->client, MESSAGE_CHANGE), &query);
    return cli_call_ok(cli, &ok);
}
