/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/packet_build.h"
#include "proto/value_text.h"

#define TRACE_FRAME_MAX 9216 /* what the fast path takes */

static void print_words(const json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        printf(" %s=%s", name, json_string_value(value));
    putchar('\n');
}

static void print_rule(const json_t *answer)
{
    const json_t *rule = json_object_get(answer, "rule");
    long long masks = json_integer_value(json_object_get(answer, "masks"));

    if (!json_is_object(rule)) {
        printf("rule:    none (the port's rules have %lld mask%s)\n", masks, masks == 1 ? "" : "s");
        return;
    }
    printf("rule:    %lld, priority %lld%s (of rules with %lld mask%s)\n",
           (long long)json_integer_value(json_object_get(rule, "id")),
           (long long)json_integer_value(json_object_get(rule, "priority")),
           json_is_true(json_object_get(rule, "onload")) ? ", onload" : "", masks, masks == 1 ? "" : "s");
    printf("matches:");
    if (json_object_size(json_object_get(rule, "match")))
        print_words(json_object_get(rule, "match"));
    else
        puts(" every packet");
}

static void print_answer(const json_t *answer)
{
    json_t *step;
    size_t i;

    printf("packet:  %lld bytes in by port %s\n",
           (long long)json_integer_value(json_object_get(answer, "size")), cli_text(answer, "in"));
    printf("fields: ");
    print_words(json_object_get(answer, "fields"));
    print_rule(answer);
    json_array_foreach(json_object_get(answer, "steps"), i, step) printf(
        "%s%s: %s\n", i ? "         " : "actions: ", cli_text(step, "action"), cli_text(step, "effect"));
    printf("result:  %s\n", cli_text(answer, "explanation"));
}

/* What the command line says. */
struct question {
    const char *port;
    char words[RULE_TEXT_SIZE];         /* in= and fields */
    char hex[2 * TRACE_FRAME_MAX + 64]; /* the digits behind hex: */
    uint64_t size;
};

static int parse_word(struct question *question, const char *word)
{
    size_t used = strlen(question->words);

    if (!strncmp(word, "hex:", 4) || *question->hex) {
        word += strncmp(word, "hex:", 4) ? 0 : 4;
        if (strlen(question->hex) + strlen(word) >= sizeof question->hex)
            return cli_fail(EXIT_USAGE, "The frame behind 'hex:' is longer than %d bytes.", TRACE_FRAME_MAX);
        strcat(question->hex, word);
        return EXIT_OK;
    }
    if (!strncmp(word, "size=", 5)) {
        if (!number_parse(word + 5, TRACE_FRAME_MAX, &question->size))
            return cli_fail(EXIT_USAGE, "'%s': a frame has 60 to %d bytes.", word, TRACE_FRAME_MAX);
        return EXIT_OK;
    }
    if (!strncmp(word, "in=", 3))
        question->port = word + 3;
    if ((size_t)snprintf(question->words + used, sizeof question->words - used, "%s ", word) >=
        sizeof question->words - used)
        return cli_fail(EXIT_USAGE, "The fields are longer than %d bytes.", RULE_TEXT_SIZE - 1);
    return EXIT_OK;
}

/*
 * The frame, given in digits or by its fields, as digits in 'text', which has room for one of
 * TRACE_FRAME_MAX bytes.
 */
static int make_frame(struct cli *cli, const struct question *question, char *text)
{
    static uint8_t frame[TRACE_FRAME_MAX];
    static struct wire_rule fields;
    const struct rule_text_ports *ports;
    struct error error;
    size_t size;
    int code;

    ports = cli_ports(cli, &code);
    if (!ports)
        return code;
    if (rule_parse(question->words, RULE_TEXT_MATCH, ports, &fields, &error))
        return cli_fail(error.code == ENOENT ? EXIT_REFUSED : EXIT_USAGE, "%s", error.text);
    if (*question->hex && fields.n_matches)
        return cli_fail(EXIT_USAGE, "Give the packet by 'hex:' or by its fields, not by both.");
    if (*question->hex)
        size = hex_parse(question->hex, frame, sizeof frame);
    else
        size = packet_build(&fields, question->size, frame, sizeof frame, &error);
    if (!size)
        return cli_fail(EXIT_USAGE, "%s",
                        *question->hex ? "'hex:' needs hexadecimal digits, two for each byte." : error.text);
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", frame[i]);
    return EXIT_OK;
}

static int ask(struct cli *cli, const char *port, const char *frame)
{
    struct message_argument arguments[] = {{.name = "in", .value = port, .size = strlen(port)},
                                           {.name = "frame", .value = frame, .size = strlen(frame)}};
    struct error error;
    char *text = client_query(cli->client, "packet/trace", arguments, 2, 0, &error);
    json_t *answer;

    if (!text)
        return cli_fail_error(&error);
    answer = json_loads(text, 0, NULL);
    free(text);
    if (!answer)
        return cli_fail(EXIT_REFUSED, "The fast path's answer is no JSON.");
    if (cli->json)
        cli_print_json(answer);
    else
        print_answer(answer);
    json_decref(answer);
    return EXIT_OK;
}

int command_trace(struct cli *cli, int argc, char **argv)
{
    static struct question question;
    static char frame[2 * TRACE_FRAME_MAX + 1];
    int code = argc ? EXIT_OK : cli_usage(cli);

    for (int i = 0; i < argc && !code; i++)
        code = parse_word(&question, argv[i]);
    if (!code)
        code = make_frame(cli, &question, frame);
    if (!code)
        question.port = cli_port_name(cli, question.port, &code);
    return code ? code : ask(cli, question.port, frame);
}
