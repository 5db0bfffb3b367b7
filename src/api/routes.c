/* The route table: all of the REST interface, with the fields of every query and body. */
#include "api/route.h"

#include "api/account-schema.h"
#include "api/account/password.h"
#include "api/audit/audit-schema.h"
#include "api/dev-schema.h"
#include "api/events/event-schema.h"
#include "api/exec-request.h"
#include "api/exec-schema.h"
#include "api/file-schema.h"
#include "api/handlers.h"
#include "api/sandbox-schema.h"
#include "api/session-schema.h"
#include "api/store/accounts.h"
#include "api/template-schema.h"
#include "api/webhooks/webhook-schema.h"
#include "api/webhooks/webhooks.h"
#include "base/cleanup.h"
#include "base/preview-token.h"
#include "base/spec.h"

#include <stddef.h>

static const char *const state_choices[] = {"creating", "running", "paused",   "stopping",
                                            "stopped",  "failed",  "removing", NULL};
static const char *const wait_choices[] = {"ready", NULL};
static const char *const source_choices[] = {"dev-server", NULL};

static const struct field list_query[] = {
    {"label", FIELD_STRING_ARRAY, offsetof(struct sandbox_list_query, labels), 0, 32, false, NULL},
    {"state", FIELD_CHOICE, offsetof(struct sandbox_list_query, state), 0, 0, false, state_choices},
    {"limit", FIELD_INT, offsetof(struct sandbox_list_query, limit), 1, 256, false, NULL},
    {"cursor", FIELD_SANDBOX_ID, offsetof(struct sandbox_list_query, cursor), 0, 0, false, NULL},
};

static const struct field stop_body[] = {
    {"grace_ms", FIELD_INT, offsetof(struct sandbox_stop_body, grace_ms), 0, 60000, false, NULL},
};

static const struct field patch_body[] = {
    {"name", FIELD_STRING, offsetof(struct sandbox_patch_body, name), 0, 128, false, NULL},
    {"labels", FIELD_STRING_MAP, offsetof(struct sandbox_patch_body, labels), 0, 32, false, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct sandbox_patch_body, limits), 0, 0, false, NULL},
    {"egress", FIELD_ANY, offsetof(struct sandbox_patch_body, egress), 0, 0, false, NULL},
    {"access", FIELD_CHOICE, offsetof(struct sandbox_patch_body, access), 0, 0, false,
     access_choices},
};

static const struct field preview_token_body[] = {
    {"expires_in_s", FIELD_INT, offsetof(struct preview_token_body, expires_in_s),
     PREVIEW_EXPIRES_MIN_S, PREVIEW_EXPIRES_MAX_S, false, NULL},
    {"port", FIELD_INT, offsetof(struct preview_token_body, port), 1, 65535, false, NULL},
};

static const struct field template_body[] = {
    {"name", FIELD_STRING, offsetof(struct template_body, name), 1, 64, true, NULL},
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct template_body, sandbox), 0, 0, true, NULL},
    {"description", FIELD_STRING, offsetof(struct template_body, description), 0, 512, false, NULL},
    {"dev", FIELD_OBJECT, offsetof(struct template_body, dev), 0, 0, false, NULL},
    {"consume", FIELD_BOOL, offsetof(struct template_body, consume), 0, 0, false, NULL},
};

static const struct field policy_body[] = {
    {"text", FIELD_STRING, offsetof(struct policy_body, text), 2, 49152, true, NULL},
    {"file", FIELD_STRING, offsetof(struct policy_body, file), 1, 200, false, NULL},
};

static const struct field token_body[] = {
    {"name", FIELD_STRING, offsetof(struct token_body, name), 1, 64, true, NULL},
    {"owner", FIELD_STRING, offsetof(struct token_body, owner), 1, OWNER_MAX, false, NULL},
    {"scopes", FIELD_STRING_ARRAY, offsetof(struct token_body, scopes), 1, 3, true, NULL},
};

static const struct field login_body[] = {
    {"user", FIELD_STRING, offsetof(struct login_body, user), 1, ACCOUNT_NAME_MAX, true, NULL},
    {"password", FIELD_STRING, offsetof(struct login_body, password), 1, PASSWORD_MAX, true, NULL},
};

