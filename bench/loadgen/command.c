/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/loadgen/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 1024
#define CONNECT_SECONDS_DEFAULT 10

void command_default_spec(struct round_spec *spec)
{
    *spec = (struct round_spec){
        .seconds = 1,
        .window = ROUND_WINDOW_AUTO,
        .sample_every = 61,
        .drain_seconds = 1,
        .write_off_seconds = 0.02,
        .traffic = {.n_flows = 1, .frame_size = 64, .segment_size = 1448, .fresh = true},
    };
}

/* The place of 'word' in a list that ends with NULL, or -1. */
static int find_word(const char *const words[], const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (!strcmp(words[i], word))
            return i;
    }
    return -1;
}

static bool parse_number(const char *text, double min, double max, double *number)
{
    char *end;

    *number = strtod(text, &end);
    return end != text && !*end && *number >= min && *number <= max;
}

static bool parse_choice(const char *const words[], const char *text, int *choice)
{
    *choice = find_word(words, text);
    return *choice >= 0;
}

static bool parse_setting(const char *key, const char *value, struct round_spec *spec)
{
    static const char *const directions[] = {"both", "forward", "backward", NULL};
    static const char *const offloads[] = {"none", "checksum", "tso", NULL};
    static const char *const payloads[] = {"fresh", "still", NULL};
    static const char *const varies[] = {"ports", "addresses", "prefixes", NULL};
    double number = 0;
    int choice = 0;
    bool good = true;

    if (!strcmp(key, "seconds") && (good = parse_number(value, 0.001, 3600, &number))) {
        spec->seconds = number;
    } else if (!strcmp(key, "rate") && (good = parse_number(value, 0, 1e9, &number))) {
        spec->rate = number;
    } else if (!strcmp(key, "size") && !strcmp(value, "imix")) {
        spec->traffic.frame_size = TRAFFIC_IMIX;
    } else if (!strcmp(key, "size") &&
               (good = parse_number(value, TRAFFIC_FRAME_MIN, TRAFFIC_FRAME_MAX, &number))) {
        spec->traffic.frame_size = (uint32_t)number;
    } else if (!strcmp(key, "flows") && (good = parse_number(value, 1, TRAFFIC_FLOWS_MAX, &number))) {
        spec->traffic.n_flows = (uint32_t)number;
    } else if (!strcmp(key, "direction") && (good = parse_choice(directions, value, &choice))) {
        spec->direction = (enum round_direction)choice;
    } else if (!strcmp(key, "window") && !strcmp(value, "auto")) {
        spec->window = ROUND_WINDOW_AUTO;
    } else if (!strcmp(key, "window") && (good = parse_number(value, 0, 1e6, &number))) {
        spec->window = (uint32_t)number;
    } else if (!strcmp(key, "payload") && (good = parse_choice(payloads, value, &choice))) {
        spec->traffic.fresh = choice == 0;
    } else if (!strcmp(key, "verify") && (good = parse_number(value, 0, 1, &number))) {
        spec->traffic.verify = number != 0;
    } else if (!strcmp(key, "flow_gaps") && (good = parse_number(value, 0, 1, &number))) {
        spec->traffic.flow_gaps = number != 0;
    } else if (!strcmp(key, "vary") && (good = parse_choice(varies, value, &choice))) {
        spec->traffic.vary = (enum traffic_vary)choice;
    } else if (!strcmp(key, "offload") && (good = parse_choice(offloads, value, &choice))) {
        spec->traffic.offload = (enum traffic_offload)choice;
    } else if (!strcmp(key, "segment") && (good = parse_number(value, 64, 65000, &number))) {
        spec->traffic.segment_size = (uint16_t)number;
    } else if (!strcmp(key, "sample") && (good = parse_number(value, 1, 1e9, &number))) {
        spec->sample_every = (uint32_t)number;
    } else if (!strcmp(key, "write_off") && (good = parse_number(value, 0.001, 3600, &number))) {
        spec->write_off_seconds = number;
    } else if (!strcmp(key, "nap") && (good = parse_number(value, 0, 100000, &number))) {
        spec->nap_us = (uint32_t)number;
    } else if (!strcmp(key, "drain") && (good = parse_number(value, 0, 60, &number))) {
        spec->drain_seconds = number;
    } else {
        return false;
    }
    return good;
}

