/* The file systems of a program that the supervisor starts (base/confine.h is the other half).
 *
 * While it starts it sees a copy of the host's root file system without what is mounted on it,
 * apart from what a program needs to be loaded; that copy is no part of the host's mount tree, so
 * it keeps no other mount busy. Then it enters a small read-only tmpfs, in which there are only
 *   /supervisor  the run folder, for supervisor.sock (read-only)
 *   DATA         the program's own folder, if it has one, under its usual path
 *   SOCKETS      the folder of its database server's Unix socket, if it uses one
 *   /etc         for one that connects to hosts by name: resolv.conf, hosts and nsswitch.conf, and
 *                the certificates in ssl/certs (read-only) */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct jail {
    const char *libexec_dir, *run_dir; /* absolute, no links in them */
    const char *data_dir;              /* the same; NULL: none */
    const char *socket_dir;            /* the same; NULL: none */
    bool hosts;                        /* connects to hosts by name */
};

/* In a forked child that still has CAP_SYS_ADMIN: moves it to its own mount namespace and root.
 * Returns the folder to be passed as "root". */
int jail_make(const struct jail *jail, struct error *err);
