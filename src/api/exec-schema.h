/* Decoded queries of the exec, process and log routes, shared by the route table and the handlers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct exec_socket_query {
    int64_t process_id, since;
    bool detach;
};

struct log_query {
    const char *source;
    int64_t since;
    bool follow;
};

struct signal_query {
    const char *signal;
};
