/* Theory of operation: a page is written straight into the connection's buffer. Style and script
 * are allowed by a nonce alone. */
#include "proxy/page.h"

#include "base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static const char style[] =
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;"
    "min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}"
    "main{max-width:44rem;width:calc(100% - 3rem);padding:2rem 0}h1{font-size:1.5rem;margin:0 0 "
    ".5rem}p{margin:0 0 1rem;opacity:.85}pre{font:13px/1.5 ui-monospace,monospace;background:#8881;"
    "border:1px solid #8883;border-radius:8px;padding:1rem;overflow:auto;max-height:50vh;"
    "white-space:pre-wrap;overflow-wrap:anywhere}pre:empty{display:none}a{color:inherit}"
    ".bar{height:3px;border-radius:3px;overflow:hidden;background:#8882;margin:0 0 1rem}"
    ".bar i{display:block;height:100%;width:30%;background:#6a5cff;border-radius:3px;"
    "animation:m 1.4s ease-in-out infinite alternate}@keyframes m{to{margin-left:70%}}"
    "footer{font-size:.8rem;opacity:.5}";

/* Follows the status document; shows new log lines; loads the page again once it can be had. */
static const char script[] =
    "(()=>{const m=document.querySelector('main'),log=document.querySelector('pre'),"
    "first=m.dataset.state;let last=first;const f=async()=>{try{const r=await "
    "fetch(m.dataset.poll,{cache:'no-store'}),s=await r.json();"
    "if(s.state==='ready'||(s.state!==last&&s.state!=='starting')){location.reload();return}"
    "last=s.state;const t=s.last_lines.join('\\n');if(log.textContent!==t){log.textContent=t;"
    "log.scrollTop=log.scrollHeight}}catch(e){}setTimeout(f,500)};setTimeout(f,300)})()";

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *page_reason(int status)
{
    for (size_t i = 0; i < ELEMENTS(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static const char *entity_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* Bytes of the UTF-8 sequence at `text`; 0 if it is none. Shortest forms and surrogates aside,
 * which a browser replaces by itself; what matters is that no byte of markup hides in one. */
static size_t utf8_length(const unsigned char *text)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4 : text[0] >= 0xe0 ? 3 : 2;

    if (text[0] >= 0xf5 || (text[0] >= 0x80 && text[0] < 0xc2))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

int page_escape(struct buffer *out, const char *text)
{
    int r = 0;

    for (size_t n; *text && r == 0; text += n > 0 ? n : 1) {
        const char *entity = entity_of(*text);
        n = utf8_length((const unsigned char *)text);
        if (entity)
            r = buffer_add(out, entity, strlen(entity));
        else if (n == 0)
            r = buffer_literal(out, "\xef\xbf\xbd");
        else if ((unsigned char)*text >= 0x20 || *text == '\n' || *text == '\t')
            r = buffer_add(out, text, n);
    }
    return r;
}

static int add_ports(struct buffer *out, const struct page *page)
{
    int r = page->n_ports > 0 ? buffer_literal(out, "<p>Listening now:") : 0;

    for (size_t i = 0; r == 0 && i < page->n_ports; i++) {
        r = buffer_literal(out, " <a href=\"");
        r = r < 0 ? r : page_escape(out, page->port_prefix);
        r = r < 0 ? r : buffer_print(out, "%u", page->ports[i]);
        r = r < 0 ? r : page_escape(out, page->port_suffix);
        r = r < 0 ? r : buffer_print(out, "\">%u</a>", page->ports[i]);
    }
    return r < 0 || page->n_ports == 0 ? r : buffer_literal(out, "</p>");
}

static int add_main(struct buffer *out, const struct page *page)
{
    int r = buffer_literal(out, "<main");

    if (page->poll) {
        r = r < 0 ? r : buffer_literal(out, " data-poll=\"");
        r = r < 0 ? r : page_escape(out, page->poll);
        r = r < 0 ? r : buffer_literal(out, "\" data-state=\"");
        r = r < 0 ? r : page_escape(out, page->code);
        r = r < 0 ? r : buffer_literal(out, "\"");
    }
    r = r < 0 ? r : buffer_literal(out, "><h1>");
    r = r < 0 ? r : page_escape(out, page->title);
    r = r < 0 ? r : buffer_literal(out, "</h1><p>");
    r = r < 0 ? r : page_escape(out, page->message);
    r = r < 0 ? r : buffer_literal(out, "</p>");
    if (page->busy)
        r = r < 0 ? r : buffer_literal(out, "<div class=\"bar\"><i></i></div>");
    r = r < 0 ? r : add_ports(out, page);
    r = r < 0 ? r : buffer_literal(out, "<pre>");
    r = r < 0 || !page->lines ? r : page_escape(out, page->lines);
    return r < 0 ? r : buffer_literal(out, "</pre><footer>AuraCode preview</footer></main>");
}

static int add_body(struct buffer *out, const struct page *page, const char *nonce)
{
    int r = buffer_literal(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                                "<meta name=\"viewport\" content=\"width=device-width\"><title>");

    r = r < 0 ? r : page_escape(out, page->title);
    r = r < 0 ? r : buffer_print(out, "</title><style nonce=\"%s\">", nonce);
    r = r < 0 ? r : buffer_literal(out, style);
    r = r < 0 ? r : buffer_literal(out, "</style></head><body>");
    r = r < 0 ? r : add_main(out, page);
    if (page->poll) {
        r = r < 0 ? r : buffer_print(out, "<script nonce=\"%s\">", nonce);
        r = r < 0 ? r : buffer_literal(out, script);
        r = r < 0 ? r : buffer_literal(out, "</script>");
    }
    return r < 0 ? r : buffer_literal(out, "</body></html>\n");
}

static int add_head(struct buffer *out, int status, int retry_after, bool keep_alive)
{
    int r = buffer_print(out,
                         "HTTP/1.1 %d %s\r\nCache-Control: no-store\r\n"
                         "X-Content-Type-Options: nosniff\r\n",
                         status, page_reason(status));

    r = r < 0 ? r : buffer_add_date(out);
    if (r == 0 && retry_after > 0)
        r = buffer_print(out, "Retry-After: %d\r\n", retry_after);
    if (r == 0 && status == 401)
        r = buffer_literal(out, "WWW-Authenticate: Bearer realm=\"preview\"\r\n");
    if (r == 0 && status == 405)
        r = buffer_literal(out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    return r < 0 ? r : buffer_print(out, "Connection: %s\r\n", keep_alive ? "keep-alive" : "close");
}

static int add_page_head(struct buffer *out, const struct page *page, bool keep_alive)
{
    int r = add_head(out, page->status, page->retry_after, keep_alive);

    if (r == 0 && page->hsts_s > 0)
        r = buffer_print(out, "Strict-Transport-Security: max-age=%lld\r\n",
                         (long long)page->hsts_s);
    return r;
}

int page_make_nonce(char ret_nonce[NONCE_LENGTH + 1])
{
    unsigned char random[16];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(ret_nonce + 2 * i, 3, "%02x", random[i]);
    return 0;
}

static int finish(struct buffer *out, const char *body, size_t length, bool head_only)
{
    int r = buffer_print(out, "Content-Length: %zu\r\n\r\n", length);

    return r < 0 || head_only ? r : buffer_add(out, body, length);
}

/* The head is written before the body's length is known, with room for it. */
static int add_html(struct buffer *out, const struct page *page, const char *nonce, bool head_only)
{
    char digits[12];

    int r = buffer_literal(out, "Content-Length:          \r\n\r\n");
    size_t start = out->length;
    r = r < 0 ? r : add_body(out, page, nonce);
    if (r < 0)
        return r;
    snprintf(digits, sizeof(digits), "%8zu", out->length - start);
    memcpy(buffer_head(out) + start - 12, digits, 8);
    if (head_only)
        out->length = (uint32_t)start;
    return 0;
}

int page_write_html(struct buffer *out, const struct page *page, bool head_only, bool keep_alive)
{
    char nonce[NONCE_LENGTH + 1];
    int r = page_make_nonce(nonce);

    r = r < 0 ? r : add_page_head(out, page, keep_alive);
    r = r < 0 ? r
              : buffer_print(out,
                             "Content-Type: text/html; charset=utf-8\r\n"
                             "Referrer-Policy: no-referrer\r\n"
                             "Content-Security-Policy: default-src 'none'; style-src 'nonce-%s'; "
                             "script-src 'nonce-%s'; connect-src 'self'; base-uri 'none'; "
                             "form-action 'none'\r\n",
                             nonce, nonce);
    return r < 0 ? r : add_html(out, page, nonce, head_only);
}

int page_write_json(struct buffer *out, const struct page *page, bool head_only, bool keep_alive)
{
    cleanup_json json_t *value =
        json_pack("{s:{s:s, s:s}}", "error", "code", page->code, "message", page->message);
    cleanup_free char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

    if (!text)
        return -ENOMEM;
    int r = add_head(out, page->status, page->retry_after, keep_alive);
    r = r < 0 ? r : buffer_literal(out, "Content-Type: application/json\r\n");
    return r < 0 ? r : finish(out, text, strlen(text), head_only);
}

int page_write_document(struct buffer *out, int status, const char *json, bool head_only,
                        bool keep_alive)
{
    int r = add_head(out, status, 0, keep_alive);

    r = r < 0 ? r : buffer_literal(out, "Content-Type: application/json\r\n");
    return r < 0 ? r : finish(out, json, strlen(json), head_only);
}
