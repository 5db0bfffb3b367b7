/* Theory of operation: see nft-guard.h. The table is written in nft(8)'s own language, since the
 * JSON of libnftables 1.0.6 knows no flags of tables. The links are in a set, as in the first
 * table, for the names of other programs' links may begin as ours do. */
#include "supervisor/nft-guard.h"

#include "supervisor/fence.h"
#include "supervisor/link.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BEFORE_FILTER (-10) /* NF_IP_PRI_FILTER is 0 */

static void write_links(FILE *out, const char *guard, json_t *sandboxes)
{
    const char *id;
    json_t *sandbox;
    char link[IFNAMSIZ];

    json_object_foreach(sandboxes, id, sandbox)
    {
        link_name(id, link);
        fprintf(out, "add element inet %s links { %s }\n", guard, link);
    }
}

static void write_guard(FILE *out, const char *guard, json_t *sandboxes)
{
    fprintf(out, "add table inet %s { flags owner; }\n", guard);
    fprintf(out, "add set inet %s links { type ifname; }\n", guard);
    fprintf(out, "add chain inet %s input { type filter hook input priority %d; policy accept; }\n",
            guard, BEFORE_FILTER);
    fprintf(out, "flush set inet %s links\nflush chain inet %s input\n", guard, guard);
    fprintf(out, "add rule inet %s input iifname @links meta mark & 0x%x == 0 drop\n", guard,
            FENCE_MARK);
    write_links(out, guard, sandboxes);
}

static char *guard_of(const struct nft_table *table)
{
    return str_format("%s_guard", table->name);
}

int nft_guard_make(struct nft_table *table, json_t *sandboxes, struct error *err)
{
    cleanup_free char *guard = guard_of(table);
    cleanup_free char *text = NULL;
    size_t size;
    FILE *out = guard ? open_memstream(&text, &size) : NULL;

    table->guarded = false;
    if (!out)
        return error_oom(err);
    write_guard(out, guard, sandboxes);
    if (fclose(out) != 0)
        return error_oom(err);
    int r = nft_run_text(text, err);
    table->guarded = r == 0;
    return r;
}

void nft_guard_link(json_t *commands, const struct nft_table *table, const char *verb,
                    const char *link)
{
    cleanup_free char *guard = guard_of(table);

    json_array_append_new(commands, json_pack("{s:{s:{s:s, s:s, s:s, s:[s]}}}", verb, "element",
                                              "family", "inet", "table", guard ? guard : "", "name",
                                              "links", "elem", link));
}
