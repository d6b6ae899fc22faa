/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

table_row_t *table_add(table_t *table) {
    table_row_t *rows = realloc(table->rows, (table->n + 1) * sizeof *rows);

    if (rows == NULL)
        return NULL;
    table->rows = rows;
    memset(&rows[table->n], 0, sizeof rows[table->n]);
    return &rows[table->n++];
}

void table_done(table_t *table) {
    free(table->rows);
    table->rows = NULL;
    table->n = 0;
}

static void print_cell(const char *text, int width, bool right, bool last) {
    if (right)
        printf("%*s", width, text);
    else if (last)
        printf("%s", text); /* no blanks at the end of a line */
    else
        printf("%-*s", width, text);
    if (!last)
        printf("  ");
}

static void print_line(const table_t *table, const int *widths, const table_row_t *row, int indent) {
    const char *texts[TABLE_COLUMNS];
    size_t filled = 0;

    for (size_t c = 0; c < table->columns; c++) {
        texts[c] = row != NULL ? row->cells[c] : table->heads[c] + (table->heads[c][0] == '>');
        filled = texts[c][0] != '\0' ? c + 1 : filled;
    }
    printf("%*s", indent, "");
    for (size_t c = 0; c < filled; c++)
        print_cell(texts[c], widths[c], table->heads[c][0] == '>', c + 1 == filled);
    printf("\n");
}

void table_print(const table_t *table, int indent) {
    int widths[TABLE_COLUMNS];

    for (size_t c = 0; c < table->columns; c++) {
        size_t width = strlen(table->heads[c]) - (table->heads[c][0] == '>');
        for (size_t i = 0; i < table->n; i++) {
            size_t len = strlen(table->rows[i].cells[c]);
            width = len > width ? len : width;
        }
        widths[c] = (int)width;
    }
    print_line(table, widths, NULL, indent);
    for (size_t i = 0; i < table->n; i++)
        print_line(table, widths, &table->rows[i], indent);
}

void table_print_below(table_t *table) {
    if (table->n > 0) {
        printf("\n");
        table_print(table, 2);
    }
    table_done(table);
}
