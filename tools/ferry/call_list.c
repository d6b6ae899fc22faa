/* SPDX-License-Identifier: MIT
 *
 * call_list.c - `ferry call SERVICE`: the methods that it has.
 */
#include <stdio.h>
#include <stdlib.h>

#include "call.h"
#include "say.h"
#include "table.h"

static const char *type_or_bytes(const char *type) {
    return type != NULL ? type : "bytes";
}

static bool add_method(table_t *table, const method_t *m) {
    table_row_t *row = table_add(table);

    if (row == NULL)
        return false;
    snprintf(row->cells[0], TABLE_CELL, "%s", m->name);
    snprintf(row->cells[1], TABLE_CELL, "%s", type_or_bytes(m->input));
    snprintf(row->cells[2], TABLE_CELL, "%s%s", m->streams ? "stream of " : "", type_or_bytes(m->output));
    snprintf(row->cells[3], TABLE_CELL, "%s", m->idempotent ? "yes" : "no");
    snprintf(row->cells[4], TABLE_CELL, "%s", m->comment != NULL ? m->comment : "");
    return true;
}

static int print_methods(const calling_t *c) {
    static const char *const heads[] = {"METHOD", "INPUT", "OUTPUT", "IDEMPOTENT", "COMMENT"};
    table_t table = {.heads = heads, .columns = 5};
    bool done = true;

    if (c->about.comment != NULL && c->about.comment[0] != '\0')
        printf("%s: %s\n\n", c->service, c->about.comment);
    for (size_t i = 0; i < c->about.n && done; i++)
        done = add_method(&table, &c->about.methods[i]);
    if (done)
        table_print(&table, 0);
    else
        say("no memory for the table");
    table_done(&table);
    return done ? STATUS_OK : STATUS_FAILED;
}

int call_list(calling_t *c) {
    char *json = NULL;
    int status = call_describe(c, c->common.json ? &json : NULL);

    if (status == 0 && json != NULL)
        printf("%s\n", json);
    else if (status == 0)
        status = print_methods(c);
    free(json);
    return finish_output(status);
}
