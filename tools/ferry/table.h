/* SPDX-License-Identifier: MIT
 *
 * table.h - aligned columns for people.
 */
#ifndef FERRY_TOOL_TABLE_H
#define FERRY_TOOL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS = 12, TABLE_CELL = 104 };

typedef struct table_row {
    char cells[TABLE_COLUMNS][TABLE_CELL];
} table_row_t;

typedef struct table {
    const char *const *heads; /* one per column; a leading '>' aligns the column to the right */
    size_t columns;
    table_row_t *rows;
    size_t n;
} table_t;

/* A new empty row to be filled, or NULL without memory. Valid until the next one is added. */
table_row_t *table_add(table_t *table);

/* Prints heads and rows to standard output, each line after `indent` spaces. */
void table_print(const table_t *table, int indent);

/* The same with an empty line before it, if there are any rows, and frees them. */
void table_print_below(table_t *table);

void table_done(table_t *table);

#endif
