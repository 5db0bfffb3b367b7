/* The table of verbs: parsing, --help and completion all come from here. */
#include "cli/cli.h"

#include "cli/text.h"

#include <limits.h>
#include <string.h>

#define OPTION(name, letter, type, field, value, help)                                             \
    {                                                                                              \
        name, letter, OPTION_##type, offsetof(struct options, field), value, help                  \
    }

static const struct option_spec globals[] = {
    OPTION("json", 0, FLAG, json, NULL, "print JSON"),
    OPTION("socket", 0, STRING, socket, "PATH", "the daemon's socket (AURACODE_SOCKET)"),
    OPTION("host", 0, STRING, host, "URL", "a daemon over TCP (AURACODE_HOST)"),
    OPTION("token", 0, STRING, token, "TOKEN", "API key or JWT for --host (AURACODE_TOKEN)"),
    OPTION("cacert", 0, STRING, cacert, "FILE",
           "trust the authorities in this PEM file for an https --host (AURACODE_CACERT)"),
    OPTION("help", 'h', FLAG, help, NULL, "print this help"),
    OPTION("version", 0, FLAG, version, NULL, "print the version"),
};
const struct option_table global_options = {globals, ELEMENTS(globals)};

#define LIMIT_OPTIONS                                                                              \
    OPTION("memory", 'm', SIZE, memory, "SIZE", "memory limit, e.g. 1GiB"),                        \
        OPTION("memory-high", 0, AMOUNT, memory_high, "SIZE",                                      \
               "slow it down from there on (0: never)"),                                           \
        OPTION("swap", 0, AMOUNT, swap, "SIZE", "swap beside the memory"),                         \
        OPTION("cpu", 0, REAL, cpu, "CORES", "CPU limit in cores, e.g. 0.5"),                      \
        OPTION("cpu-weight", 0, COUNT, cpu_weight, "N", "share of a busy CPU, 1 to 10000 (100)"),  \
        OPTION("pids", 0, COUNT, pids, "N", "limit of processes and threads"),                     \
        OPTION("disk", 0, SIZE, disk, "SIZE", "limit of written bytes, e.g. 2GiB"),                \
        OPTION("inodes", 0, AMOUNT, inodes, "N", "limit of files (0: by the disk limit)"),         \
        OPTION("io-read", 0, AMOUNT, io_read_bps, "SIZE", "bytes read a second (0: any)"),         \
        OPTION("io-write", 0, AMOUNT, io_write_bps, "SIZE", "bytes written a second (0: any)"),    \
        OPTION("tmp", 0, AMOUNT, tmp, "SIZE", "size of /tmp (0: half of the memory)"),             \
        OPTION("shm", 0, AMOUNT, shm, "SIZE", "size of /dev/shm (0: a quarter)"),                  \
        OPTION("log", 0, SIZE, log, "SIZE", "kept output of each process (1MiB)")

#define EGRESS_OPTIONS                                                                             \
    OPTION("egress", 0, STRING, egress, "MODE",                                                    \
           "network out of it: none, restricted (public addresses) or allow"),                     \
        OPTION("allow", 0, LIST, allow, "RULE",                                                    \
               "let it out to NAME[:PORT[+PORT]], *.NAME, ADDRESS[/LENGTH][:PORT] or a bundle "    \
               "such as npm (repeatable)")

#define ACCESS_OPTION                                                                              \
    OPTION("access", 0, STRING, access, "WHO",                                                     \
           "who may open its previews: public, or private (see `auracode share`)")

#define CREATE_OPTIONS                                                                             \
    OPTION("name", 0, STRING, name, "NAME", "a name for the sandbox"),                             \
        OPTION("env", 'e', PAIRS, env, "K=V", "environment of its processes (repeatable)"),        \
        OPTION("label", 'l', PAIRS, labels, "K=V", "a label (repeatable)"), LIMIT_OPTIONS,         \
        EGRESS_OPTIONS, ACCESS_OPTION,                                                             \
        OPTION("policy", 0, STRING, policy, "NAME", "security policy")

