/* Theory of operation: see status.h. */
#include "api/status.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>

static const struct {
    const char *code;
    unsigned int status;
} by_code[] = {
    {"unauthenticated", 401},    {"route_not_found", 404},       {"sandbox_not_found", 404},
    {"method_not_allowed", 405}, {"precondition_failed", 412},   {"unsupported_media_type", 415},
    {"upgrade_required", 426},   {"rate_limited", 429},          {"exec_failed", 400},
    {"dev_script_missing", 400}, {"range_not_satisfiable", 416}, {"url_too_long", 414},
    {"pids_limit", 409},         {"processes_limit", 409},       {"memory_limit", 409},
    {"sandbox_ended", 409},      {"login_failed", 401},
};

static const struct {
    int err;
    unsigned int status;
} by_errno[] = {
    {EINVAL, 400},       {ENAMETOOLONG, 400}, {ERANGE, 400},     {EOPNOTSUPP, 400},
    {ENOENT, 404},       {ESRCH, 404},        {EACCES, 403},     {EPERM, 403},
    {EXDEV, 403},        {ELOOP, 400},        {EROFS, 403},      {EEXIST, 409},
    {EBUSY, 409},        {ENOTDIR, 409},      {EISDIR, 409},     {ENOTEMPTY, 409},
    {E2BIG, 413},        {EFBIG, 413},        {EMSGSIZE, 413},   {ENOSPC, 507},
    {EDQUOT, 507},       {EAGAIN, 503},       {ECONNRESET, 503}, {ENOTCONN, 503},
    {ECONNREFUSED, 503}, {EPIPE, 503},        {ENOBUFS, 503},    {EMFILE, 503},
    {ENFILE, 503},       {ETIMEDOUT, 504},
};

unsigned int status_of_error(const struct error *err)
{
    for (size_t i = 0; i < ELEMENTS(by_code); i++)
        if (str_equal(by_code[i].code, err->code))
            return by_code[i].status;
    for (size_t i = 0; i < ELEMENTS(by_errno); i++)
        if (by_errno[i].err == err->err)
            return by_errno[i].status;
    return 500;
}

json_t *status_error_body(const struct error *err)
{
    cleanup_json json_t *plain = error_to_json(err);
    cleanup_json json_t *detail = json_object();
    json_t *field = json_object_get(plain, "field");

    if (field)
        json_object_set(detail, "field", field);
    return json_pack("{s:{s:O,s:O,s:O}}", "error", "code", json_object_get(plain, "code"),
                     "message", json_object_get(plain, "message"), "detail", detail);
}
