/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "fastpath/control_internal.h"

struct control_answer *control_answer_create(uint32_t request)
{
    struct control_answer *answer = calloc(1, sizeof *answer);

    if (answer)
        answer->request = request;
    return answer;
}

void control_answer_append(struct control_answer *answer, const char *text, size_t size)
{
    if (answer->failed)
        return;
    if (answer->size + size > answer->room) {
        size_t room = 2 * (answer->size + size);
        char *larger = realloc(answer->text, room);

        if (!larger) {
            answer->failed = true;
            return;
        }
        answer->text = larger;
        answer->room = room;
    }
    memcpy(answer->text + answer->size, text, size);
    answer->size += size;
}

void control_answer_destroy(struct control_answer *answer)
{
    if (!answer)
        return;
    free(answer->text);
    free(answer->slice);
    free(answer);
}
