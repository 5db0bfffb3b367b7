/* Theory of operation: the resolver asks the host's own name servers. For systemd-resolved's stub
 * those behind it are taken, since they answer without its cache's rewriting of lifetimes. */
#include "supervisor/network.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

static const char *const sources[] = {"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"};

static json_t *parse(char *text)
{
    json_t *servers = json_array();
    char *save = NULL, address[64];
    struct in_addr binary;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (sscanf(line, " nameserver %63s", address) == 1 &&
            inet_pton(AF_INET, address, &binary) == 1)
            json_array_append_new(servers, json_string(address));
    return servers;
}

json_t *host_name_servers(void)
{
    cleanup_free char *text = NULL;

    for (size_t i = 0; i < ELEMENTS(sources) && !text; i++)
        if (file_read(AT_FDCWD, sources[i], 65536, &text, NULL, NULL) < 0)
            text = NULL;
    return text ? parse(text) : json_array();
}
