/* Theory of operation: see table.h. */
#include "cli/table.h"

#include "base/cleanup.h"
#include "cli/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, const char *const *headers)
{
    *table = (struct table){0};
    while (headers[table->n_columns] && table->n_columns < TABLE_COLUMNS_MAX) {
        table->headers[table->n_columns] = headers[table->n_columns];
        table->n_columns++;
    }
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){0};
}

void table_add(struct table *table, const char *text)
{
    cleanup_free char *copy = text_printable(text && *text ? text : "-");
    char **cells = reallocarray(table->cells, table->n_cells + 1, sizeof(*cells));

    if (cells)
        table->cells = cells;
    if (!cells || !copy) {
        table->failed = true;
        return;
    }
    table->cells[table->n_cells++] = TAKE_PTR(copy);
}

static void print_row(FILE *out, const char *const *row, const size_t *widths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int padding = i + 1 < n ? (int)(widths[i] - text_width(row[i]) + 2) : 0;

        fprintf(out, "%s%*s", row[i], padding, "");
    }
    fputc('\n', out);
}

int table_print(const struct table *table, FILE *out, bool color)
{
    size_t widths[TABLE_COLUMNS_MAX];

    if (table->failed)
        return -ENOMEM;
    for (size_t i = 0; i < table->n_columns; i++)
        widths[i] = text_width(table->headers[i]);
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = text_width(table->cells[i]);

        if (width > widths[i % table->n_columns])
            widths[i % table->n_columns] = width;
    }
    fputs(color ? "\033[1m" : "", out);
    print_row(out, table->headers, widths, table->n_columns);
    fputs(color ? "\033[0m" : "", out);
    for (size_t i = 0; i + table->n_columns <= table->n_cells; i += table->n_columns)
        print_row(out, (const char *const *)&table->cells[i], widths, table->n_columns);
    return ferror(out) ? -EIO : 0;
}
