/* Theory of operation: a record is formatted into one buffer, control characters are replaced so
 * that text from a sandbox cannot forge a second record, and it leaves in one write(2). */
#include "base/log.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_program = "auracode";
static int log_level = LOG_INFO;
static int log_to_journal;

void log_open(const char *program, int level)
{
    log_program = program;
    log_level = level;
    log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(int level)
{
    log_level = level;
}

void log_set_level_name(const char *name)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"error", LOG_ERR},
                  {"warning", LOG_WARNING},
                  {"notice", LOG_NOTICE},
                  {"info", LOG_INFO},
                  {"debug", LOG_DEBUG}};

    for (size_t i = 0; i < ELEMENTS(levels); i++)
        if (str_equal(levels[i].name, name))
            log_level = levels[i].level;
}

static int write_prefix(char *line, size_t size, int priority)
{
    struct timespec now;
    struct tm parts;

    if (log_to_journal)
        return snprintf(line, size, "<%d>", priority);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    return snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s: ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                    now.tv_nsec / 1000000, log_program);
}

static void mask_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

void log_write(int priority, const char *format, ...)
{
    char line[2048];
    va_list arguments;

    if (priority > log_level)
        return;
    int used = write_prefix(line, sizeof(line), priority);
    va_start(arguments, format);
    vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, arguments);
    va_end(arguments);
    mask_controls(line + used);
    size_t length = strlen(line);
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, length) < 0)
        return; /* nowhere left to say it */
}