static const struct field user_body[] = {
    {"name", FIELD_STRING, offsetof(struct user_body, name), 1, ACCOUNT_NAME_MAX, true, NULL},
    {"password", FIELD_STRING, offsetof(struct user_body, password), PASSWORD_MIN, PASSWORD_MAX,
     true, NULL},
};

static const struct field user_patch_body[] = {
    {"password", FIELD_STRING, offsetof(struct user_body, password), PASSWORD_MIN, PASSWORD_MAX,
     false, NULL},
    {"disabled", FIELD_BOOL, offsetof(struct user_body, disabled), 0, 0, false, NULL},
};

static const struct field user_query[] = {
    {"name", FIELD_STRING, offsetof(struct user_query, name), 1, ACCOUNT_NAME_MAX, false, NULL},
};

static const struct field socket_query[] = {
    {"process_id", FIELD_INT, offsetof(struct exec_socket_query, process_id), 1, INT64_MAX, false,
     NULL},
    {"since", FIELD_INT, offsetof(struct exec_socket_query, since), 0, INT64_MAX, false, NULL},
    {"detach", FIELD_BOOL, offsetof(struct exec_socket_query, detach), 0, 0, false, NULL},
};

static const struct field log_query[] = {
    {"since", FIELD_INT, offsetof(struct log_query, since), 0, INT64_MAX, false, NULL},
    {"follow", FIELD_BOOL, offsetof(struct log_query, follow), 0, 0, false, NULL},
};

static const struct field service_log_query[] = {
    {"source", FIELD_CHOICE, offsetof(struct log_query, source), 0, 0, false, source_choices},
    {"since", FIELD_INT, offsetof(struct log_query, since), 0, INT64_MAX, false, NULL},
    {"follow", FIELD_BOOL, offsetof(struct log_query, follow), 0, 0, false, NULL},
};

static const struct field signal_query[] = {
    {"signal", FIELD_STRING, offsetof(struct signal_query, signal), 4, 16, false, NULL},
};

#define FILE_PATH(needed)                                                                          \
    {                                                                                              \
        "path", FIELD_STRING, offsetof(struct file_query, path), 1, 4096, needed, NULL             \
    }

static const struct field file_get_query[] = {
    FILE_PATH(true),
    {"list", FIELD_BOOL, offsetof(struct file_query, list), 0, 0, false, NULL},
    {"after", FIELD_STRING, offsetof(struct file_query, after), 1, 255, false, NULL},
    {"limit", FIELD_INT, offsetof(struct file_query, limit), 1, FILE_PAGE_MAX, false, NULL},
};

static const struct field file_put_query[] = {
    FILE_PATH(true),
    {"mode", FIELD_STRING, offsetof(struct file_query, mode), 1, 4, false, NULL},
    {"directory", FIELD_BOOL, offsetof(struct file_query, directory), 0, 0, false, NULL},
};

static const struct field file_remove_query[] = {
    FILE_PATH(true),
    {"recursive", FIELD_BOOL, offsetof(struct file_query, recursive), 0, 0, false, NULL},
};

static const struct field tree_query[] = {
    FILE_PATH(false),
    {"depth", FIELD_INT, offsetof(struct file_query, depth), 1, 32, false, NULL},
};

static const struct field watch_query[] = {FILE_PATH(false)};

static const struct field dev_query[] = {
    {"wait", FIELD_CHOICE, offsetof(struct dev_query, wait), 0, 0, false, wait_choices},
    {"timeout_ms", FIELD_INT, offsetof(struct dev_query, timeout_ms), 1, 600000, false, NULL},
};

static const struct field dev_body[] = {
    {"command", FIELD_ANY, offsetof(struct dev_body, command), 0, 0, false, NULL},
    {"env", FIELD_STRING_MAP, offsetof(struct dev_body, env), 0, 128, false, NULL},
    {"port", FIELD_INT, offsetof(struct dev_body, port), 1, 65535, false, NULL},
    {"auto_restart", FIELD_BOOL, offsetof(struct dev_body, auto_restart), 0, 0, false, NULL},
    {"path_form", FIELD_BOOL, offsetof(struct dev_body, path_form), 0, 0, false, NULL},
};

