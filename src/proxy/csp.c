/* Theory of operation: commas separate policies and semicolons directives, and neither can occur
 * inside one (CSP 3, 2.2), so no directive needs to be understood to find its end; of two of one
 * name the first counts.
 *
 * The bridge is a script, and what it reports is a fetch; both are of one path of the page's own
 * origin. That URL becomes one more source of the directives that decide about them. A nonce would
 * do too, but takes 'unsafe-inline' its meaning, which other scripts of the page may live on; so it
 * is added only where 'strict-dynamic' has URLs count for nothing (and 'unsafe-inline' as well).
 * Where default-src decides, its list is copied to a directive of its own: it decides about much
 * else. Nothing else becomes possible for the page by that. */
#include "proxy/csp.h"

#include "proxy/bridge.h"
#include "proxy/frame.h"

enum decider { SCRIPT_ELEMENT, SCRIPT, CONNECT, DEFAULT, DECIDERS };

static const struct text names_of[DECIDERS] = {
    [SCRIPT_ELEMENT] = TEXT("script-src-elem"),
    [SCRIPT] = TEXT("script-src"),
    [CONNECT] = TEXT("connect-src"),
    [DEFAULT] = TEXT("default-src"),
};

/* Takes what stands before the first of `ends` off the text, and that byte; false: it is empty. */
static bool cut(struct text *rest, const char *ends, struct text *ret_part)
{
    size_t n = 0;

    if (rest->length == 0)
        return false;
    while (n < rest->length && rest->data[n] != ends[0] && rest->data[n] != ends[1])
        n++;
    *ret_part = (struct text){rest->data, n};
    n += n < rest->length;
    *rest = (struct text){rest->data + n, rest->length - n};
    return true;
}

/* The next word. */
static bool next_word(struct text *rest, struct text *ret_word)
{
    while (cut(rest, " \t", ret_word))
        if (ret_word->length > 0)
            return true;
    return false;
}

static bool is_named(struct text directive, struct text name)
{
    struct text word;

    return next_word(&directive, &word) && text_is_case(word, name);
}

static struct text find(struct text policy, struct text name)
{
    struct text directive;

    while (cut(&policy, ";;", &directive))
        if (is_named(directive, name))
            return directive;
    return (struct text){NULL, 0};
}

static bool lists(struct text directive, struct text source)
{
    struct text word;

    while (next_word(&directive, &word))
        if (text_is_case(word, source))
            return true;
    return false;
}

static int add_text(struct buffer *out, struct text text)
{
    return buffer_add(out, text.data, text.length);
}

/* The directive under that name, its sources, and ours. */
static int add_open(struct buffer *out, struct text directive, struct text name, bool script,
                    const struct exchange_names *names)
{
    struct text word, sources = directive;
    int r = add_text(out, name);

    next_word(&sources, &word);
    while (r == 0 && next_word(&sources, &word)) {
        if (text_is_case(word, TEXT("'none'")))
            continue;
        r = buffer_literal(out, " ");
        r = r < 0 ? r : add_text(out, word);
    }
    if (r == 0 && script && lists(directive, TEXT("'strict-dynamic'")))
        r = buffer_print(out, " 'nonce-%s'", names->bridge->nonce);
    return r < 0 ? r : buffer_print(out, " %s", names->bridge->url);
}

struct policy {
    struct text text;
    bool report_only;
    const char *script, *connect; /* where the directives begin that decide; NULL: none does */
    struct text fallback;         /* default-src */
};

static void read_policy(struct policy *policy)
{
    struct text element = find(policy->text, names_of[SCRIPT_ELEMENT]);
    struct text script = find(policy->text, names_of[SCRIPT]);

    policy->script = element.data ? element.data : script.data;
    policy->connect = find(policy->text, names_of[CONNECT]).data;
    policy->fallback = find(policy->text, names_of[DEFAULT]);
}

static int add_directive(struct buffer *out, const struct policy *policy, struct text directive,
                         const struct exchange_names *names)
{
    bool script = directive.data == policy->script, connect = directive.data == policy->connect;
    struct text word, rest = directive;

    if (!names->bridge || (!script && !connect) || !next_word(&rest, &word))
        return add_text(out, directive);
    int r = buffer_add(out, directive.data, (size_t)(word.data - directive.data));
    return r < 0 ? r : add_open(out, directive, word, script, names);
}

/* Directives that default-src stood for. */
static int add_copies(struct buffer *out, const struct policy *policy,
                      const struct exchange_names *names)
{
    int r = 0;

    if (!names->bridge || !policy->fallback.data)
        return 0;
    if (!policy->script) {
        r = buffer_literal(out, "; ");
        r = r < 0 ? r : add_open(out, policy->fallback, names_of[SCRIPT], true, names);
    }
    if (r == 0 && !policy->connect) {
        r = buffer_literal(out, "; ");
        r = r < 0 ? r : add_open(out, policy->fallback, names_of[CONNECT], false, names);
    }
    return r;
}

static int add_policy(struct buffer *out, struct policy *policy, const struct exchange_names *names)
{
    struct text rest = policy->text, directive;
    int r = 0;

    if (names->bridge)
        read_policy(policy);
    while (r == 0 && cut(&rest, ";;", &directive)) {
        bool more = directive.data + directive.length < policy->text.data + policy->text.length;
        if (!policy->report_only && frame_decides(directive, names))
            continue;
        r = add_directive(out, policy, directive, names);
        if (r == 0 && more)
            r = buffer_literal(out, ";");
    }
    return r < 0 ? r : add_copies(out, policy, names);
}

static int add_value(struct buffer *out, struct text value, bool report_only,
                     const struct exchange_names *names)
{
    const char *end = value.data + value.length;
    struct policy policy = {.report_only = report_only};
    int r = 0;

    while (r == 0 && cut(&value, ",,", &policy.text)) {
        r = add_policy(out, &policy, names);
        if (r == 0 && policy.text.data + policy.text.length < end)
            r = buffer_literal(out, ",");
    }
    return r;
}

int csp_add(struct buffer *out, struct text value, const struct exchange_names *names)
{
    return add_value(out, value, false, names);
}

int csp_add_report_only(struct buffer *out, struct text value, const struct exchange_names *names)
{
    return add_value(out, value, true, names);
}
