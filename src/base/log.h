/* One line a record on standard error. Under the journal (JOURNAL_STREAM set) the line starts with
 * the syslog priority `<N>` that journald understands, otherwise with the time and the program.
 * Only the top layer of each program logs; library code returns an error object instead. */
#pragma once

#include "base/error.h"

#include <syslog.h>

/* `program` is kept by reference; `level` is the least important syslog priority still printed. */
void log_open(const char *program, int level);
void log_set_level(int level);

/* By the name of `[log] level`: error, warning, notice, info or debug; others change nothing. */
void log_set_level_name(const char *name);

void log_write(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