static const struct option_spec create_options[] = {CREATE_OPTIONS};
static const struct option_spec up_options[] = {
    OPTION("template", 't', STRING, template, "NAME", "template (react-vite)"),
    CREATE_OPTIONS,
    OPTION("no-dev-server", 0, FLAG, no_dev_server, NULL, "only create the sandbox"),
    OPTION("path-form", 0, FLAG, path_form, NULL, "have it serve below /p/ID/PORT, see the README"),
    OPTION("timeout", 0, DURATION, timeout_ms, "TIME", "how long to wait until ready (60s)"),
};
static const struct option_spec set_options[] = {
    OPTION("name", 0, STRING, name, "NAME", "another name"),
    OPTION("label", 'l', PAIRS, labels, "K=V", "a label (repeatable; replaces all labels)"),
    LIMIT_OPTIONS,
    EGRESS_OPTIONS,
    ACCESS_OPTION,
};
static const struct option_spec ls_options[] = {
    OPTION("state", 0, STRING, state, "STATE", "only sandboxes in that state"),
    OPTION("label", 'l', PAIRS, labels, "K=V", "only sandboxes with that label"),
};
static const struct option_spec stop_options[] = {
    OPTION("grace", 0, DURATION, grace_ms, "TIME", "time between SIGTERM and SIGKILL (5s)"),
};
static const struct option_spec rm_options[] = {
    OPTION("all", 'a', FLAG, all, NULL, "every sandbox"),
};
static const struct option_spec url_options[] = {
    OPTION("port", 'p', COUNT, port, "PORT", "of that port instead of the dev server"),
};
static const struct option_spec share_options[] = {
    OPTION("expires", 0, DURATION, expires_ms, "TIME", "how long it opens, up to 720h (1h)"),
    OPTION("port", 'p', COUNT, port, "PORT", "of that port instead of the dev server"),
};
static const struct option_spec exec_options[] = {
    OPTION("interactive", 'i', FLAG, interactive, NULL, "send standard input"),
    OPTION("tty", 't', FLAG, tty, NULL, "give the command a terminal"),
    OPTION("cwd", 'w', STRING, cwd, "DIR", "working directory (/app)"),
    OPTION("env", 'e', PAIRS, env, "K=V", "environment (repeatable)"),
    OPTION("user", 'u', STRING, user, "USER", "user or root"),
    OPTION("timeout", 0, DURATION, timeout_ms, "TIME", "kill the command after that time"),
};
static const struct option_spec logs_options[] = {
    OPTION("follow", 'f', FLAG, follow, NULL, "go on with what comes"),
    OPTION("source", 's', STRING, source, "SOURCE", "dev-server, or a process id"),
    OPTION("since", 0, STRING, since, "OFFSET", "from that byte of the log"),
};
static const struct option_spec events_options[] = {
    OPTION("follow", 'f', FLAG, follow, NULL, "go on with what comes"),
    OPTION("since", 0, STRING, since, "ID", "behind that event"),
};
static const struct option_spec audit_options[] = {
    OPTION("sandbox", 0, STRING, sandbox, "SANDBOX", "only what was done to it"),
    OPTION("subject", 0, STRING, subject, "NAME", "only what was done in that name"),
    OPTION("since", 0, STRING, since, "NUMBER", "behind that record, instead of the last ones"),
    OPTION("limit", 0, COUNT, limit, "N", "so many records at most, up to 1000 (64)"),
};
static const struct option_spec cp_options[] = {
    OPTION("recursive", 'r', FLAG, recursive, NULL, "copy a folder with all in it"),
};
static const struct option_spec template_create_options[] = {
    OPTION("description", 0, STRING, description, "TEXT", "one line about it"),
};
static const struct option_spec template_build_options[] = {
    OPTION("env", 'e', PAIRS, env, "K=V", "environment of the steps (repeatable)"),
    OPTION("if-changed", 0, FLAG, if_changed, NULL, "do nothing if it is installed already"),
};
static const struct option_spec token_create_options[] = {
    OPTION("scope", 0, LIST, scopes, "SCOPE", "admin, sandboxes or read (repeatable; sandboxes)"),
    OPTION("owner", 0, STRING, owner, "NAME", "whose sandboxes it sees"),
};
static const struct option_spec password_options[] = {
    OPTION("password-stdin", 0, FLAG, password_stdin, NULL,
           "read the password from the first line of standard input"),
};

#define TABLE(table)   .options = (table), .n_options = ELEMENTS(table)
#define ARGS(min, max) .min_args = (min), .max_args = (max)

