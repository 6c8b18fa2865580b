/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOADGEN_COMMAND_H
#define LOADGEN_COMMAND_H

/*
 * The lines that the load generator takes on standard input. Each is a word and "key=value" settings, and is
 * answered by one line of JSON: the result, or {"error": "sentence"}.
 *
 *     connect timeout=SECONDS          waits until each guest has its switch
 *     round KEY=VALUE...               a round of load; settings stay as they are until changed
 *     disconnect                       the guests drop their connections and forget their rings
 *     quit
 *
 * Settings of a round: seconds, rate (frames per second and guest, 0: as fast as possible), size (bytes or
 * imix), flows, direction (both, forward, backward), window (frames, 0, or auto), verify (0, 1), payload
 * (fresh, still), flow_gaps (0, 1), vary (ports, addresses, prefixes), offload (none, checksum, tso), segment (bytes), sample (n),
 * drain (seconds), write_off (seconds), nap (microseconds, 0: never).
 */

#include "bench/loadgen/round.h"

void command_default_spec(struct round_spec *spec);

/* Takes "key=value" words over into 'spec'. EINVAL with a sentence. 'words' is cut up. */
int command_parse_round(char *words, struct round_spec *spec, struct error *error);

/* Reads and answers lines until quit or the end of input. */
void command_serve(struct player players[], unsigned n_players, FILE *input, FILE *output);

#endif