int command_parse_round(char *words, struct round_spec *spec, struct error *error)
{
    struct round_spec parsed = *spec;
    char *rest = words;
    char *word;

    while ((word = strtok_r(rest, " \t\r\n", &rest))) {
        char *value = strchr(word, '=');

        if (!value)
            return error_set(error, EINVAL, "'%s' is not a setting: write key=value", word);
        *value++ = '\0';
        if (!parse_setting(word, value, &parsed))
            return error_set(error, EINVAL, "a round has no setting %s=%s", word, value);
    }
    *spec = parsed;
    return 0;
}

static int connect_all(struct player players[], unsigned n_players, char *words, struct error *error)
{
    double seconds = CONNECT_SECONDS_DEFAULT;

    if (sscanf(words, " timeout=%lf", &seconds) < 1 && words[strspn(words, " \t\r\n")])
        return error_set(error, EINVAL, "connect takes timeout=SECONDS only");
    for (unsigned i = 0; i < n_players; i++) {
        int code = 0;

        if (players[i].home == &players[i] && !guest_is_connected(&players[i].guest))
            code = guest_connect(&players[i].guest, (int)(seconds * 1000), error);
        if (code)
            return code;
    }
    return 0;
}

static void disconnect_all(struct player players[], unsigned n_players)
{
    for (unsigned i = 0; i < n_players; i++) {
        if (players[i].home != &players[i])
            continue;
        guest_disconnect(&players[i].guest);
        players[i].guest.has_queues = false; /* the next connection makes them anew */
        players[i].n_pending = 0;
        memset(players[i].slot_builds, 0, players[i].guest.config.send.size * sizeof *players[i].slot_builds);
    }
}

static int run_round(struct player players[], unsigned n_players, struct round_spec *spec, char *words,
                     FILE *output, struct error *error)
{
    static struct round_result result;
    int code = command_parse_round(words, spec, error);

    for (unsigned i = 0; !code && i < n_players; i++) {
        uint32_t largest = spec->traffic.frame_size == TRAFFIC_IMIX ? 1518 : spec->traffic.frame_size;

        if (largest > players[i].home->guest.config.send.buffer_size)
            code = error_set(error, EINVAL, "frames of %u bytes do not fit into the send buffers of %u bytes",
                             largest, players[i].home->guest.config.send.buffer_size);
    }
    if (!code)
        code = round_run(players, n_players, spec, &result, error);
    if (!code)
        round_print(spec, &result, output);
    return code;
}

static void print_error(const struct error *error, FILE *output)
{
    fputs("{\"error\": \"", output);
    for (const char *c = error->text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', output);
        if ((unsigned char)*c >= ' ')
            fputc(*c, output);
    }
    fputs("\"}\n", output);
    fflush(output);
}

void command_serve(struct player players[], unsigned n_players, FILE *input, FILE *output)
{
    char line[LINE_SIZE];
    struct round_spec spec;

    command_default_spec(&spec);
    while (fgets(line, sizeof line, input)) {
        struct error error = {0};
        char *rest = line;
        const char *word = strtok_r(line, " \t\r\n", &rest);
        int code = 0;

        if (!word)
            continue;
        if (!strcmp(word, "quit"))
            break;
        if (!strcmp(word, "round")) {
            if (run_round(players, n_players, &spec, rest, output, &error))
                print_error(&error, output);
            continue;
        }
        if (!strcmp(word, "connect"))
            code = connect_all(players, n_players, rest, &error);
        else if (!strcmp(word, "disconnect"))
            disconnect_all(players, n_players);
        else
            code = error_set(&error, EINVAL, "there is no command '%s'", word);
        if (code) {
            print_error(&error, output);
        } else {
            fputs("{\"ok\": true}\n", output);
            fflush(output);
        }
    }
}
