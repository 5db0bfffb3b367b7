/* Theory of operation: see config.h. The table `keys` is the whole grammar: section, name, type,
 * place in the struct, default, bounds and who is told. inih reads the lines; every value goes
 * through one setter a type. */
#include "base/config.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/networks.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum key_type { KEY_TEXT, KEY_INT, KEY_SIZE, KEY_REAL, KEY_CHOICE, KEY_LISTEN, KEY_NETWORKS };

struct key {
    const char *section, *name;
    enum key_type type;
    size_t offset;
    const char *default_value;
    int64_t min, max;
    unsigned int audience;
    const char *const *choices;
};

#define AT(member) offsetof(struct config, member)
#define BOTH       (CONFIG_FOR_API | CONFIG_FOR_PROXY)

static const char *const log_levels[] = {"error", "warning", "notice", "info", "debug", NULL};

static const char *const disk_backends[] = {"auto", "project", "btrfs", "image", "plain", NULL};
static const char *const yes_no[] = {"no", "yes", NULL};

static const struct key keys[] = {
    {"api", "listen", KEY_LISTEN, AT(api_listen), "127.0.0.1:7070", 0, 0, CONFIG_FOR_API, NULL},
    {"api", "tls_listen", KEY_LISTEN, AT(api_tls_listen), "", 0, 0, CONFIG_FOR_API, NULL},
    {"api", "user", KEY_TEXT, AT(api_user), "auracode", 0, 0, CONFIG_FOR_API, NULL},
    {"api", "group", KEY_TEXT, AT(api_group), "auracode", 0, 0, CONFIG_FOR_API, NULL},
    {"api", "max_body", KEY_SIZE, AT(api_max_body), "1MiB", 4096, 1 << 30, CONFIG_FOR_API, NULL},
    {"api", "max_upload", KEY_SIZE, AT(api_max_upload), "1GiB", 4096, (int64_t)1 << 40,
     CONFIG_FOR_API, NULL},
    {"api", "max_connections", KEY_INT, AT(api_max_connections), "4096", 16, 1000000,
     CONFIG_FOR_API, NULL},
    {"api", "max_connections_per_address", KEY_INT, AT(api_max_connections_per_address), "1024", 0,
     1000000, CONFIG_FOR_API, NULL},
    {"proxy", "listen", KEY_LISTEN, AT(proxy_listen), "127.0.0.1:7080", 0, 0, BOTH, NULL},
    {"proxy", "tls_listen", KEY_LISTEN, AT(proxy_tls_listen), "", 0, 0, BOTH, NULL},
    {"proxy", "domain", KEY_TEXT, AT(proxy_domain), "localhost", 0, 0, BOTH, NULL},
    {"proxy", "frame_origins", KEY_TEXT, AT(proxy_frame_origins),
     "http://localhost:* https://localhost:* http://127.0.0.1:*", 0, 0, CONFIG_FOR_PROXY, NULL},
    {"proxy", "bridge", KEY_CHOICE, AT(proxy_bridge), "yes", 0, 0, CONFIG_FOR_PROXY, yes_no},
    {"proxy", "user", KEY_TEXT, AT(proxy_user), "auracode-proxy", 0, 0, CONFIG_FOR_PROXY, NULL},
    {"proxy", "threads", KEY_INT, AT(proxy_threads), "0", 0, 256, CONFIG_FOR_PROXY, NULL},
    {"proxy", "trusted_proxies", KEY_NETWORKS, AT(proxy_trusted_proxies), "127.0.0.0/8, ::1", 0, 0,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "wait_ms", KEY_INT, AT(proxy_wait_ms), "30000", 0, 600000, CONFIG_FOR_PROXY, NULL},
    {"proxy", "head_timeout_ms", KEY_INT, AT(proxy_head_timeout_ms), "10000", 100, 600000,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "idle_timeout_ms", KEY_INT, AT(proxy_idle_timeout_ms), "60000", 100, 3600000,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "upstream_timeout_ms", KEY_INT, AT(proxy_upstream_timeout_ms), "0", 0, 86400000,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "max_connections_per_sandbox", KEY_INT, AT(proxy_max_connections), "0", 0, 1000000,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "bandwidth_per_sandbox", KEY_SIZE, AT(proxy_bandwidth), "0", 0, (int64_t)1 << 40,
     CONFIG_FOR_PROXY, NULL},
    {"proxy", "access_log", KEY_TEXT, AT(proxy_access_log), "", 0, 0, CONFIG_FOR_PROXY, NULL},
    {"proxy", "access_log_size", KEY_SIZE, AT(proxy_access_log_size), "64MiB", 65536,
     (int64_t)1 << 40, CONFIG_FOR_PROXY, NULL},
    {"proxy", "access_log_keep", KEY_INT, AT(proxy_access_log_keep), "5", 1, 1000, 0, NULL},
    {"tls", "certificate", KEY_TEXT, AT(tls_certificate), "", 0, 0, 0, NULL},
    {"tls", "key", KEY_TEXT, AT(tls_key), "", 0, 0, 0, NULL},
    {"tls", "hsts", KEY_INT, AT(tls_hsts_s), "0", 0, 315360000, BOTH, NULL},
    {"tls", "redirect", KEY_CHOICE, AT(tls_redirect), "no", 0, 0, CONFIG_FOR_PROXY, yes_no},
    {"database", "url", KEY_TEXT, AT(database_url), "", 0, 0, CONFIG_FOR_API, NULL},
    {"database", "pool", KEY_INT, AT(database_pool), "8", 1, 64, CONFIG_FOR_API, NULL},
    {"auth", "jwt_secret", KEY_TEXT, AT(auth_jwt_secret), "", 0, 0, CONFIG_FOR_API, NULL},
    {"auth", "jwks_url", KEY_TEXT, AT(auth_jwks_url), "", 0, 0, CONFIG_FOR_API | CONFIG_FOR_FETCH,
     NULL},
    {"auth", "jwks_ca_file", KEY_TEXT, AT(auth_jwks_ca_file), "", 0, 0, 0, NULL},
    {"auth", "fetch_user", KEY_TEXT, AT(auth_fetch_user), "auracode-fetch", 0, 0, 0, NULL},
    {"auth", "login_token_ttl_s", KEY_INT, AT(auth_login_token_ttl_s), "43200", 60, 2592000,
     CONFIG_FOR_API, NULL},
    {"auth", "issuer", KEY_TEXT, AT(auth_issuer), "", 0, 0, CONFIG_FOR_API, NULL},
    {"auth", "audience", KEY_TEXT, AT(auth_audience), "", 0, 0, CONFIG_FOR_API, NULL},
    {"sandbox", "memory", KEY_SIZE, AT(limits.memory), "1GiB", LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "memory_high", KEY_SIZE, AT(limits.memory_high), "0", 0, LIMIT_MEMORY_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "swap", KEY_SIZE, AT(limits.swap), "0", 0, LIMIT_MEMORY_MAX, CONFIG_FOR_API, NULL},
    {"sandbox", "cpu", KEY_REAL, AT(limits.cpu), "1.0", 0, LIMIT_CPU_MAX, CONFIG_FOR_API, NULL},
    {"sandbox", "cpu_weight", KEY_INT, AT(limits.cpu_weight), "100", LIMIT_CPU_WEIGHT_MIN,
     LIMIT_CPU_WEIGHT_MAX, CONFIG_FOR_API, NULL},
    {"sandbox", "pids", KEY_INT, AT(limits.pids), "512", LIMIT_PIDS_MIN, LIMIT_PIDS_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "disk", KEY_SIZE, AT(limits.disk), "2GiB", LIMIT_DISK_MIN, LIMIT_DISK_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "inodes", KEY_INT, AT(limits.inodes), "0", 0, LIMIT_INODES_MAX, CONFIG_FOR_API,
     NULL},
    {"sandbox", "io_read_bps", KEY_SIZE, AT(limits.io_read_bps), "0", 0, LIMIT_IO_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "io_write_bps", KEY_SIZE, AT(limits.io_write_bps), "0", 0, LIMIT_IO_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "tmp", KEY_SIZE, AT(limits.tmp), "0", 0, LIMIT_MEMORY_MAX, CONFIG_FOR_API, NULL},
    {"sandbox", "shm", KEY_SIZE, AT(limits.shm), "0", 0, LIMIT_MEMORY_MAX, CONFIG_FOR_API, NULL},
    {"sandbox", "log", KEY_SIZE, AT(limits.log), "1MiB", LIMIT_LOG_MIN, LIMIT_LOG_MAX,
     CONFIG_FOR_API, NULL},
    {"sandbox", "policy", KEY_TEXT, AT(sandbox_policy), "default", 0, 0, CONFIG_FOR_API, NULL},
    {"sandbox", "access", KEY_CHOICE, AT(sandbox_access), "public", 0, 0, 0, access_choices},
    {"sandbox", "egress", KEY_CHOICE, AT(sandbox_egress), "restricted", 0, 0, CONFIG_FOR_API,
     egress_choices},
    {"sandbox", "allow", KEY_TEXT, AT(sandbox_allow), "", 0, 0, CONFIG_FOR_API, NULL},
    {"egress", "user", KEY_TEXT, AT(egress_user), "auracode-resolver", 0, 0, 0, NULL},
    {"egress", "nameservers", KEY_TEXT, AT(egress_nameservers), "", 0, 0, 0, NULL},
    {"egress", "bundles", KEY_TEXT, AT(egress_bundles), "", 0, 0, 0, NULL},
    {"sandbox", "idle_timeout", KEY_INT, AT(sandbox_idle_timeout_s), "0", 0, 31536000,
     CONFIG_FOR_API, NULL},
    {"sandbox", "cgroup", KEY_TEXT, AT(sandbox_cgroup), "auracode", 0, 0, 0, NULL},
    {"sandbox", "subnet", KEY_TEXT, AT(sandbox_subnet), "10.213.0.0/16", 0, 0, 0, NULL},
    {"sandbox", "disk_backend", KEY_CHOICE, AT(disk_backend), "auto", 0, 0, 0, disk_backends},
    {"sandbox", "disk_reserve", KEY_SIZE, AT(disk_reserve), "256MiB", 0, (int64_t)1 << 50, 0, NULL},
    {"sandbox", "template", KEY_TEXT, AT(sandbox_template), "react-vite", 0, 0, CONFIG_FOR_API,
     NULL},
    {"sandbox", "templates", KEY_TEXT, AT(templates_dir), "", 0, 0, 0, NULL},
    {"sandbox", "policies", KEY_TEXT, AT(policies_dir), "", 0, 0, 0, NULL},
    {"ids", "base", KEY_INT, AT(ids_base), "1879048192", 65536, 4294901760, 0, NULL},
    {"ids", "count", KEY_INT, AT(ids_count), "4096", 1, 32768, 0, NULL},
    {"webhooks", "user", KEY_TEXT, AT(webhooks_user), "auracode-hook", 0, 0, 0, NULL},
    {"webhooks", "allow_private", KEY_CHOICE, AT(webhooks_allow_private), "no", 0, 0,
     CONFIG_FOR_HOOK, yes_no},
    {"webhooks", "retry", KEY_INT, AT(webhooks_retry_s), "10", 1, 3600, CONFIG_FOR_API, NULL},
    {"webhooks", "give_up", KEY_INT, AT(webhooks_give_up_s), "86400", 1, 604800, CONFIG_FOR_API,
     NULL},
    {"audit", "keep_days", KEY_INT, AT(audit_keep_days), "90", 0, 36500, CONFIG_FOR_API, NULL},
    {"log", "level", KEY_CHOICE, AT(log_level), "info", 0, 0,
     BOTH | CONFIG_FOR_RESOLVER | CONFIG_FOR_FETCH | CONFIG_FOR_HOOK, log_levels},
};

