/* auracode: the command line. main() finds the verb in the table (verbs.c), has its options parsed
 * (args.c), opens the client and runs it; the verb's result is the exit code. */
#include "config.h"

#include "cli/cli.h"

#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/auracode/api.sock"

static const char *first_of(const char *a, const char *b, const char *c)
{
    if (a)
        return a;
    return b && *b ? b : c;
}

static int open_client(struct cli *cli, struct error *err)
{
    const struct options *options = &cli->options;
    const char *host = first_of(options->host, getenv("AURACODE_HOST"), NULL);
    const char *socket = first_of(options->socket, getenv("AURACODE_SOCKET"), DEFAULT_SOCKET);

    if (options->socket)
        host = options->host;
    return client_init(&cli->client, socket, host,
                       first_of(options->token, getenv("AURACODE_TOKEN"), NULL),
                       first_of(options->cacert, getenv("AURACODE_CACERT"), NULL), err);
}

static int run_verb(struct cli *cli, const struct verb *verb, char **args, int n_args)
{
    struct error err = ERROR_NONE;

    if (cli->options.help) {
        verb_help(verb, stdout);
        return EXIT_OK;
    }
    if (n_args < verb->min_args)
        error_set(&err, EINVAL, "too few arguments");
    else if (n_args > verb->max_args)
        error_set(&err, EINVAL, "too many arguments");
    else if (open_client(cli, &err) == 0) {
        int code = verb->run(cli, args, n_args);

        client_free(&cli->client);
        return code;
    }
    return cli_usage(verb, &err);
}

static int no_verb(const char *word)
{
    struct error err = ERROR_NONE;
    const char *meant = verb_suggest(word);

    if (meant)
        error_set(&err, EINVAL, "unknown verb `%s`; did you mean `%s`?", word, meant);
    else
        error_set(&err, EINVAL, "unknown verb `%s`", word);
    return cli_usage(NULL, &err);
}

/* `words` has room for argc + 1. */
static int run(struct cli *cli, char **argv, int argc, char **words)
{
    const struct option_table before[2] = {global_options};
    struct error err = ERROR_NONE;
    int n_words, used;

    if (args_parse(before, argv, argc, true, &cli->options, words, &n_words, &err) < 0)
        return cli_usage(NULL, &err);
    if (n_words == 0 && cli->options.version)
        return cmd_version(cli, NULL, 0);
    if (n_words == 0) {
        verbs_help(cli->options.help ? stdout : stderr);
        return cli->options.help ? EXIT_OK : EXIT_USAGE;
    }
    const struct verb *verb = verb_find(words, n_words, &used);
    if (!verb)
        return no_verb(words[0]);
    const struct option_table tables[2] = {global_options, {verb->options, verb->n_options}};
    if (args_parse(tables, words + used, n_words - used, verb->stop_at_first, &cli->options, argv,
                   &n_words, &err) < 0)
        return cli_usage(verb, &err);
    return run_verb(cli, verb, argv, n_words);
}

int main(int argc, char **argv)
{
    struct cli cli = {
        .color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
        .error_terminal = isatty(STDERR_FILENO),
    };
    char **words = calloc((size_t)argc + 1, sizeof(*words));

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (!words || argc < 1)
        return EXIT_FAILED;
    int code = run(&cli, argv + 1, argc - 1, words);
    if (fflush(stdout) != 0 && code == EXIT_OK)
        code = EXIT_FAILED;
    free(words);
    return code;
}
