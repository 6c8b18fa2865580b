/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VNODE_LOG_H
#define VNODE_LOG_H

/*
 * The log of a daemon: one line for one event, to standard error, each line
 * "LEVEL text" with systemd's "<N>" priority in front when standard error is
 * the journal ($JOURNAL_STREAM is set). Any thread may call these, but never
 * a worker inside a burst: they make a system call.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above 'level' are dropped. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
