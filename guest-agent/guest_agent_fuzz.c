/* SPDX-License-Identifier: Apache-2.0 */
/* The input is all that a guest's agent ever says; then it hangs up. */
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest-agent/guest_agent_internal.h"

#define INPUT_SIZE_MAX 65536 /* what a socket holds without anybody reading */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest_exec_result result;
    struct guest_agent *agent;
    int fds[2];

    if (size > INPUT_SIZE_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
        return 0;
    if (send(fds[1], data, size, MSG_DONTWAIT) == (ssize_t)size && !shutdown(fds[1], SHUT_WR) &&
        !guest_agent_adopt(&agent, fds[0], NULL)) {
        if (!guest_agent_exec(agent, (const char *[]){"true", NULL}, 1, &result, NULL))
            guest_exec_result_free(&result);
        guest_agent_close(agent);
    } else {
        close(fds[0]);
    }
    close(fds[1]);
    return 0;
}
