/* The user's terminal in raw mode or without echo, put back however the program ends. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Puts `fd` into raw mode; the first call registers the restoring at exit. -errno. */
int terminal_raw(int fd);
void terminal_restore(void);

/* Asks on standard error and reads a line of standard input, which must be a terminal, without echo
 * and with the end of the line, if it fits. -ENOTTY; other -errno. */
int terminal_password(const char *prompt, char *ret_line, size_t size);

/* Rows and columns; 24 and 80 where the terminal does not say. */
void terminal_size(int fd, unsigned int *ret_rows, unsigned int *ret_cols);
