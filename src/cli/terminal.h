/* The user's terminal in raw mode, put back however the program ends. */
#pragma once

#include <stdint.h>

/* Puts `fd` into raw mode; the first call registers the restoring at exit. -errno. */
int terminal_raw(int fd);
void terminal_restore(void);

/* Rows and columns; 24 and 80 where the terminal does not say. */
void terminal_size(int fd, unsigned int *ret_rows, unsigned int *ret_cols);
