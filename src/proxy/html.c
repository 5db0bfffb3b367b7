/* Theory of operation: the script has to be in place while the document still arrives, so the
 * question is asked of every piece as it passes, and what cannot be answered yet holds back five
 * bytes at most ("<head"), never the document. HTML parsers build trees of whole documents; all
 * that is needed here is the beginning of the WHATWG's tokenizer, up to the first token that is
 * neither white space, comment, doctype, <html> nor <head>: a table of states and classes of bytes.
 * A browser that meets a script there opens <html> and <head> by itself and takes what follows as
 * it would have without it. */
#include "proxy/html.h"

enum class {
    OTHER,
    SPACE,
    LT,
    GT,
    BANG,
    QUERY,
    DASH,
    SLASH,
    EQUALS,
    DOUBLE,
    SINGLE,
    H,
    T,
    M,
    L,
    E,
    A,
    D,
    BYTE_EF,
    BYTE_BB,
    BYTE_BF,
    BYTE_FE,
    BYTE_FF,
    CLASSES
};

static const uint8_t class_of[256] = {
    ['\t'] = SPACE,   ['\n'] = SPACE,   ['\f'] = SPACE,   ['\r'] = SPACE,   [' '] = SPACE,
    ['<'] = LT,       ['>'] = GT,       ['!'] = BANG,     ['?'] = QUERY,    ['-'] = DASH,
    ['/'] = SLASH,    ['='] = EQUALS,   ['"'] = DOUBLE,   ['\''] = SINGLE,  ['h'] = H,
    ['H'] = H,        ['t'] = T,        ['T'] = T,        ['m'] = M,        ['M'] = M,
    ['l'] = L,        ['L'] = L,        ['e'] = E,        ['E'] = E,        ['a'] = A,
    ['A'] = A,        ['d'] = D,        ['D'] = D,        [0xef] = BYTE_EF, [0xbb] = BYTE_BB,
    [0xbf] = BYTE_BF, [0xfe] = BYTE_FE, [0xff] = BYTE_FF,
};

enum state {
    START,
    CONTENT, /* between two tokens */
    BOM_EF,  /* byte order marks */
    BOM_BB,
    BOM_FE,
    BOM_FF,
    TAG, /* <, and letters of the two names behind it */
    TAG_H,
    TAG_HT,
    TAG_HTM,
    TAG_HTML,
    TAG_HE,
    TAG_HEA,
    TAG_HEAD,
    MARKUP, /* <! */
    MARKUP_DASH,
    BOGUS, /* doctypes too end with the first > */
    COMMENT_START,
    COMMENT_START_DASH,
    COMMENT,
    COMMENT_DASH,
    COMMENT_END,
    COMMENT_BANG,
    BEFORE_NAME, /* of an attribute */
    NAME,
    AFTER_NAME,
    BEFORE_VALUE,
    VALUE_DOUBLE,
    VALUE_SINGLE,
    VALUE_BARE,
    AFTER_VALUE,
    SELF_CLOSING,
    STATES,
    /* what is no state but an end */
    TAG_END,
    BEFORE, /* the token, or the text, that has begun */
    NEVER,
};

