/* Certificates and keys of the TLS listeners, as auracode-api and auracode-proxy use them.
 *
 * auracoded reads the files of [tls] as bytes and hands them over as a sealed memfd: at the start
 * as the descriptor "certificates" (passed-fds.h), later as the answer to `tls.get` (protocol.h).
 * Its content is JSON: {"pairs":[{"certificate_file","certificate","key_file","key"}]}, names and
 * PEM text. Everything that understands PEM and X.509 is here, in programs without privileges.
 *
 * A set never changes once it is made. It is counted, since a handshake that began with one ends
 * with it, whatever has been read meanwhile; any thread may hold and use it. */
#pragma once

#include "base/error.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>

struct certificates;

/* TLS 1.2 and 1.3 with what the GnuTLS of the distribution holds for good, and no more. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-SHA1:%SERVER_PRECEDENCE"

/* Reads a descriptor from auracoded (the caller closes it). Refused, naming file and reason: what
 * is no PEM, has no certificate or more than 16, an encrypted key, a key of another certificate, a
 * certificate that is not valid yet or, unless `expired_too`, not any more. All or nothing. */
int certificates_read(int fd, bool expired_too, struct certificates **ret_set, struct error *err);

struct certificates *certificates_ref(struct certificates *set);
void certificates_unref(struct certificates *set); /* NULL is allowed */

size_t certificates_count(const struct certificates *set);

/* One line about pair `i` for people: its file, names and last day; what is wrong with it, too.
 * True: something is (it has expired or will within two weeks, its chain is missing). */
bool certificates_describe(const struct certificates *set, size_t i, char *ret_text, size_t size);

/* Which pair answers a client that asks for `name` (NULL: none): the first whose certificate is for
 * it, wildcards included, else the first. */
size_t certificates_select(const struct certificates *set, const char *name);

/* For gnutls_certificate_set_retrieve_function3: picks by the server name of the session, out of
 * the set that gnutls_session_set_ptr gave it, which must outlive its handshake. */
int certificates_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **ret_chain, unsigned int *ret_length,
                          gnutls_ocsp_data_st **ret_ocsp, unsigned int *ret_ocsp_length,
                          gnutls_privkey_t *ret_key, unsigned int *ret_flags);
