/* Theory of operation: see bridge.h; where the tag goes is html.h's to say. It names a script of
 * the page's own origin, and none is written into the page: so a document grows by a hundred bytes,
 * the script is fetched once, and a policy can allow it by its URL.
 *
 * The length of a body is told before the body is seen. So whether it can take the tag must be
 * certain by then, for which the first two bytes are enough: only a document in UTF-16, in which
 * our bytes would be other characters, cannot. */
#include "proxy/bridge.h"

#include "base/cleanup.h"
#include "proxy/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool holds_case(struct text text, struct text part)
{
    for (size_t i = 0; i + part.length <= text.length; i++)
        if (text_is_case((struct text){text.data + i, part.length}, part))
            return true;
    return false;
}

/* Browsers that know where they are tell what they fetch for (not on a plain http site that is not
 * of this machine); all say what they take. */
bool bridge_is_document(const struct head *request)
{
    static const struct text opened[] = {TEXT("document"), TEXT("iframe"), TEXT("frame")};
    struct text purpose = head_get(request, NAME_FETCH_DEST);

    if (request->minor == 0 || request->upgrade || text_is(request->method, TEXT("HEAD")))
        return false;
    if (purpose.length == 0)
        return holds_case(head_get(request, NAME_ACCEPT), TEXT("text/html"));
    for (size_t i = 0; i < ELEMENTS(opened); i++)
        if (text_is_case(purpose, opened[i]))
            return true;
    return false;
}

/* In an encoding of which ASCII is a part. */
static bool is_html(struct text type)
{
    static const struct text wide[] = {TEXT("utf-16"), TEXT("ucs-2"), TEXT("unicode"),
                                       TEXT("utf-32")};
    const char *end = memchr(type.data, ';', type.length);
    size_t length = end ? (size_t)(end - type.data) : type.length;

    if (!text_is_case(text_trim((struct text){type.data, length}), TEXT("text/html")))
        return false;
    for (size_t i = 0; i < ELEMENTS(wide); i++)
        if (holds_case(type, wide[i]))
            return false;
    return true;
}

static bool is_plain(struct text coding)
{
    return coding.length == 0 || text_is_case(coding, TEXT("identity"));
}

int bridge_fits(const struct client *client, const struct head *response, struct text body)
{
    bool part = response->status == 205 || response->status == 206;

    if (!client->document || part || !is_html(head_get(response, NAME_CONTENT_TYPE)) ||
        !is_plain(head_get(response, NAME_CONTENT_ENCODING)))
        return 0;
    if (response->body != BODY_LENGTH)
        return 1;
    if (response->content_length < 2)
        return 0;
    if (body.length < 2)
        return -EAGAIN;
    return memcmp(body.data, "\xfe\xff", 2) != 0 && memcmp(body.data, "\xff\xfe", 2) != 0;
}

static int write_tag(struct insertion *insertion, const char *path, const char *nonce)
{
    int n =
        snprintf(insertion->tag, sizeof(insertion->tag),
                 "<script nonce=\"%s\" src=\"%s?v=%08x\"></script>", nonce, path, bridge_version());

    if (n < 0 || (size_t)n >= sizeof(insertion->tag))
        return -ENOSPC;
    insertion->tag_length = (uint8_t)n;
    return 0;
}

struct insertion *bridge_insert(const struct client *client, const struct exchange_names *names,
                                struct bridge *ret_bridge)
{
    const struct target *target = &client->target;
    cleanup_free struct insertion *insertion = calloc(1, sizeof(*insertion));
    char path[64] = BRIDGE_PATH;

    if (target->path_prefix > 0)
        snprintf(path, sizeof(path), "/p/%s/%u" BRIDGE_PATH, target->id, target->port);
    if (!insertion || page_make_nonce(ret_bridge->nonce) < 0 ||
        write_tag(insertion, path, ret_bridge->nonce) < 0)
        return NULL;
    snprintf(ret_bridge->url, sizeof(ret_bridge->url), "%s://%.*s%s",
             names->secure ? "https" : "http", (int)names->authority.length, names->authority.data,
             path);
    struct insertion *result = insertion;
    insertion = NULL;
    return result;
}