const struct verb verbs[] = {
    {"up", "create a sandbox, start its dev server, print the URL", "", TABLE(up_options),
     "auracode up --template react-vite --name shop\nauracode up -t node --no-dev-server --json",
     ARGS(0, 0), .run = cmd_up},
    {"ls", "list sandboxes", "", TABLE(ls_options), "auracode ls --state running", ARGS(0, 0),
     .run = cmd_ls},
    {"inspect", "show all that is known of a sandbox", "SANDBOX", .examples = NULL, ARGS(1, 1),
     .run = cmd_inspect},
    {"create", "create a sandbox from a template", "TEMPLATE", TABLE(create_options),
     "auracode create node --memory 512MiB --egress none\n"
     "auracode create node --allow npm --allow '*.example.com:443'",
     ARGS(1, 1), .run = cmd_create},
    {"set", "change limits, egress, access, name and labels of a sandbox, also while it runs",
     "SANDBOX", TABLE(set_options), "auracode set shop --memory 2GiB --cpu 2", ARGS(1, 1),
     .run = cmd_set},
    {"start", "start stopped sandboxes", "SANDBOX...", ARGS(1, INT_MAX), .run = cmd_start},
    {"stop", "stop sandboxes, keeping their files", "SANDBOX...", TABLE(stop_options),
     .examples = NULL, ARGS(1, INT_MAX), .run = cmd_stop},
    {"pause", "freeze sandboxes where they are", "SANDBOX...", ARGS(1, INT_MAX), .run = cmd_pause},
    {"resume", "let paused sandboxes go on", "SANDBOX...", ARGS(1, INT_MAX), .run = cmd_resume},
    {"rm", "remove sandboxes with their files", "SANDBOX...", TABLE(rm_options),
     "auracode rm shop\nauracode rm --all", ARGS(0, INT_MAX), .run = cmd_rm},
    {"exec", "run a command in a sandbox; its exit status is yours", "SANDBOX COMMAND [ARG...]",
     TABLE(exec_options),
     "auracode exec shop npm test\nauracode exec -it shop bash\n"
     "tar c src | auracode exec -i shop tar x",
     ARGS(2, INT_MAX), .stop_at_first = true, .run = cmd_exec},
    {"ps", "list a sandbox's processes, also those that ended lately, and why", "SANDBOX",
     ARGS(1, 1), .run = cmd_ps},
    {"logs", "print a sandbox's logs", "SANDBOX", TABLE(logs_options), "auracode logs -f shop",
     ARGS(1, 1), .run = cmd_logs},
    {"events", "print what happened to sandboxes: states, dev servers, ports, ends of processes",
     "[SANDBOX]", TABLE(events_options), "auracode events -f\nauracode events shop --json",
     ARGS(0, 1), .run = cmd_events},
    {"audit verify", "check that no record of the audit trail was changed or removed", "",
     .examples = NULL, ARGS(0, 0), .run = cmd_audit_verify},
    {"audit ls", "print who did what to which sandbox", "", TABLE(audit_options),
     "auracode audit ls --sandbox shop\nauracode audit ls --since 1000 --limit 1000 --json",
     ARGS(0, 0), .run = cmd_audit_ls},
    {"audit", "the same as `audit ls`", "", TABLE(audit_options), .examples = NULL, ARGS(0, 0),
     .run = cmd_audit_ls},
    {"cp", "copy files into and out of sandboxes", "FROM TO", TABLE(cp_options),
     "auracode cp index.html shop:src/index.html\nauracode cp -r shop:/app/dist ./dist", ARGS(2, 2),
     .run = cmd_cp},
    {"url", "print a sandbox's preview URL", "SANDBOX", TABLE(url_options),
     "auracode url shop\nauracode url shop -p 3000", ARGS(1, 1), .run = cmd_url},
    {"share", "print a URL that opens a private sandbox's preview for a while", "SANDBOX",
     TABLE(share_options), "auracode share shop --expires 8h\nauracode share shop -p 3000",
     ARGS(1, 1), .run = cmd_share},
    {"unshare", "end every shared URL, also for pages that are open", "SANDBOX...",
     .examples = "auracode unshare shop", ARGS(1, INT_MAX), .run = cmd_unshare},
    {"ports", "list the ports that a sandbox listens on", "SANDBOX", ARGS(1, 1), .run = cmd_ports},
    {"stats", "show what a sandbox uses", "SANDBOX", ARGS(1, 1), .run = cmd_stats},
    {"template ls", "list templates", "", ARGS(0, 0), .run = cmd_template_ls},
    {"template create", "make a template of a stopped sandbox", "NAME SANDBOX",
     TABLE(template_create_options), .examples = NULL, ARGS(2, 2), .run = cmd_template_create},
    {"template rm", "remove a template", "NAME", ARGS(1, 1), .run = cmd_template_rm},
    {"template build", "build a template from a folder with a recipe.json", "DIR",
     TABLE(template_build_options),
     "auracode template build --if-changed /usr/share/auracode/templates/react-vite", ARGS(1, 1),
     .run = cmd_template_build},
    {"policy ls", "list security policies", "", ARGS(0, 0), .run = cmd_policy_ls},
    {"policy show", "show what a policy allows, hides and limits", "NAME",
     .examples = "auracode policy show strict", ARGS(1, 1), .run = cmd_policy_show},
    {"policy check", "check a policy file before the daemon reads it", "FILE",
     .examples = "auracode policy check /etc/auracode/policies/shop.json", ARGS(1, 1),
     .run = cmd_policy_check},
    {"token create", "make an API key; it is shown once", "NAME", TABLE(token_create_options),
     "auracode token create ci --scope sandboxes", ARGS(1, 1), .run = cmd_token_create},
    {"token ls", "list API keys", "", ARGS(0, 0), .run = cmd_token_ls},
    {"token rm", "revoke an API key", "ID", ARGS(1, 1), .run = cmd_token_rm},
    {"user add", "make an account that logs in with a password, and print its id", "NAME",
     TABLE(password_options),
     "auracode user add ada@example.com\nauracode user add ada --password-stdin < FILE", ARGS(1, 1),
     .run = cmd_user_add},
    {"user ls", "list accounts", "", ARGS(0, 0), .run = cmd_user_ls},
    {"user passwd", "give an account another password; its tokens end", "NAME",
     TABLE(password_options), .examples = NULL, ARGS(1, 1), .run = cmd_user_passwd},
    {"user disable", "end an account's tokens and let it log in no more", "NAME", ARGS(1, 1),
     .run = cmd_user_disable},
    {"user enable", "let an account log in again", "NAME", ARGS(1, 1), .run = cmd_user_enable},
    {"user rm", "remove an account; its sessions and sandboxes stay", "NAME", ARGS(1, 1),
     .run = cmd_user_rm},
    {"doctor", "check the installation and say what to do", "", ARGS(0, 0), .run = cmd_doctor},
    {"version", "print the client's and the daemon's version", "", ARGS(0, 0), .run = cmd_version},
    {"help", "print help on a verb", "[VERB]", ARGS(0, 2), .run = cmd_help},
};
const size_t n_verbs = ELEMENTS(verbs);

