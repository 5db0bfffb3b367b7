/* Every bound of the proxy in one place. */
#pragma once

#define HEAD_MAX          65536u /* bytes of a request or response head */
#define TARGET_MAX        16384u /* bytes of a request target */
#define FIELDS_MAX        256u   /* header fields of one head */
#define AUTHORITY_MAX     300u   /* bytes of host:port, bracketed literals included */
#define FORWARDED_FOR_MAX 1024u  /* bytes of the list that proxies in front of us give */
#define TRAILERS_MAX      8192u
#define CHUNK_LINE_MAX    256u    /* size and extensions of a chunk */
#define INTERIM_MAX       32u     /* 1xx responses before the final one */
#define RETRIES_MAX       8u      /* of a request that got no byte back */
#define BUFFER_SIZE       81920u  /* a head of HEAD_MAX with everything that rewriting adds */
#define BUFFERS_FREE_MAX  256u    /* kept a thread */
#define PIPES_MAX         64u     /* open a thread, for bodies under way; others are copied */
#define PIPE_SIZE         262144u /* bytes */
#define JOIN_MAX          4096u /* bytes that are copied behind a head rather than sent beside it */
#define SPLICE_MIN        131072u /* bytes left of a body that make a pipe worth while */
#define OBJECTS_FREE_MAX  1024u   /* clients and upstreams kept a thread */

#define IDLE_PER_SITE_MAX        64u     /* idle upstream connections a thread and sandbox */
#define CONNECTIONS_MAX          262144u /* clients */
#define DESCRIPTORS_KEPT         32u     /* one in so many descriptors is not for clients */
#define THREADS_MAX              256u
#define LISTENERS_MAX            14u /* what one packet of descriptors can carry back */
#define UNKNOWN_KEPT_MAX         1024u
#define PORTS_FOUND_MAX          8u /* a sandbox: ports whose return is waited for */
#define PORTS_KEPT_MAX           64u
#define RUN_ROUNDS               16u /* transfers for one client before others get their turn */
#define INIT_MESSAGES_PER_SECOND 200u

#define STOCK_INET  8u
#define STOCK_INET6 2u
#define STOCK_ROOM  16u /* a refill of 8 may arrive while some are left */

#define CONNECT_TIMEOUT_MS 5000
#define SUPERVISOR_WAIT_MS 5000
#define HALF_CLOSED_MS     60000
#define ABANDONED_MS       500 /* a response that pauses, whose client has ended its direction */
#define TUNNEL_IDLE_MS     14400000
#define STALLED_MS         120000 /* a peer that takes or gives nothing in the middle of a body */
#define LINGER_MS          2000
#define LINGER_BYTES       (256 * 1024) /* read away at most, whatever a refused client still sends */
#define REFUSED_RETRY_MS   100
#define REFUSED_WAIT_MS    3000
/* Below the five seconds after which Node closes an idle connection, so that ours goes first. */
#define UPSTREAM_IDLE_MS    4000
#define PAUSE_MS            10   /* of those whose sandbox has used up its bandwidth */
#define DRAIN_MS            5000 /* of the end, for what is under way */
#define DRAIN_IDLE_MS       1000 /* ... for connections between two requests */
#define UNKNOWN_KEPT_MS     1000
#define SUPERVISOR_RETRY_MS 50
#define SUPERVISOR_GONE_MS  30000
