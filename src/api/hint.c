/* Theory of operation: see hint.h. */
#include "api/hint.h"

#include "base/cleanup.h"

#include <string.h>

static const char *const network_failures[] = {
    "EAI_AGAIN",
    "ENOTFOUND",
    "ENETUNREACH",
    "Could not resolve host",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Name or service not known",
};

bool hint_is_network_failure(const char *output)
{
    for (size_t i = 0; i < ELEMENTS(network_failures); i++)
        if (strstr(output, network_failures[i]))
            return true;
    return false;
}
