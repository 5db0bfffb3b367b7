/* The handlers of the route table, one file a topic, each with the schemas of its routes. */
#pragma once

#include "api/request.h"
#include "api/store/sessions.h"
#include "base/preview-token.h"

#define HANDLER(name)                                                                              \
    int name(struct http_request *request, void *query, void *body, struct error *err)

/* sandboxes.c, sandbox-list.c */
HANDLER(sandbox_create);
HANDLER(sandbox_list);
HANDLER(sandbox_get);
HANDLER(sandbox_patch);
HANDLER(sandbox_remove);
HANDLER(sandbox_start);
HANDLER(sandbox_stop);
HANDLER(sandbox_pause);
HANDLER(sandbox_resume);
HANDLER(sandbox_stats);

/* system.c */
HANDLER(system_version);
HANDLER(system_doctor);
HANDLER(system_metrics);
HANDLER(system_alive);
HANDLER(system_ready);

/* templates.c, tokens.c */
HANDLER(policy_list);
HANDLER(policy_get);
HANDLER(policy_check);
HANDLER(template_list);
HANDLER(template_create);
HANDLER(template_remove);
HANDLER(token_list);
HANDLER(token_create);
HANDLER(token_revoke);

/* users.c, login.c */
HANDLER(user_list);
HANDLER(user_create);
HANDLER(user_patch);
HANDLER(user_remove);
HANDLER(auth_login);
HANDLER(auth_me);

/* exec.c, exec-ws.c */
HANDLER(exec_run);
HANDLER(exec_socket);

/* processes.c, logs.c */
HANDLER(process_list);
HANDLER(process_get);
HANDLER(process_signal);
HANDLER(process_logs);
HANDLER(sandbox_logs);

/* files.c, upload.c, tree.c */
HANDLER(file_get);
HANDLER(file_put);
HANDLER(file_remove);
HANDLER(file_tree);

/* watch.c */
HANDLER(file_watch_socket);

/* dev-server.c */
HANDLER(dev_server_put);
HANDLER(dev_server_get);
HANDLER(dev_server_stop);
HANDLER(port_list);

/* preview-tokens.c */
HANDLER(preview_token_create);
HANDLER(preview_token_revoke_all);

/* sessions.c, messages.c */
HANDLER(session_list_all);
HANDLER(session_create);
HANDLER(session_get);
HANDLER(session_patch);
HANDLER(session_remove);
HANDLER(session_deduplicate_all);
HANDLER(message_list_all);
HANDLER(message_append);

/* thumbnails.c */
HANDLER(thumbnail_upload);
HANDLER(thumbnail_get);
HANDLER(thumbnail_remove);

/* chat/member.c */
HANDLER(chat_session_socket);
HANDLER(chat_socket);

/* events/socket.c, events/browser.c */
HANDLER(event_socket);
HANDLER(browser_error_list);
HANDLER(browser_error_clear);

/* audit/list.c, audit/verify.c */
HANDLER(audit_list_all);
HANDLER(audit_verify);

/* webhooks/rest.c */
HANDLER(webhook_create);
HANDLER(webhook_list_all);
HANDLER(webhook_get);
HANDLER(webhook_patch_one);
HANDLER(webhook_remove);
HANDLER(webhook_failures);
HANDLER(webhook_redeliver);

/* Whom the caller is to the database. */
struct who request_who(const struct http_request *request);

/* The `{session_id}` of the path; "session_not_found" when it is none. */
int session_captured(const struct http_request *request, char ret_id[DB_USER_SIZE],
                     struct error *err);
/* A handler's whole work where the store needs nothing but the session's id: session_find or
 * session_delete, with the request as `done`'s userdata. */
typedef void session_query(struct db *db, const struct who *who, const char *id, db_done_fn done,
                           void *userdata);
int session_ask(struct http_request *request, session_query *query, db_done_fn done,
                struct error *err);
void session_not_found(struct http_request *request);

/* A sandbox object as clients see it: the supervisor's and its preview URL. New reference or NULL.
 */
json_t *sandbox_to_client(const struct api *api, json_t *sandbox);

/* The preview URL of a sandbox (`port` 0) or of one of its ports; NULL when out of memory. */
char *sandbox_url(const struct api *api, const char *id, unsigned int port);

/* The same with a token that opens it until `expires_at` (seconds since 1970), also told apart;
 * `sandbox`: as the supervisor has it now. NULL: see `err`. */
char *preview_token_url(const struct api *api, const json_t *sandbox, unsigned int port,
                        int64_t expires_at, char ret_token[PREVIEW_TOKEN_LENGTH + 1],
                        struct error *err);

/* Where the database failed, or its result number `result` has no row: answers, the latter by
 * `not_found`, and is true. */
bool reply_without_row(struct http_request *request, const struct db_result *results, size_t result,
                       const struct error *err, void (*not_found)(struct http_request *request));

/* The supervisor's or an init's answer as it is: replies with `member` of it (NULL: with all of it)
 * and the status 200. */
void reply_with_result(struct http_request *request, const char *member, json_t *result,
                       const struct error *err);

/* Callbacks of calls whose `userdata` is the request: all of the result with status 200, or nothing
 * of it with 204. */
struct ipc_fds;
void answer_whole(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err);
void answer_empty(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err);

/* tokens.c: the names of what is set in an API key's or a caller's scopes. */
json_t *scopes_to_json(unsigned int mask);

/* metrics.c: adds what the proxy counted for the sandbox to its stats. */
void metrics_add_stats(const struct api *api, const char *id, json_t *stats);
