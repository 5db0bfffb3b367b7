/* auracode.conf (auracode.conf(5)): INI, every key has a default. One table describes the keys; the
 * supervisor reads the file and hands each program only the sections that it needs, as JSON in a
 * sealed memfd ("config" of passed-fds.h), so no other program opens the file and the proxy never
 * sees a secret. */
#pragma once

#include "base/error.h"
#include "base/spec.h"

#include <stdbool.h>
#include <stdint.h>

#define CERTIFICATES_MAX 32u /* pairs of certificate and key */
#define JWKS_BYTES_MAX   (256u << 10)

/* Of the tokens of built-in accounts: no other issuer may be called so. */
#define CONFIG_OWN_ISSUER "auracode"

struct config {
    char *state_dir; /* absolute */
    char *run_dir;   /* absolute */
    /* [api] */
    char *api_listen;                        /* ADDRESS:PORT or "" for the unix socket alone */
    char *api_tls_listen;                    /* the same, over TLS; "": off */
    char *api_user;                          /* account that auracode-api runs as */
    char *api_group;                         /* group whose members are admins on the unix socket */
    int64_t api_max_body;                    /* bytes of a JSON body */
    int64_t api_max_upload;                  /* bytes of an uploaded file */
    int64_t api_max_connections;             /* of each listener at a time */
    int64_t api_max_connections_per_address; /* of TCP; 0: any */
    /* [proxy] */
    char *proxy_listen;     /* ADDRESS:PORT */
    char *proxy_tls_listen; /* the same, over TLS; "": off */
    char *proxy_domain;
    char *proxy_frame_origins; /* sources of CSP's frame-ancestors, by spaces */
    char *proxy_bridge;        /* "yes": pages report their errors to the API */
    char *proxy_user;
    char *proxy_trusted_proxies;       /* networks.h: whose X-Forwarded-* fields are believed */
    int64_t proxy_threads;             /* 0: one a core */
    int64_t proxy_wait_ms;             /* how long a request waits for a dev server that starts */
    int64_t proxy_head_timeout_ms;     /* for a request's head to be complete */
    int64_t proxy_idle_timeout_ms;     /* between two requests on a connection */
    int64_t proxy_upstream_timeout_ms; /* for a response's head to come; 0: no limit */
    int64_t proxy_max_connections;     /* requests and WebSockets at a time and sandbox; 0: any */
    int64_t proxy_bandwidth;           /* bytes a second and sandbox, both ways; 0: no limit */
    char *proxy_access_log;            /* file, absolute; "": none */
    int64_t proxy_access_log_size;     /* bytes, with which it is rotated */
    int64_t proxy_access_log_keep;     /* rotated files that stay */
    /* [tls] */
    char *tls_certificate; /* PEM files, separated by commas, each with its chain */
    char *tls_key;         /* their keys, in the same order */
    int64_t tls_hsts_s;    /* max-age of Strict-Transport-Security; 0: not sent */
    char *tls_redirect;    /* "yes": requests in clear are sent to proxy_tls_listen */
    /* [database] */
    char *database_url;    /* "" = sqlite:STATE/api/auracode.db */
    int64_t database_pool; /* connections to PostgreSQL at most */
    /* [auth] */
    char *auth_jwt_secret, *auth_jwks_url, *auth_issuer, *auth_audience;
    int64_t auth_login_token_ttl_s; /* how long the tokens of accounts are good */
    char *auth_jwks;                /* what the file of jwks_url holds; NULL: none is set */
    char *auth_jwks_ca_file, *auth_fetch_user;
    char *auth_jwks_ca; /* what jwks_ca_file holds; NULL: the system's authorities */
    /* [sandbox] */
    struct limits limits;
    char *sandbox_policy;
    char *sandbox_access;           /* of previews: "public" or "private" */
    char *sandbox_template;         /* of a session's sandbox, where none is asked for */
    char *sandbox_egress;           /* egress.h: the mode */
    char *sandbox_allow;            /* its rules as text, separated by commas */
    int64_t sandbox_idle_timeout_s; /* 0: never */
    char *sandbox_cgroup;           /* name of our cgroup below the one we run in */
    char *sandbox_subnet; /* IPv4 network that egress links are numbered from, a.b.c.d/len */
    char *disk_backend;   /* kind of new disks (supervisor/disk.h), or auto */
    int64_t disk_reserve; /* bytes that the host keeps: with less left, no sandbox starts */
    char *templates_dir;  /* "" = STATE/templates */
    char *policies_dir;   /* "" = installed policies */
    /* [egress] */
    char *egress_user;        /* account that auracode-resolver runs as */
    char *egress_nameservers; /* ADDRESS or ADDRESS:PORT, separated by commas; "": the host's */
    char *egress_bundles;     /* file of named rules; "" = the installed one */
    /* [ids] */
    int64_t ids_base, ids_count;
    /* [webhooks] */
    char *webhooks_user;          /* account that auracode-hook runs as */
    char *webhooks_allow_private; /* "yes": they may lead to addresses that are not public */
    int64_t webhooks_retry_s;     /* before the second attempt; then twice as long each time */
    int64_t webhooks_give_up_s;   /* after the event */
    /* [audit] */
    int64_t audit_keep_days; /* 0: for ever */
    /* [log] */
    char *log_level; /* error warning notice info debug */
};

/* Fills every key with its default. */
int config_init(struct config *config, struct error *err);
void config_free(struct config *config);

/* Reads `path` over the present values; a missing file is an error only with `required`. Errors
 * name the file, line, section and key, and what is allowed. */
int config_load(struct config *config, const char *path, bool required, struct error *err);

/* Sets one key, "section.key", as a line of the file would. */
int config_set(struct config *config, const char *section, const char *key, const char *value,
               struct error *err);

/* After loading: fills what depends on other keys (database url, templates dir) and checks across
 * keys. */
int config_finish(struct config *config, struct error *err);

enum config_audience {
    CONFIG_FOR_API = 1u << 0,
    CONFIG_FOR_PROXY = 1u << 1,
    CONFIG_FOR_RESOLVER = 1u << 2,
    CONFIG_FOR_FETCH = 1u << 3,
    CONFIG_FOR_HOOK = 1u << 4,
};

/* The keys meant for that program as a flat JSON object {"section.key": string|integer|number};
 * with state_dir and run_dir. */
json_t *config_export(const struct config *config, unsigned int audience);

/* The reverse, in the program: from the descriptor "config". Keys that were not exported keep their
 * defaults. */
int config_import(struct config *config, int fd, struct error *err);

/* "127.0.0.1:7070" or "[::1]:7070" into a host part and a port. */
struct listen_address {
    char host[64];
    uint16_t port;
};
int listen_address_parse(const char *text, struct listen_address *ret_address);
