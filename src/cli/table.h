/* Tables for people: columns as wide as their widest cell. Cells are copied and made printable. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

struct table {
    const char *headers[TABLE_COLUMNS_MAX]; /* NULL-terminated unless full; all NULL: no header */
    size_t n_columns;
    char **cells; /* row after row */
    size_t n_cells;
    bool failed; /* out of memory on the way */
};

/* `headers`: NULL-terminated names, borrowed. */
void table_init(struct table *table, const char *const *headers);
void table_free(struct table *table);

/* The next cell; NULL prints as "-". */
void table_add(struct table *table, const char *text);

/* -ENOMEM when a cell could not be kept, -EIO when the stream failed. */
int table_print(const struct table *table, FILE *out, bool color);

#define cleanup_table __attribute__((cleanup(table_free)))
