/* What every verb works with, and the table of verbs. A verb's function returns the exit code; it
 * reports a failure through cli_fail, once. Results go to stdout, progress and errors to stderr. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/args.h"
#include "cli/client.h"

#include <stdbool.h>

struct cli {
    struct client client;
    struct options options;
    bool color;          /* stdout is a terminal that may be coloured */
    bool error_terminal; /* stderr is a terminal */
};

struct verb {
    const char *name;    /* one or two words */
    const char *summary; /* for the list of verbs */
    const char *usage;   /* its arguments */
    const struct option_spec *options;
    size_t n_options;
    const char *examples; /* one a line */
    int min_args, max_args;
    bool stop_at_first; /* options end at the first argument */
    bool offline;       /* works without a server */
    int (*run)(struct cli *cli, char **args, int n_args);
};

extern const struct verb verbs[];
extern const size_t n_verbs;
extern const struct option_table global_options;

/* The verb that the first one or two words name, and how many words; NULL: none. */
const struct verb *verb_find(char **words, int n_words, int *ret_used);

/* The verb that was perhaps meant; NULL: none is close. */
const char *verb_suggest(const char *word);

void verb_help(const struct verb *verb, FILE *out);
void verbs_help(FILE *out);

/* Reports the error on stderr (as JSON with --json) and returns the exit code for it. */
int cli_fail(struct cli *cli, const struct error *err);

/* Same, for a wrong command line. */
int cli_usage(const struct verb *verb, const struct error *err);

/* A line of progress on stderr. */
void cli_progress(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints a JSON value on stdout; the exit code. */
int cli_print_json(struct cli *cli, const json_t *value);

/* "/v1/sandboxes/ID" + suffix for an id, a unique beginning of one, or a name. */
int cli_sandbox_path(struct cli *cli, const char *which, const char *suffix, char **ret_path,
                     struct error *err);

/* "path?name=value&…": query values are escaped, pairs with a NULL value left out. Ends with a NULL
 * name. NULL: no memory. */
char *cli_query(const char *path, ...) __attribute__((sentinel));

/* {"KEY":"VALUE"} of a list of KEY=VALUE; NULL: no memory. */
json_t *cli_pairs(const struct args_list *list);

/* A string member, or NULL. */
const char *member(const json_t *object, const char *name);

/* The body of a sandbox's creation out of the options. */
/* The limits that were given, as the API takes them. */
json_t *cli_limits_body(const struct options *options);

/* What --egress and --allow say, NULL: nothing; -EINVAL for a rule that is none. */
int cli_egress_body(const struct options *options, json_t **ret_egress, struct error *err);

/* The body of POST /v1/sandboxes. */
int cli_sandbox_body(const struct cli *cli, const char *template, json_t **ret_body,
                     struct error *err);

/* One request for each of the sandboxes (`body` is stolen); goes on after a failure and ends with
 * its exit code. */
int cli_each(struct cli *cli, char **args, int n_args, const char *method, const char *suffix,
             json_t *body);

int cmd_ps(struct cli *cli, char **args, int n_args);
int cmd_up(struct cli *cli, char **args, int n_args);
int cmd_ls(struct cli *cli, char **args, int n_args);
int cmd_inspect(struct cli *cli, char **args, int n_args);
int cmd_set(struct cli *cli, char **args, int n_args);
int cmd_create(struct cli *cli, char **args, int n_args);
int cmd_start(struct cli *cli, char **args, int n_args);
int cmd_stop(struct cli *cli, char **args, int n_args);
int cmd_pause(struct cli *cli, char **args, int n_args);
int cmd_resume(struct cli *cli, char **args, int n_args);
int cmd_rm(struct cli *cli, char **args, int n_args);
int cmd_url(struct cli *cli, char **args, int n_args);
int cmd_share(struct cli *cli, char **args, int n_args);
int cmd_unshare(struct cli *cli, char **args, int n_args);
int cmd_ports(struct cli *cli, char **args, int n_args);
int cmd_stats(struct cli *cli, char **args, int n_args);
int cmd_exec(struct cli *cli, char **args, int n_args);
int cmd_events(struct cli *cli, char **args, int n_args);
int cmd_audit_ls(struct cli *cli, char **args, int n_args);
int cmd_audit_verify(struct cli *cli, char **args, int n_args);
int cmd_logs(struct cli *cli, char **args, int n_args);
int cmd_cp(struct cli *cli, char **args, int n_args);
int cmd_template_ls(struct cli *cli, char **args, int n_args);
int cmd_template_create(struct cli *cli, char **args, int n_args);
int cmd_template_rm(struct cli *cli, char **args, int n_args);
int cmd_template_build(struct cli *cli, char **args, int n_args);
int cmd_policy_ls(struct cli *cli, char **args, int n_args);
int cmd_policy_show(struct cli *cli, char **args, int n_args);
int cmd_policy_check(struct cli *cli, char **args, int n_args);
int cmd_token_create(struct cli *cli, char **args, int n_args);
int cmd_token_ls(struct cli *cli, char **args, int n_args);
int cmd_token_rm(struct cli *cli, char **args, int n_args);
int cmd_user_add(struct cli *cli, char **args, int n_args);
int cmd_user_ls(struct cli *cli, char **args, int n_args);
int cmd_user_passwd(struct cli *cli, char **args, int n_args);
int cmd_user_disable(struct cli *cli, char **args, int n_args);
int cmd_user_enable(struct cli *cli, char **args, int n_args);
int cmd_user_rm(struct cli *cli, char **args, int n_args);
int cmd_doctor(struct cli *cli, char **args, int n_args);
int cmd_version(struct cli *cli, char **args, int n_args);
int cmd_help(struct cli *cli, char **args, int n_args);
