/* Theory of operation: see http-file.h. */
#include "api/http-file.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int integer_of(const json_t *object, const char *name, int64_t *ret_value)
{
    json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -EPROTO;
    *ret_value = json_integer_value(value);
    return 0;
}

/* mtime_ns is either all of the time in nanoseconds or their part below a second; both identify. */
int file_version_of(const json_t *stat, struct file_version *ret_version)
{
    struct file_version version;

    if (integer_of(stat, "inode", &version.inode) < 0 ||
        integer_of(stat, "mtime_ns", &version.mtime_ns) < 0 ||
        integer_of(stat, "size", &version.size) < 0)
        return -EPROTO;
    *ret_version = version;
    return 0;
}

void etag_format(const struct file_version *version, char text[ETAG_SIZE])
{
    snprintf(text, ETAG_SIZE, "\"%llx-%llx-%llx\"", (unsigned long long)version->inode,
             (unsigned long long)version->mtime_ns, (unsigned long long)version->size);
}

bool etag_listed(const char *header, const char *etag)
{
    size_t wanted = strlen(etag);

    while (*header) {
        header += strspn(header, ", \t");
        if (*header == '*')
            return true;
        if (strncmp(header, "W/", 2) == 0)
            header += 2;
        size_t length = strcspn(header, ", \t");
        if (length == wanted && strncmp(header, etag, length) == 0)
            return true;
        header += length;
    }
    return false;
}

static const char *parse_position(const char *text, bool *ret_given, uint64_t *ret_value)
{
    char digits[21] = "";
    size_t length = strspn(text, "0123456789");

    *ret_given = length > 0;
    if (length == 0)
        return text;
    if (length >= sizeof(digits))
        return NULL;
    memcpy(digits, text, length);
    return parse_u64(digits, 0, UINT64_MAX, ret_value) < 0 ? NULL : text + length;
}

static int clip_range(bool has_first, uint64_t first, bool has_last, uint64_t last, uint64_t size,
                      uint64_t *ret_first, uint64_t *ret_last)
{
    if (!has_first && !has_last)
        return -ENOENT;
    if (has_first && has_last && last < first)
        return -ENOENT;
    if (size == 0 || (has_first ? first >= size : last == 0))
        return -ERANGE;
    *ret_first = has_first ? first : last < size ? size - last : 0;
    *ret_last = has_first && has_last && last < size ? last : size - 1;
    return 0;
}

int range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
    bool has_first, has_last;
    uint64_t first = 0, last = 0;

    if (!str_starts(header, "bytes="))
        return -ENOENT;
    const char *at = parse_position(header + 6, &has_first, &first);
    if (!at || *at != '-')
        return -ENOENT;
    at = parse_position(at + 1, &has_last, &last);
    if (!at || *at != '\0')
        return -ENOENT;
    return clip_range(has_first, first, has_last, last, size, ret_first, ret_last);
}

void http_date(time_t time, char text[32])
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm parts;

    text[0] = '\0';
    if (!gmtime_r(&time, &parts) || parts.tm_year > 8099)
        return;
    snprintf(text, 32, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
             months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}
