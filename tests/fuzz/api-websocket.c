/* Fuzz target: the client's side of a WebSocket: any bytes behind the handshake of the exec socket.
 * The first byte says which of the seeds' situations it is in: a new command or one attached to,
 * and whether the frames come in the same segment as the handshake. */
#include "api-world.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

#define INPUT_MAX 150000u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    api_world_open();
    return 0;
}

static const char handshake[] = "GET /v1/sandboxes/aaaaaaaaaaaa/exec%s HTTP/1.1\r\n"
                                "Host: localhost\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: keep-alive, Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Protocol: auracode\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static const char answers[] =
    "\"ok\":{\"process\":{\"process_id\":3,\"pid\":9,\"state\":\"running\"}}\n"
    "<1output\n"
    "<2problem\n"
    "<3{\"type\":\"exit\",\"process\":{\"process_id\":3,\"exit_code\":0}}\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    bool attach = size > 0 && (data[0] & 1), exits = size > 0 && (data[0] & 2);
    struct span said = {answers, exits ? sizeof(answers) - 1 : strcspn(answers, "\n")};

    if (size == 0 || size > INPUT_MAX)
        return 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return 0;
    fprintf(out, handshake, attach ? "?process_id=3" : "");
    fwrite(data + 1, 1, size - 1, out);
    if (fclose(out) == 0)
        api_world_exchange((struct span){text, length}, said);
    return 0;
}
