/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

/*
 * What `vnode doctor` looks at. A capability is a row of one of the tables below: its check finds out whether it is
 * there, and says what follows and which command mends it. Checks read files, and change nothing.
 *
 * All files are looked for under a root, "" for the machine itself: tests have trees of other machines.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum capability_state {
    CAPABILITY_READY,
    CAPABILITY_FALLBACK, /* not there, and something else does */
    CAPABILITY_MISSING,
};

struct capability {
    const char *name;
    bool is_needed; /* without it there is no slice */
    enum capability_state state;
    char found[200];   /* what is there */
    char effect[256];  /* a sentence: what it is for, or what follows from its not being there */
    char command[512]; /* mends it; "": no command does */
};

struct doctor_check {
    const char *name;
    bool is_needed;
    const char *effect; /* of its being there */
    void (*look)(const char *root, struct capability *capability);
};

/* Each table ends with a row without a name. */
extern const struct doctor_check doctor_machine[], doctor_kernel[], doctor_software[], doctor_daemons[];

/* For checks: what was found; and, unless the state is CAPABILITY_READY, what follows and what mends it. */
void capability_found(struct capability *capability, enum capability_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void capability_mend(struct capability *capability, const char *effect, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, of what the kernel has to be started with: 'format' and what follows make the parameters. */
void capability_boot_with(const char *root, struct capability *capability, const char *effect,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Files under 'root'; 'format' and what follows make the name. */

bool root_exists(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
FILE *root_open(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first line of a file without its end, into 'line' of 'size' bytes; false: there is no such file, or it is empty. */
bool root_line(const char *root, char *line, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The number that a file begins with; 0: there is none. */
uint64_t root_number(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The number behind 'name' in a file of lines such as "MemTotal:  123 kB"; 0: there is none. */
uint64_t root_field(const char *root, const char *path, const char *name);

/* Whether a line of a file has 'word' in it, between blanks or the line's ends. */
bool root_has_word(const char *root, const char *path, const char *word);

/* How many entries of a folder have names that begin with 'prefix'. */
unsigned root_count(const char *root, const char *path, const char *prefix);

#endif
