/* What the fuzz targets share. */
#pragma once

#include "base/ipc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A part of the input, not terminated. */
struct span {
    const char *data;
    size_t length;
};

/* Cuts the next line, without its newline, off the front; false: nothing is left. */
bool span_line(struct span *rest, struct span *ret_line);

/* A terminated copy of exactly its length, so that a byte read too many is found. */
char *span_text(struct span span);

/* A fresh folder in memory, with everything in it removed at the end. */
const char *fuzz_folder(void);

/* One packet to `peer`, as it stands; `fd` goes with it if it is not -1. */
void fuzz_send(int peer, struct span packet, int fd);

/* Reads what the code under test has sent. Anything but packets that ipc_receive takes aborts. */
void fuzz_drain(struct ipc *peer);

/* A bug of the target itself or of the machine, not a finding. */
__attribute__((noreturn)) void fuzz_give_up(const char *what);