static void *place(struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

static const void *place_const(const struct config *config, const struct key *key)
{
    return (const char *)config + key->offset;
}

static bool holds_text(const struct key *key)
{
    return key->type == KEY_TEXT || key->type == KEY_CHOICE || key->type == KEY_LISTEN ||
           key->type == KEY_NETWORKS;
}

static int set_text(char **target, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return -ENOMEM;
    free(*target);
    *target = copy;
    return 0;
}

static bool is_choice(const struct key *key, const char *value)
{
    for (const char *const *choice = key->choices; *choice; choice++)
        if (str_equal(*choice, value))
            return true;
    return false;
}

static int refuse(const struct key *key, const char *value, struct error *err)
{
    char allowed[160] = "";

    if (key->type == KEY_INT || key->type == KEY_SIZE || key->type == KEY_REAL)
        snprintf(allowed, sizeof(allowed), "%s from %lld to %lld",
                 key->type == KEY_REAL   ? "a number"
                 : key->type == KEY_SIZE ? "bytes (K, M, G, T or KiB ... allowed)"
                                         : "a whole number",
                 (long long)key->min, (long long)key->max);
    else if (key->type == KEY_LISTEN)
        snprintf(allowed, sizeof(allowed), "ADDRESS:PORT, [IPV6]:PORT or nothing");
    else if (key->type == KEY_NETWORKS)
        snprintf(allowed, sizeof(allowed), "at most %u addresses or networks (ADDRESS/LENGTH)",
                 NETWORKS_MAX);
    for (const char *const *choice = key->choices; choice && *choice; choice++) {
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof(allowed) - used, "%s%s", used ? ", " : "", *choice);
    }
    char name[96];
    snprintf(name, sizeof(name), "%s.%s", key->section, key->name);
    return error_set_field(err, name, "`%.128s` is not allowed: expected %s", value, allowed);
}

