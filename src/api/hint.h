/* Why a command may have failed, where its own message would send the reader the wrong way. */
#pragma once

#include <stdbool.h>

/* True when the output reads like a failure to reach the network. */
bool hint_is_network_failure(const char *output);

#define HINT_NO_NETWORK                                                                            \
    "this sandbox has no network (egress \"none\"): create it with egress \"restricted\" to "      \
    "reach "                                                                                       \
    "the registry"