/* START comes back from nowhere, so that 0 can mean: as `otherwise` says. */
static const uint8_t table[STATES][CLASSES] = {
    [START] =
        {[SPACE] = CONTENT, [LT] = TAG, [BYTE_EF] = BOM_EF, [BYTE_FE] = BOM_FE, [BYTE_FF] = BOM_FF},
    [CONTENT] = {[SPACE] = CONTENT, [LT] = TAG},
    [BOM_EF] = {[BYTE_BB] = BOM_BB},
    [BOM_BB] = {[BYTE_BF] = CONTENT},
    [BOM_FE] = {[BYTE_FF] = NEVER},
    [BOM_FF] = {[BYTE_FE] = NEVER},
    [TAG] = {[BANG] = MARKUP, [QUERY] = BOGUS, [H] = TAG_H},
    [TAG_H] = {[T] = TAG_HT, [E] = TAG_HE},
    [TAG_HT] = {[M] = TAG_HTM},
    [TAG_HTM] = {[L] = TAG_HTML},
    [TAG_HTML] = {[SPACE] = BEFORE_NAME, [SLASH] = SELF_CLOSING, [GT] = TAG_END},
    [TAG_HE] = {[A] = TAG_HEA},
    [TAG_HEA] = {[D] = TAG_HEAD},
    [TAG_HEAD] = {[SPACE] = BEFORE_NAME, [SLASH] = SELF_CLOSING, [GT] = TAG_END},
    [MARKUP] = {[DASH] = MARKUP_DASH, [GT] = CONTENT},
    [MARKUP_DASH] = {[DASH] = COMMENT_START, [GT] = CONTENT},
    [BOGUS] = {[GT] = CONTENT},
    [COMMENT_START] = {[DASH] = COMMENT_START_DASH, [GT] = CONTENT},
    [COMMENT_START_DASH] = {[DASH] = COMMENT_END, [GT] = CONTENT},
    [COMMENT] = {[DASH] = COMMENT_DASH},
    [COMMENT_DASH] = {[DASH] = COMMENT_END},
    [COMMENT_END] = {[DASH] = COMMENT_END, [BANG] = COMMENT_BANG, [GT] = CONTENT},
    [COMMENT_BANG] = {[DASH] = COMMENT_DASH, [GT] = CONTENT},
    [BEFORE_NAME] = {[SPACE] = BEFORE_NAME, [SLASH] = SELF_CLOSING, [GT] = TAG_END},
    [NAME] =
        {[SPACE] = AFTER_NAME, [SLASH] = SELF_CLOSING, [EQUALS] = BEFORE_VALUE, [GT] = TAG_END},
    [AFTER_NAME] =
        {[SPACE] = AFTER_NAME, [SLASH] = SELF_CLOSING, [EQUALS] = BEFORE_VALUE, [GT] = TAG_END},
    [BEFORE_VALUE] =
        {[SPACE] = BEFORE_VALUE, [DOUBLE] = VALUE_DOUBLE, [SINGLE] = VALUE_SINGLE, [GT] = TAG_END},
    [VALUE_DOUBLE] = {[DOUBLE] = AFTER_VALUE},
    [VALUE_SINGLE] = {[SINGLE] = AFTER_VALUE},
    [VALUE_BARE] = {[SPACE] = BEFORE_NAME, [GT] = TAG_END},
    [AFTER_VALUE] = {[SPACE] = BEFORE_NAME, [SLASH] = SELF_CLOSING, [GT] = TAG_END},
    [SELF_CLOSING] = {[SPACE] = BEFORE_NAME, [SLASH] = SELF_CLOSING, [GT] = TAG_END},
};

static const uint8_t otherwise[STATES] = {
    [START] = BEFORE,
    [CONTENT] = BEFORE,
    [BOM_EF] = BEFORE,
    [BOM_BB] = BEFORE,
    [BOM_FE] = BEFORE,
    [BOM_FF] = BEFORE,
    [TAG] = BEFORE,
    [TAG_H] = BEFORE,
    [TAG_HT] = BEFORE,
    [TAG_HTM] = BEFORE,
    [TAG_HTML] = BEFORE,
    [TAG_HE] = BEFORE,
    [TAG_HEA] = BEFORE,
    [TAG_HEAD] = BEFORE,
    [MARKUP] = BOGUS,
    [MARKUP_DASH] = BOGUS,
    [BOGUS] = BOGUS,
    [COMMENT_START] = COMMENT,
    [COMMENT_START_DASH] = COMMENT,
    [COMMENT] = COMMENT,
    [COMMENT_DASH] = COMMENT,
    [COMMENT_END] = COMMENT,
    [COMMENT_BANG] = COMMENT,
    [BEFORE_NAME] = NAME,
    [NAME] = NAME,
    [AFTER_NAME] = NAME,
    [BEFORE_VALUE] = VALUE_BARE,
    [VALUE_DOUBLE] = VALUE_DOUBLE,
    [VALUE_SINGLE] = VALUE_SINGLE,
    [VALUE_BARE] = VALUE_BARE,
    [AFTER_VALUE] = NAME,
    [SELF_CLOSING] = NAME,
};

/* Bytes that have led to a state in which the script may still go before them. */
static const uint8_t held[STATES] = {
    [BOM_EF] = 1, [BOM_BB] = 2, [BOM_FE] = 1,  [BOM_FF] = 1,   [TAG] = 1,     [TAG_H] = 2,
    [TAG_HT] = 3, [TAG_HE] = 3, [TAG_HTM] = 4, [TAG_HTML] = 5, [TAG_HEA] = 4, [TAG_HEAD] = 5,
};

size_t html_held(const struct html_scan *scan)
{
    return held[scan->state];
}

enum html_verdict html_scan(struct html_scan *scan, struct text piece, ptrdiff_t *ret_at)
{
    for (size_t i = 0; i < piece.length; i++) {
        uint8_t next = table[scan->state][class_of[(unsigned char)piece.data[i]]];
        if (next == START)
            next = otherwise[scan->state];
        if (next == NEVER)
            return HTML_NEVER;
        if (next == BEFORE) {
            *ret_at = (ptrdiff_t)i - held[scan->state];
            return HTML_HERE;
        }
        if (scan->state == TAG_HTML || scan->state == TAG_HEAD)
            scan->in_head_tag = scan->state == TAG_HEAD;
        if (next == TAG_END && scan->in_head_tag) {
            *ret_at = (ptrdiff_t)i + 1;
            return HTML_HERE;
        }
        scan->state = next == TAG_END ? CONTENT : next;
    }
    return HTML_FURTHER;
}