/* The seed's message types and senders. */
static const char *const message_types[] = {"user",
                                            "assistant",
                                            "agent_partial",
                                            "init",
                                            "error",
                                            "update_in_progress",
                                            "update_completed",
                                            "file_updated",
                                            "code_files",
                                            "ping",
                                            NULL};
static const char *const sender_choices[] = {"USER", "ASSISTANT", NULL};

static const struct field session_list_query[] = {
    {"limit", FIELD_INT, offsetof(struct session_list_query, limit), 1, SESSION_PAGE_MAX, false,
     NULL},
    {"cursor", FIELD_STRING, offsetof(struct session_list_query, cursor), 1, 80, false, NULL},
};

#define SESSION_FIELDS(title_needed)                                                                 \
    {"title", FIELD_STRING, offsetof(struct session_body, title), 1, 512, title_needed, NULL},       \
        {"description", FIELD_STRING, offsetof(struct session_body, description), 0, 8192,           \
         false,         NULL},                                                                       \
        {"sandbox_id", FIELD_STRING, offsetof(struct session_body, sandbox_id), 0, 12, false, NULL}, \
        {"thumbnail", FIELD_STRING, offsetof(struct session_body, thumbnail), 0, 2048, false, NULL}, \
        {"iframe_url", FIELD_STRING, offsetof(struct session_body, iframe_url), 0, 2048,             \
         false,        NULL},                                                                        \
        {"user_id", FIELD_STRING, offsetof(struct session_body, user), 1, OWNER_MAX, false, NULL},   \
        {"is_active", FIELD_BOOL, offsetof(struct session_body, is_active), 0, 0, false, NULL},

static const struct field session_body[] = {SESSION_FIELDS(true)};
static const struct field session_patch_body[] = {SESSION_FIELDS(false)};

static const struct field session_remove_query[] = {
    {"sandbox", FIELD_BOOL, offsetof(struct session_remove_query, sandbox), 0, 0, false, NULL},
};

static const struct field audit_query[] = {
    {"since", FIELD_INT, offsetof(struct audit_list_query, since), 0, INT64_MAX, false, NULL},
    {"before", FIELD_INT, offsetof(struct audit_list_query, before), 1, INT64_MAX, false, NULL},
    {"limit", FIELD_INT, offsetof(struct audit_list_query, limit), 1, AUDIT_PAGE_MAX, false, NULL},
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct audit_list_query, sandbox), 0, 0, false, NULL},
    {"session", FIELD_STRING, offsetof(struct audit_list_query, session), 36, 36, false, NULL},
    {"subject", FIELD_STRING, offsetof(struct audit_list_query, subject), 1, OWNER_MAX, false,
     NULL},
};

#define WEBHOOK_FIELDS(url_needed)                                                                 \
    {"url", FIELD_STRING, offsetof(struct webhook_body, url), 8, 2048, url_needed, NULL},          \
        {"secret", FIELD_STRING, offsetof(struct webhook_body, secret), 16, WEBHOOK_SECRET_MAX,    \
         false,    NULL},                                                                          \
        {"events", FIELD_STRING_ARRAY, offsetof(struct webhook_body, events), 0, 16, false, NULL}, \
        {"active", FIELD_BOOL, offsetof(struct webhook_body, active), 0, 0, false, NULL},

static const struct field webhook_body[] = {WEBHOOK_FIELDS(true)};
static const struct field webhook_patch_body[] = {WEBHOOK_FIELDS(false)};

static const struct field webhook_failures_query[] = {
    {"before", FIELD_INT, offsetof(struct webhook_failures_query, before), 1, INT64_MAX, false,
     NULL},
    {"limit", FIELD_INT, offsetof(struct webhook_failures_query, limit), 1, WEBHOOK_FAILURES_MAX,
     false, NULL},
};

static const struct field webhook_redeliver_body[] = {
    {"delivery", FIELD_INT, offsetof(struct webhook_redeliver_body, delivery), 1, INT64_MAX, false,
     NULL},
};

