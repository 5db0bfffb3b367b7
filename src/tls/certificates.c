/* Theory of operation: see certificates.h. A pair keeps its leaf as a parsed certificate, to match
 * names with, its chain as GnuTLS sends it, and its key. */
#include "tls/certificates.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define CHAIN_MAX   16u
#define NAME_SIZE   256u /* of a DNS name with its end */
#define KEY_ID_SIZE 64u
#define DAY_S       86400LL
#define WARN_DAYS   14

struct pair {
    char *file; /* of the certificate */
    gnutls_x509_crt_t leaf;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned int chain_length;
    gnutls_privkey_t key;
    bool self_signed;
};

struct certificates {
    atomic_uint refs;
    size_t count;
    struct pair pairs[];
};

static int refuse(struct error *err, const char *file, const char *what, int code)
{
    return error_set_code(err, EINVAL, "invalid_certificate", "`%s` %s: %s", file, what,
                          gnutls_strerror(code));
}

static int import_chain(struct pair *pair, gnutls_x509_crt_t *list, unsigned int n,
                        struct error *err)
{
    unsigned int length = n;

    pair->leaf = list[0];
    pair->self_signed = gnutls_x509_crt_check_issuer(list[0], list[0]) != 0;
    if (n > CHAIN_MAX)
        return error_set_code(err, EINVAL, "invalid_certificate",
                              "`%s` holds %u certificates: at most %u are allowed", pair->file, n,
                              CHAIN_MAX);
    int r = gnutls_pcert_import_x509_list(pair->chain, list, &length, 0);
    if (r < 0)
        return refuse(err, pair->file, "holds a chain that cannot be used", r);
    pair->chain_length = length;
    return 0;
}

static int read_certificate(struct pair *pair, const char *text, struct error *err)
{
    const gnutls_datum_t data = {(unsigned char *)text, (unsigned int)strlen(text)};
    gnutls_x509_crt_t *list = NULL;
    unsigned int n = 0;
    int r = gnutls_x509_crt_list_import2(&list, &n, &data, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);

    if (r == GNUTLS_E_CERTIFICATE_LIST_UNSORTED)
        return error_set_code(err, EINVAL, "invalid_certificate",
                              "`%s` must begin with the server's certificate; each one behind it "
                              "issues the one before",
                              pair->file);
    if (r < 0 || n == 0)
        return refuse(err, pair->file, "holds no PEM certificate", r);
    r = import_chain(pair, list, n, err);
    for (unsigned int i = pair->leaf ? 1 : 0; i < n; i++)
        gnutls_x509_crt_deinit(list[i]);
    gnutls_free(list);
    return r;
}

static int read_key(struct pair *pair, const char *file, const char *text, struct error *err)
{
    const gnutls_datum_t data = {(unsigned char *)text, (unsigned int)strlen(text)};
    int r = gnutls_privkey_init(&pair->key);

    if (r == 0)
        r = gnutls_privkey_import_x509_raw(pair->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r == GNUTLS_E_DECRYPTION_FAILED || (r < 0 && strstr(text, "ENCRYPTED")))
        return error_set_code(err, EINVAL, "invalid_certificate",
                              "`%s` is encrypted: only a key without a passphrase can be used",
                              file);
    return r < 0 ? refuse(err, file, "holds no PEM private key", r) : 0;
}

static int check_match(const struct pair *pair, const char *key_file, struct error *err)
{
    unsigned char of_certificate[KEY_ID_SIZE], of_key[KEY_ID_SIZE];
    size_t n = sizeof(of_certificate), m = sizeof(of_key);
    gnutls_pubkey_t public;
    int r = gnutls_pubkey_init(&public);

    if (r < 0)
        return error_oom(err);
    r = gnutls_pubkey_import_privkey(public, pair->key, 0, 0);
    if (r == 0)
        r = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &m);
    gnutls_pubkey_deinit(public);
    if (r == 0)
        r = gnutls_x509_crt_get_key_id(pair->leaf, GNUTLS_KEYID_USE_SHA256, of_certificate, &n);
    if (r < 0)
        return refuse(err, key_file, "cannot be compared with its certificate", r);
    if (n == m && memcmp(of_certificate, of_key, n) == 0)
        return 0;
    return error_set_code(err, EINVAL, "invalid_certificate",
                          "`%s` is not the key of the certificate in `%s`", key_file, pair->file);
}

static void format_day(time_t when, char *ret_text, size_t size)
{
    struct tm day;

    gmtime_r(&when, &day);
    strftime(ret_text, size, "%Y-%m-%d", &day);
}

static int check_times(const struct pair *pair, bool expired_too, struct error *err)
{
    time_t now = time(NULL), first = gnutls_x509_crt_get_activation_time(pair->leaf),
           last = gnutls_x509_crt_get_expiration_time(pair->leaf);
    char day[32];

    format_day(now < first ? first : last, day, sizeof(day));
    if (now < first)
        return error_set_code(err, EINVAL, "invalid_certificate",
                              "the certificate in `%s` is not valid before %s", pair->file, day);
    if (now > last && !expired_too)
        return error_set_code(err, EINVAL, "invalid_certificate",
                              "the certificate in `%s` expired on %s", pair->file, day);
    return 0;
}

static int read_pair(struct pair *pair, const json_t *value, bool expired_too, struct error *err)
{
    const char *file, *certificate, *key_file, *key;

    if (json_unpack((json_t *)value, "{s:s, s:s, s:s, s:s}", "certificate_file", &file,
                    "certificate", &certificate, "key_file", &key_file, "key", &key) < 0)
        return error_set(err, EPROTO, "certificates from the supervisor: malformed");
    pair->file = strdup(file);
    if (!pair->file)
        return error_oom(err);
    int r = read_certificate(pair, certificate, err);
    if (r == 0)
        r = read_key(pair, key_file, key, err);
    if (r == 0)
        r = check_match(pair, key_file, err);
    return r == 0 ? check_times(pair, expired_too, err) : r;
}

