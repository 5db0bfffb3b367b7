/* Which addresses a webhook may lead to: public ones. Whoever may name a URL could have the host
 * ask its own services, its neighbours or a cloud's metadata otherwise. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* IPv4: not in the table of base/special.h. IPv6: of 2000::/3, without the documentation's prefix
 * and those that carry an IPv4 address (6to4, Teredo), or an IPv4-mapped address that is public. */
bool address_is_public(const struct sockaddr *address);