static const char *const role_choices[] = {"user", "agent", NULL};

static const struct field chat_query[] = {
    {"role", FIELD_CHOICE, offsetof(struct chat_query, role), 0, 0, false, role_choices},
    {"since", FIELD_INT, offsetof(struct chat_query, since), 0, INT64_MAX, false, NULL},
    {"acks", FIELD_BOOL, offsetof(struct chat_query, acks), 0, 0, false, NULL},
};

static const struct field event_query[] = {
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct event_query, sandbox), 0, 0, false, NULL},
    {"since", FIELD_INT, offsetof(struct event_query, since), 0, INT64_MAX, false, NULL},
};

static const struct field browser_query[] = {
    {"since", FIELD_INT, offsetof(struct browser_query, since), 0, INT64_MAX, false, NULL},
};

static const struct field message_query[] = {
    {"since", FIELD_INT, offsetof(struct message_list_query, since), 0, INT64_MAX, false, NULL},
    {"before", FIELD_INT, offsetof(struct message_list_query, before), 1, INT64_MAX, false, NULL},
    {"limit", FIELD_INT, offsetof(struct message_list_query, limit), 1, SESSION_PAGE_MAX, false,
     NULL},
};

static const struct field message_body[] = {
    {"id", FIELD_STRING, offsetof(struct message_body, id), 36, 36, false, NULL},
    {"type", FIELD_CHOICE, offsetof(struct message_body, type), 0, 0, true, message_types},
    {"content", FIELD_STRING, offsetof(struct message_body, content), 0, 512 << 10, true, NULL},
    {"sender", FIELD_CHOICE, offsetof(struct message_body, sender), 0, 0, true, sender_choices},
    {"timestamp", FIELD_INT, offsetof(struct message_body, timestamp), 0, 253402300799999, false,
     NULL}, /* the end of the year 9999 */
    {"message_data", FIELD_OBJECT, offsetof(struct message_body, message_data), 0, 0, false, NULL},
};

#define NO_FIELDS                                                                                  \
    {                                                                                              \
        NULL, 0                                                                                    \
    }
#define BOX     "/v1/sandboxes/{id}"
#define SESSION "/v1/sessions/{session_id}"
#define WEBHOOK "/v1/webhooks/{webhook_id}"