static int set_number(void *target, const struct key *key, const char *value)
{
    uint64_t number = 0;
    int r;

    if (key->type == KEY_REAL)
        return parse_real(value, (double)key->min, (double)key->max, target);
    if (key->type == KEY_SIZE)
        r = parse_size(value, &number);
    else
        r = parse_u64(value, 0, INT64_MAX, &number);
    if (r == 0 && ((int64_t)number < key->min || (int64_t)number > key->max))
        r = -ERANGE;
    if (r == 0)
        *(int64_t *)target = (int64_t)number;
    return r;
}

static int set_key(struct config *config, const struct key *key, const char *value,
                   struct error *err)
{
    struct listen_address address;
    struct networks networks;

    if (key->type == KEY_CHOICE && !is_choice(key, value))
        return refuse(key, value, err);
    if (key->type == KEY_LISTEN && value[0] && listen_address_parse(value, &address) < 0)
        return refuse(key, value, err);
    if (key->type == KEY_NETWORKS && networks_parse(value, &networks) < 0)
        return refuse(key, value, err);
    if (holds_text(key))
        return set_text(place(config, key), value) < 0 ? error_oom(err) : 0;
    return set_number(place(config, key), key, value) < 0 ? refuse(key, value, err) : 0;
}

int config_set(struct config *config, const char *section, const char *name, const char *value,
               struct error *err)
{
    char path[96];

    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (str_equal(keys[i].section, section) && str_equal(keys[i].name, name))
            return set_key(config, &keys[i], value, err);
    snprintf(path, sizeof(path), "%.32s.%.48s", section, name);
    return error_set_field(err, path, "unknown setting");
}