static void free_set(struct certificates *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct pair *pair = &set->pairs[i];
        free(pair->file);
        if (pair->leaf)
            gnutls_x509_crt_deinit(pair->leaf);
        for (unsigned int c = 0; c < pair->chain_length; c++)
            gnutls_pcert_deinit(&pair->chain[c]);
        if (pair->key)
            gnutls_privkey_deinit(pair->key);
    }
    free(set);
}

/* Mapped, not read: the other program has the same open file, and with it the same position. */
static json_t *load(int fd, struct error *err)
{
    json_t *object = NULL;
    json_error_t problem;
    struct stat status;

    if (fstat(fd, &status) < 0 || status.st_size == 0) {
        error_set(err, EPROTO, "certificates from the supervisor: there are none");
        return NULL;
    }
    size_t size = (size_t)status.st_size;
    void *text = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (text != MAP_FAILED) {
        object = json_loadb(text, size, 0, &problem);
        munmap(text, size);
    }
    if (!object)
        error_set(err, EPROTO, "certificates from the supervisor: %s",
                  text == MAP_FAILED ? strerror(errno) : problem.text);
    return object;
}

int certificates_read(int fd, bool expired_too, struct certificates **ret_set, struct error *err)
{
    int r = 0;
    cleanup_json json_t *object = load(fd, err);
    if (!object)
        return -EPROTO;
    const json_t *pairs = json_object_get(object, "pairs");
    size_t count = json_array_size(pairs);
    if (count == 0)
        return error_set(err, EPROTO, "certificates from the supervisor: there are none");
    struct certificates *set = calloc(1, sizeof(*set) + count * sizeof(set->pairs[0]));
    if (!set)
        return error_oom(err);
    atomic_init(&set->refs, 1);
    set->count = count;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = read_pair(&set->pairs[i], json_array_get(pairs, i), expired_too, err);
    if (r < 0)
        free_set(set);
    else
        *ret_set = set;
    return r;
}

struct certificates *certificates_ref(struct certificates *set)
{
    atomic_fetch_add(&set->refs, 1);
    return set;
}

void certificates_unref(struct certificates *set)
{
    if (set && atomic_fetch_sub(&set->refs, 1) == 1)
        free_set(set);
}

size_t certificates_count(const struct certificates *set)
{
    return set->count;
}

/* The names that it is for, or its common name where it has none. */
static void list_names(const struct pair *pair, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (unsigned int i = 0; used + 1 < size; i++) {
        char name[NAME_SIZE];
        size_t length = sizeof(name) - 1;
        int r = gnutls_x509_crt_get_subject_alt_name(pair->leaf, i, name, &length, NULL);
        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            break;
        if (r != GNUTLS_SAN_DNSNAME)
            continue;
        name[length] = '\0';
        int n = snprintf(ret_text + used, size - used, "%s%s", used ? ", " : "", name);
        used += (size_t)n;
    }
    size_t length = size;
    if (used == 0 && gnutls_x509_crt_get_dn_by_oid(pair->leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
                                                   ret_text, &length) < 0)
        snprintf(ret_text, size, "no name");
}

bool certificates_describe(const struct certificates *set, size_t i, char *ret_text, size_t size)
{
    const struct pair *pair = &set->pairs[i];
    time_t last = gnutls_x509_crt_get_expiration_time(pair->leaf);
    long long days = ((long long)last - (long long)time(NULL)) / DAY_S;
    bool expired = last < time(NULL), alone = pair->chain_length == 1 && !pair->self_signed;
    char names[512], day[32];

    list_names(pair, names, sizeof(names));
    format_day(last, day, sizeof(day));
    int n = snprintf(ret_text, size, "`%s` for %s ", pair->file, names);
    if (n < 0 || (size_t)n >= size)
        return true;
    if (expired)
        n += snprintf(ret_text + n, size - (size_t)n, "expired on %s", day);
    else
        n += snprintf(ret_text + n, size - (size_t)n, "until %s (%lld days)", day, days);
    if (alone && (size_t)n < size)
        snprintf(ret_text + n, size - (size_t)n,
                 "; it comes without the certificate of its issuer, which most clients need "
                 "(certbot's fullchain.pem has it)");
    return expired || days < WARN_DAYS || alone;
}

size_t certificates_select(const struct certificates *set, const char *name)
{
    for (size_t i = 0; name && i < set->count; i++)
        if (gnutls_x509_crt_check_hostname(set->pairs[i].leaf, name))
            return i;
    return 0;
}

int certificates_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **ret_chain, unsigned int *ret_length,
                          gnutls_ocsp_data_st **ret_ocsp, unsigned int *ret_ocsp_length,
                          gnutls_privkey_t *ret_key, unsigned int *ret_flags)
{
    struct certificates *set = gnutls_session_get_ptr(session);
    char name[NAME_SIZE];
    size_t length = sizeof(name) - 1;
    unsigned int type = 0;

    (void)info;
    if (!set)
        return -1;
    name[0] = '\0';
    bool named =
        gnutls_server_name_get(session, name, &length, &type, 0) == 0 && type == GNUTLS_NAME_DNS;
    struct pair *pair = &set->pairs[certificates_select(set, named ? name : NULL)];
    *ret_chain = pair->chain;
    *ret_length = pair->chain_length;
    *ret_ocsp = NULL;
    *ret_ocsp_length = 0;
    *ret_key = pair->key;
    *ret_flags = 0; /* all of it stays ours */
    return 0;
}