const struct route routes[] = {
    {METHOD_GET, "/healthz", SCOPE_READ, BODY_NONE, ROUTE_PUBLIC, NO_FIELDS, NO_FIELDS,
     system_alive},
    {METHOD_GET, "/readyz", SCOPE_READ, BODY_NONE, ROUTE_PUBLIC, NO_FIELDS, NO_FIELDS,
     system_ready},
    {METHOD_GET, "/v1/version", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, system_version},
    {METHOD_GET, "/metrics", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, system_metrics},
    {METHOD_GET, "/v1/doctor", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, system_doctor},

    {METHOD_GET, "/v1/sandboxes", SCOPE_READ, BODY_NONE, 0, SCHEMA(list_query), NO_FIELDS,
     sandbox_list},
    {METHOD_POST, "/v1/sandboxes", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS,
     SCHEMA(sandbox_spec_fields), sandbox_create},
    {METHOD_GET, BOX, SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, sandbox_get},
    {METHOD_PATCH, BOX, SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(patch_body),
     sandbox_patch},
    {METHOD_DELETE, BOX, SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, sandbox_remove},
    {METHOD_POST, BOX "/start", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, sandbox_start},
    {METHOD_POST, BOX "/stop", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(stop_body),
     sandbox_stop},
    {METHOD_POST, BOX "/pause", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, sandbox_pause},
    {METHOD_POST, BOX "/resume", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     sandbox_resume},
    {METHOD_GET, BOX "/stats", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, sandbox_stats},

    {METHOD_POST, BOX "/exec", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(exec_fields),
     exec_run},
    {METHOD_GET, BOX "/exec", SCOPE_SANDBOXES, BODY_NONE, ROUTE_WEBSOCKET | ROUTE_AUDITED,
     SCHEMA(socket_query), NO_FIELDS, exec_socket},
    {METHOD_GET, BOX "/processes", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, process_list},
    {METHOD_GET, BOX "/processes/{process_id}", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     process_get},
    {METHOD_DELETE, BOX "/processes/{process_id}", SCOPE_SANDBOXES, BODY_NONE, 0,
     SCHEMA(signal_query), NO_FIELDS, process_signal},
    {METHOD_GET, BOX "/processes/{process_id}/logs", SCOPE_READ, BODY_NONE, 0, SCHEMA(log_query),
     NO_FIELDS, process_logs},
    {METHOD_GET, BOX "/logs", SCOPE_READ, BODY_NONE, 0, SCHEMA(service_log_query), NO_FIELDS,
     sandbox_logs},

    {METHOD_GET, BOX "/files", SCOPE_READ, BODY_NONE, 0, SCHEMA(file_get_query), NO_FIELDS,
     file_get},
    {METHOD_PUT, BOX "/files", SCOPE_SANDBOXES, BODY_STREAM, 0, SCHEMA(file_put_query), NO_FIELDS,
     file_put},
    {METHOD_DELETE, BOX "/files", SCOPE_SANDBOXES, BODY_NONE, 0, SCHEMA(file_remove_query),
     NO_FIELDS, file_remove},
    {METHOD_GET, BOX "/tree", SCOPE_READ, BODY_NONE, 0, SCHEMA(tree_query), NO_FIELDS, file_tree},

    {METHOD_GET, BOX "/watch", SCOPE_READ, BODY_NONE, ROUTE_WEBSOCKET, SCHEMA(watch_query),
     NO_FIELDS, file_watch_socket},

    {METHOD_GET, BOX "/dev-server", SCOPE_READ, BODY_NONE, 0, SCHEMA(dev_query), NO_FIELDS,
     dev_server_get},
    {METHOD_PUT, BOX "/dev-server", SCOPE_SANDBOXES, BODY_JSON, 0, SCHEMA(dev_query),
     SCHEMA(dev_body), dev_server_put},
    {METHOD_DELETE, BOX "/dev-server", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     dev_server_stop},
    {METHOD_GET, BOX "/ports", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, port_list},
    {METHOD_POST, BOX "/preview-tokens", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS,
     SCHEMA(preview_token_body), preview_token_create},
    {METHOD_DELETE, BOX "/preview-tokens", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     preview_token_revoke_all},
    {METHOD_GET, BOX "/browser-errors", SCOPE_READ, BODY_NONE, 0, SCHEMA(browser_query), NO_FIELDS,
     browser_error_list},
    {METHOD_DELETE, BOX "/browser-errors", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     browser_error_clear},

    {METHOD_GET, "/v1/sessions", SCOPE_READ, BODY_NONE, 0, SCHEMA(session_list_query), NO_FIELDS,
     session_list_all},
    {METHOD_POST, "/v1/sessions", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(session_body),
     session_create},
    {METHOD_POST, "/v1/sessions:deduplicate", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     session_deduplicate_all},
    {METHOD_GET, SESSION, SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, session_get},
    {METHOD_PATCH, SESSION, SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(session_patch_body),
     session_patch},
    {METHOD_DELETE, SESSION, SCOPE_SANDBOXES, BODY_NONE, 0, SCHEMA(session_remove_query), NO_FIELDS,
     session_remove},
    {METHOD_GET, SESSION "/thumbnail", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     thumbnail_get},
    {METHOD_PUT, SESSION "/thumbnail", SCOPE_SANDBOXES, BODY_STREAM, 0, NO_FIELDS, NO_FIELDS,
     thumbnail_upload},
    {METHOD_DELETE, SESSION "/thumbnail", SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     thumbnail_remove},
    {METHOD_GET, SESSION "/messages", SCOPE_READ, BODY_NONE, 0, SCHEMA(message_query), NO_FIELDS,
     message_list_all},
    {METHOD_POST, SESSION "/messages", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS,
     SCHEMA(message_body), message_append},

    {METHOD_GET, SESSION "/ws", SCOPE_SANDBOXES, BODY_NONE, ROUTE_WEBSOCKET | ROUTE_AUDITED,
     SCHEMA(chat_query), NO_FIELDS, chat_session_socket},
    {METHOD_GET, "/", SCOPE_SANDBOXES, BODY_NONE, ROUTE_WEBSOCKET | ROUTE_AUDITED,
     SCHEMA(chat_query), NO_FIELDS, chat_socket},

    {METHOD_GET, "/v1/events", SCOPE_READ, BODY_NONE, ROUTE_WEBSOCKET, SCHEMA(event_query),
     NO_FIELDS, event_socket},

    {METHOD_GET, "/v1/webhooks", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, webhook_list_all},
    {METHOD_POST, "/v1/webhooks", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(webhook_body),
     webhook_create},
    {METHOD_GET, WEBHOOK, SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, webhook_get},
    {METHOD_PATCH, WEBHOOK, SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS, SCHEMA(webhook_patch_body),
     webhook_patch_one},
    {METHOD_DELETE, WEBHOOK, SCOPE_SANDBOXES, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, webhook_remove},
    {METHOD_GET, WEBHOOK "/failures", SCOPE_READ, BODY_NONE, 0, SCHEMA(webhook_failures_query),
     NO_FIELDS, webhook_failures},
    {METHOD_POST, WEBHOOK "/redeliver", SCOPE_SANDBOXES, BODY_JSON, 0, NO_FIELDS,
     SCHEMA(webhook_redeliver_body), webhook_redeliver},

    {METHOD_GET, "/v1/audit", SCOPE_ADMIN, BODY_NONE, 0, SCHEMA(audit_query), NO_FIELDS,
     audit_list_all},
    {METHOD_GET, "/v1/audit/verify", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, audit_verify},

    {METHOD_GET, "/v1/policies", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, policy_list},
    {METHOD_GET, "/v1/policies/{name}", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, policy_get},
    {METHOD_POST, "/v1/policies:check", SCOPE_ADMIN, BODY_JSON, 0, NO_FIELDS, SCHEMA(policy_body),
     policy_check},
    {METHOD_GET, "/v1/templates", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, template_list},
    {METHOD_POST, "/v1/templates", SCOPE_ADMIN, BODY_JSON, 0, NO_FIELDS, SCHEMA(template_body),
     template_create},
    {METHOD_DELETE, "/v1/templates/{name}", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     template_remove},
    {METHOD_GET, "/v1/tokens", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, token_list},
    {METHOD_POST, "/v1/tokens", SCOPE_ADMIN, BODY_JSON, 0, NO_FIELDS, SCHEMA(token_body),
     token_create},
    {METHOD_DELETE, "/v1/tokens/{token_id}", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     token_revoke},

    {METHOD_GET, "/v1/users", SCOPE_ADMIN, BODY_NONE, 0, SCHEMA(user_query), NO_FIELDS, user_list},
    {METHOD_POST, "/v1/users", SCOPE_ADMIN, BODY_JSON, ROUTE_SECRET, NO_FIELDS, SCHEMA(user_body),
     user_create},
    {METHOD_PATCH, "/v1/users/{user_id}", SCOPE_ADMIN, BODY_JSON, ROUTE_SECRET, NO_FIELDS,
     SCHEMA(user_patch_body), user_patch},
    {METHOD_DELETE, "/v1/users/{user_id}", SCOPE_ADMIN, BODY_NONE, 0, NO_FIELDS, NO_FIELDS,
     user_remove},
    {METHOD_POST, "/v1/auth/login", SCOPE_READ, BODY_JSON, ROUTE_PUBLIC | ROUTE_SECRET, NO_FIELDS,
     SCHEMA(login_body), auth_login},
    {METHOD_GET, "/v1/auth/me", SCOPE_READ, BODY_NONE, 0, NO_FIELDS, NO_FIELDS, auth_me},
};
const size_t n_routes = ELEMENTS(routes);

_Static_assert(sizeof(struct sandbox_spec) <= ROUTE_DATA_MAX, "a decoded body fits");
_Static_assert(sizeof(struct exec_body) <= ROUTE_DATA_MAX, "a decoded body fits");