int config_init(struct config *config, struct error *err)
{
    *config = (struct config){0};
    if (set_text(&config->state_dir, "/var/lib/auracode") < 0 ||
        set_text(&config->run_dir, "/run/auracode") < 0)
        return error_oom(err);
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        int r = set_key(config, &keys[i], keys[i].default_value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (holds_text(&keys[i]))
            free(*(char **)place(config, &keys[i]));
    free(config->state_dir);
    free(config->run_dir);
    free(config->auth_jwks);
    free(config->auth_jwks_ca);
    *config = (struct config){0};
}

struct loading {
    struct config *config;
    struct error *err;
};

static int on_line(void *userdata, const char *section, const char *name, const char *value)
{
    struct loading *loading = userdata;

    return config_set(loading->config, section, name, value, loading->err) == 0;
}

/* inih cuts a longer line in two, without a word. */
static int check_lines(const char *path, const char *text, struct error *err)
{
    for (size_t number = 1; *text; number++) {
        size_t length = strcspn(text, "\n");
        if (length > INI_MAX_LINE - 3)
            return error_set(err, EINVAL, "`%s` line %zu has %zu bytes: expected at most %d", path,
                             number, length, INI_MAX_LINE - 3);
        text += length + (text[length] == '\n');
    }
    return 0;
}

int config_load(struct config *config, const char *path, bool required, struct error *err)
{
    cleanup_free char *text = NULL;
    struct error problem = ERROR_NONE;
    struct loading loading = {config, &problem};

    int r = file_read(AT_FDCWD, path, 1 << 20, &text, NULL, err);
    if (r == -ENOENT && !required)
        return 0;
    if (r == 0)
        r = check_lines(path, text, err);
    if (r < 0)
        return r;
    int line = ini_parse_string(text, on_line, &loading);
    if (line == 0)
        return 0;
    if (problem.err)
        error_set_field(err, problem.field, "`%s` line %d: %s", path, line, problem.message);
    else
        error_set(err, EINVAL, "`%s` line %d: expected `[section]` or `key = value`", path, line);
    return -EINVAL;
}

static int default_path(char **target, const char *format, const char *state_dir)
{
    if ((*target)[0])
        return 0;
    size_t size = strlen(format) + strlen(state_dir) + 1;
    char *text = malloc(size);
    if (!text)
        return -ENOMEM;
    snprintf(text, size, "%.*s%s%s", (int)strcspn(format, "@"), format, state_dir,
             strchr(format, '@') + 1);
    free(*target);
    *target = text;
    return 0;
}

static int load_file(const char *field, const char *path, char **target, struct error *err)
{
    char *text = NULL;
    int r = file_read(AT_FDCWD, path, JWKS_BYTES_MAX, &text, NULL, err);

    if (r < 0)
        return error_prefix(err, "%s", field);
    free(*target);
    *target = text;
    return 0;
}

/* What comes over http is believed from this machine only. auracode-fetch, which has a parser of
 * URLs, looks again. */
static bool may_be_fetched(const char *url)
{
    static const char *const local[] = {"http://localhost", "http://127.0.0.1", "http://[::1]"};

    if (str_starts(url, "https://"))
        return true;
    for (size_t i = 0; i < ELEMENTS(local); i++)
        if (str_starts(url, local[i]) && !strchr(url, '@'))
            return url[strlen(local[i])] == ':' || url[strlen(local[i])] == '/';
    return false;
}

/* The programs open no files of the configuration: they are handed what is in them. */
static int load_jwks(struct config *config, struct error *err)
{
    static const char scheme[] = "file:";
    const char *url = config->auth_jwks_url;

    if (!*url)
        return 0;
    if (str_starts(url, scheme))
        return load_file("auth.jwks_url",
                         url + sizeof(scheme) - 1 + (str_starts(url, "file:///") ? 2 : 0),
                         &config->auth_jwks, err);
    if (!may_be_fetched(url))
        return error_set_field(err, "auth.jwks_url",
                               "expected https://…, http:// to localhost, or file:/PATH");
    return *config->auth_jwks_ca_file ? load_file("auth.jwks_ca_file", config->auth_jwks_ca_file,
                                                  &config->auth_jwks_ca, err)
                                      : 0;
}

static int check_absolute(const char *field, const char *path, struct error *err)
{
    if (path[0] == '/')
        return 0;
    return error_set_field(err, field, "`%s` is not an absolute path", path);
}

/* Pairs are named in two lists of one length, and a TLS listener has something to show. */
static int check_tls(const struct config *config, struct error *err)
{
    size_t certificates = str_list_count(config->tls_certificate);
    size_t keys_given = str_list_count(config->tls_key);
    bool listens = config->api_tls_listen[0] || config->proxy_tls_listen[0];

    if (certificates != keys_given)
        return error_set_field(
            err, "tls.key",
            "%zu files for the %zu of tls.certificate: expected one key for each "
            "certificate, in the same order",
            keys_given, certificates);
    if (certificates > CERTIFICATES_MAX)
        return error_set_field(err, "tls.certificate", "%zu files: at most %u are allowed",
                               certificates, CERTIFICATES_MAX);
    if (listens && certificates == 0)
        return error_set_field(err, "tls.certificate",
                               "expected a file, since %s.tls_listen is set",
                               config->api_tls_listen[0] ? "api" : "proxy");
    if (str_equal(config->tls_redirect, "yes") && !config->proxy_tls_listen[0])
        return error_set_field(err, "tls.redirect", "there is no proxy.tls_listen to redirect to");
    return 0;
}

/* They go into a field of each response: no character may end a directive, a policy or the line. */
static int check_frame_origins(const char *origins, struct error *err)
{
    static const char field[] = "proxy.frame_origins";

    for (const char *c = origins; *c; c++)
        if (*c < ' ' || *c > '~' || *c == ';' || *c == ',')
            return error_set_field(err, field,
                                   "`%.128s` is not allowed: expected origins such as "
                                   "https://chat.example, separated by spaces",
                                   origins);
    return 0;
}

static int check_issuer(const char *issuer, struct error *err)
{
    if (!str_equal(issuer, CONFIG_OWN_ISSUER))
        return 0;
    return error_set_field(
        err, "auth.issuer",
        "`%s` is the issuer of the tokens of built-in accounts: expected another", issuer);
}

static int check_egress(const struct config *config, struct error *err)
{
    cleanup_json json_t *egress = NULL;
    int r = egress_from_text(config->sandbox_egress, config->sandbox_allow, &egress, err);

    if (r == -EINVAL && err)
        snprintf(err->field, sizeof(err->field), "sandbox.allow");
    return r;
}

int config_finish(struct config *config, struct error *err)
{
    if (default_path(&config->database_url, "sqlite:@/api/auracode.db", config->state_dir) < 0 ||
        default_path(&config->templates_dir, "@/templates", config->state_dir) < 0)
        return error_oom(err);
    int r = check_absolute("--state-dir", config->state_dir, err);
    if (r == 0)
        r = check_absolute("--run-dir", config->run_dir, err);
    if (r == 0)
        r = check_absolute("sandbox.templates", config->templates_dir, err);
    if (r == 0 && config->proxy_access_log[0])
        r = check_absolute("proxy.access_log", config->proxy_access_log, err);
    if (r == 0 && (strchr(config->sandbox_cgroup, '/') || config->sandbox_cgroup[0] == '.' ||
                   !resource_name_valid(config->sandbox_cgroup)))
        r = error_set_field(err, "sandbox.cgroup", "expected one path component of a-z 0-9 . _ -");
    if (r == 0 && config->ids_base + config->ids_count * 65536 > 4294967295)
        r = error_set_field(err, "ids.count", "base + count * 65536 goes past 2^32 - 2");
    if (r == 0)
        r = check_egress(config, err);
    if (r == 0)
        r = check_issuer(config->auth_issuer, err);
    if (r == 0)
        r = load_jwks(config, err);
    if (r == 0)
        r = check_tls(config, err);
    if (r == 0)
        r = check_frame_origins(config->proxy_frame_origins, err);
    return r == 0 ? limits_check(&config->limits, "sandbox.", err) : r;
}

static json_t *key_to_json(const struct config *config, const struct key *key)
{
    const void *value = place_const(config, key);

    if (holds_text(key))
        return json_string(*(char *const *)value);
    if (key->type == KEY_REAL)
        return json_real(*(const double *)value);
    return json_integer(*(const int64_t *)value);
}

json_t *config_export(const struct config *config, unsigned int audience)
{
    json_t *object =
        json_pack("{s:s, s:s}", "state_dir", config->state_dir, "run_dir", config->run_dir);
    char name[96];

    for (size_t i = 0; object && i < ELEMENTS(keys); i++) {
        if (!(keys[i].audience & audience))
            continue;
        snprintf(name, sizeof(name), "%s.%s", keys[i].section, keys[i].name);
        if (json_object_set_new(object, name, key_to_json(config, &keys[i])) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    if (object && (audience & CONFIG_FOR_API) && config->auth_jwks)
        json_object_set_new(object, "auth.jwks", json_string(config->auth_jwks));
    if (object && (audience & CONFIG_FOR_FETCH) && config->auth_jwks_ca)
        json_object_set_new(object, "auth.jwks_ca", json_string(config->auth_jwks_ca));
    return object;
}

static int import_key(struct config *config, const struct key *key, const json_t *value)
{
    void *target = place(config, key);

    if (holds_text(key))
        return json_is_string(value) ? set_text(target, json_string_value(value)) : -EPROTO;
    if (!json_is_number(value))
        return -EPROTO;
    if (key->type == KEY_REAL)
        *(double *)target = json_number_value(value);
    else
        *(int64_t *)target = json_integer_value(value);
    return 0;
}

int config_import(struct config *config, int fd, struct error *err)
{
    json_error_t problem;
    cleanup_json json_t *object = json_loadfd(fd, 0, &problem);
    char name[96];
    int r = 0;

    if (!json_is_object(object))
        return error_set(err, EPROTO, "configuration from the supervisor: %s", problem.text);
    for (size_t i = 0; r == 0 && i < ELEMENTS(keys); i++) {
        snprintf(name, sizeof(name), "%s.%s", keys[i].section, keys[i].name);
        json_t *value = json_object_get(object, name);
        r = value ? import_key(config, &keys[i], value) : 0;
    }
    const char *state_dir = json_string_value(json_object_get(object, "state_dir"));
    const char *run_dir = json_string_value(json_object_get(object, "run_dir"));
    const char *jwks = json_string_value(json_object_get(object, "auth.jwks"));
    const char *authorities = json_string_value(json_object_get(object, "auth.jwks_ca"));
    if (r == 0 && jwks)
        r = set_text(&config->auth_jwks, jwks);
    if (r == 0 && authorities)
        r = set_text(&config->auth_jwks_ca, authorities);
    if (r == 0)
        r = state_dir && run_dir ? set_text(&config->state_dir, state_dir) : -EPROTO;
    if (r == 0)
        r = set_text(&config->run_dir, run_dir);
    return r < 0 ? error_sys(err, r, "configuration from the supervisor") : 0;
}

int listen_address_parse(const char *text, struct listen_address *ret_address)
{
    struct listen_address address = {0};
    const char *colon = strrchr(text, ':');
    unsigned char binary[16];
    uint64_t port;

    if (!colon || parse_u64(colon + 1, 0, 65535, &port) < 0)
        return -EINVAL;
    bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
    size_t length = (size_t)(colon - text) - (bracketed ? 2 : 0);
    if (length >= sizeof(address.host))
        return -EINVAL;
    memcpy(address.host, text + (bracketed ? 1 : 0), length);
    if (inet_pton(bracketed ? AF_INET6 : AF_INET, address.host, binary) != 1)
        return -EINVAL;
    address.port = (uint16_t)port;
    *ret_address = address;
    return 0;
}
