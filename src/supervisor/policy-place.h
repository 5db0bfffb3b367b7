/* Where in the text of a policy file a field stands, for messages. */
#pragma once

#include <stddef.h>

/* The line (from 1) of `field`, a path such as "seccomp.rules[3].args[0].mask", in a valid JSON
 * text; that of the nearest thing around it where the text does not have it (a field that is
 * missing). 0: no line can be told. For error paths: it reads the text once more. */
int policy_line(const char *text, size_t length, const char *field);
