/* Sandbox ids: 12 characters of [a-z2-7] (60 bits) from the kernel's random source. */
#pragma once

#include <stdbool.h>

#define SANDBOX_ID_LENGTH 12

bool sandbox_id_valid(const char *text);

/* Fills ret_id and terminates it; negative errno if the kernel gives no randomness. */
int sandbox_id_new(char ret_id[SANDBOX_ID_LENGTH + 1]);
