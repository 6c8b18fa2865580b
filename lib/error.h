/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_ERROR_H
#define VNODE_ERROR_H

/*
 * An error that a person will read. Functions that can fail for a reason worth
 * telling take a 'struct error *' as their last argument, return 0 or a
 * positive errno value, and on failure leave one whole sentence there: what
 * failed, on which object, why, and what to do about it. 'error' may be NULL.
 *
 *     struct error error;
 *     if (port_add(&spec, &error))
 *         log_error("%s", error.text);
 */
struct error {
    int code;       /* positive errno value; 0: no error */
    char text[256]; /* a sentence, without a final newline */
};

/* Sets 'error' (if not NULL) to 'code' and the formatted sentence; returns 'code'. */
int error_set(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