const struct verb *verb_find(char **words, int n_words, int *ret_used)
{
    for (size_t i = 0; i < n_verbs; i++) {
        const char *name = verbs[i].name;
        const char *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);
        int needed = space ? 2 : 1;

        if (n_words < needed || strlen(words[0]) != first || strncmp(words[0], name, first) != 0)
            continue;
        if (space && strcmp(words[1], space + 1) != 0)
            continue;
        *ret_used = needed;
        return &verbs[i];
    }
    return NULL;
}

/* A group's name ("template") suggests its first verb. */
const char *verb_suggest(const char *word)
{
    const char *best = NULL;
    size_t best_distance = 3;

    for (size_t i = 0; i < n_verbs; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(verbs[i].name, " "), verbs[i].name);
        size_t distance = text_distance(word, name);

        if (distance < best_distance && distance < strlen(name)) {
            best = verbs[i].name;
            best_distance = distance;
        }
    }
    return best;
}

static void help_options(const char *title, const struct option_spec *options, size_t n, FILE *out)
{
    if (n > 0)
        fprintf(out, "\n%s:\n", title);
    for (size_t i = 0; i < n; i++) {
        char left[48];
        const char *value = options[i].value;

        snprintf(left, sizeof(left), "--%s%s%s", options[i].name, value ? " " : "",
                 value ? value : "");
        if (options[i].letter)
            fprintf(out, "  -%c, %-22s %s\n", options[i].letter, left, options[i].help);
        else
            fprintf(out, "      %-22s %s\n", left, options[i].help);
    }
}

void verb_help(const struct verb *verb, FILE *out)
{
    fprintf(out, "usage: auracode %s%s%s%s\n\n%s\n", verb->name, verb->n_options ? " [OPTION]" : "",
            *verb->usage ? " " : "", verb->usage, verb->summary);
    help_options("options", verb->options, verb->n_options, out);
    help_options("everywhere", globals, ELEMENTS(globals), out);
    if (!verb->examples)
        return;
    fprintf(out, "\nexamples:\n");
    for (const char *line = verb->examples; *line;) {
        size_t length = strcspn(line, "\n");

        fprintf(out, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

void verbs_help(FILE *out)
{
    fprintf(out, "usage: auracode VERB [OPTION] [ARGUMENT]\n\nverbs:\n");
    for (size_t i = 0; i < n_verbs; i++)
        fprintf(out, "  %-16s %s\n", verbs[i].name, verbs[i].summary);
    help_options("everywhere", globals, ELEMENTS(globals), out);
    fprintf(out, "\nSANDBOX is an id, the unique beginning of one, or a name.\n"
                 "`auracode help VERB` says more. Exit status: 0 done, 1 failed, 2 usage, "
                 "3 not found,\n4 refused, 5 daemon unreachable; `exec` returns the command's.\n");
}
