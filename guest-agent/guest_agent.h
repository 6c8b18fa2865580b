/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_AGENT_GUEST_AGENT_H
#define GUEST_AGENT_GUEST_AGENT_H

/*
 * A client of QEMU's guest agent, qemu-ga: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html.
 *
 *     struct guest_agent *agent;
 *     struct guest_exec_result result;
 *
 *     if (!guest_agent_open(&agent, "/run/vnode/demo.a.agent", 10000, &error) &&
 *         !guest_agent_exec(agent, (const char *[]){"ip", "address", NULL}, 60000, &result, &error)) {
 *         fwrite(result.output, 1, result.output_size, stdout);
 *         guest_exec_result_free(&result);
 *     }
 *     guest_agent_close(agent);
 *
 * The socket is the host's end of the agent's virtio-serial channel. QEMU serves one client at a time: the next one waits
 * until it is gone, and gets nothing before. So open the agent for what is to be done, and close it; while a command runs for long, the
 * channel is left to others between two looks at it.
 *
 * Everything that comes in is the guest's word, and the guest may be hostile: lines have at most GUEST_AGENT_LINE_MAX bytes,
 * each request has a deadline, each answer is checked. One thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

#define GUEST_AGENT_REPLY_MS 10000           /* for an answer to one request */
#define GUEST_AGENT_LINE_MAX (48u << 20)     /* qemu-ga captures 16 MiB of each output, in base64 */
#define GUEST_AGENT_REQUEST_MAX (256u << 10) /* Linux takes 128 KiB for one argument */
#define GUEST_AGENT_POLL_MIN_MS 5            /* between two looks whether a command has ended: ... */
#define GUEST_AGENT_POLL_MAX_MS 250          /* ... longer and longer */

struct guest_agent;

/* How a command has ended. */
struct guest_exec_result {
    int status;   /* as of a shell: its exit status, or 128 and the number of the signal that ended it */
    char *output; /* what it wrote to standard output ... */
    size_t output_size;
    char *errors; /* ... and to standard error; never NULL, and a NUL stands behind each */
    size_t errors_size;
    bool truncated; /* it wrote more than the agent keeps */
};

/*
 * Connects to the agent at 'path', and waits until it answers, for 'wait_ms' at most. ENOENT or ECONNREFUSED: nobody serves the
 * socket, so the machine does not run. ETIMEDOUT: no agent runs in the guest yet, or somebody else has the channel.
 */
int guest_agent_open(struct guest_agent **agent, const char *path, unsigned wait_ms, struct error *error);

/* NULL: nothing. */
void guest_agent_close(struct guest_agent *agent);

/* Whether the agent still answers: 0, or an errno value. */
int guest_agent_ping(struct guest_agent *agent, struct error *error);

/*
 * From now on the command that runs is given the signals that can be read from 'signals', a signalfd of the caller's that does not block; a
 * program 'kill' in the guest does that. -1, as to begin with: none.
 */
void guest_agent_pass_signals(struct guest_agent *agent, int signals);

/*
 * Runs 'words', ended by NULL, in the guest, with no input, and waits for its end; for 'wait_ms' at most, 0: as long as it takes. The
 * agent finds the program by its own PATH. Returns 0 and the result, whatever the status; free it with
 * guest_exec_result_free(). EINVAL: the agent refused, the sentence says why (no such program, say). ETIMEDOUT: the
 * command goes on in the guest.
 *
 * After ETIMEDOUT by the agent, EPROTO, EMSGSIZE or EPIPE the agent is of no use any more: close it.
 */
int guest_agent_exec(struct guest_agent *agent, const char *const words[], unsigned wait_ms,
                     struct guest_exec_result *result, struct error *error);
void guest_exec_result_free(struct guest_exec_result *result);

#endif
