/* A command in a sandbox, live, over the exec WebSocket: binary messages whose first byte is the
 * channel of protocol.h. */
#pragma once

#include "cli/client.h"

typedef void (*stream_output_fn)(void *userdata, int channel, const unsigned char *data,
                                 size_t length);

struct stream_end {
    int exit_code;  /* of the command, or 128 + signal */
    char note[320]; /* why it ended, where its exit status does not say it all; else "" */
    bool detached;  /* the caller was told to end (second SIGINT, SIGHUP, SIGTERM) */
};

struct stream_options {
    int stdin_fd; /* -1: the command has none */
    bool tty;     /* stdin is a terminal to be put into raw mode, and its size follows */
    stream_output_fn output;
    void *userdata;
};

/* `request`: the first message, stolen. `path`: the sandbox's exec path. */
int stream_run(struct client *client, const char *path, json_t *request,
               const struct stream_options *options, struct stream_end *ret_end, struct error *err);

/* The exit status that shells use for a process object: its own, or 128 + signal. */
int stream_exit_status(const json_t *process);
