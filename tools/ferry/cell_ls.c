/* SPDX-License-Identifier: MIT
 *
 * cell_ls.c - `ferry cell ls`.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cell.h"
#include "holders.h"
#include "json.h"
#include "say.h"
#include "table.h"
#include "units.h"

static const char text[] =
    "Lists the cells of the space: how many there are under each name, how large a value may be,\n"
    "who has them open, and how many of these are keepers. NAME may be a pattern ('price*').";

static const char examples[] = "ferry cell ls\n"
                               "ferry cell ls --json | jq -r '.cells[].name'";

static int print_table(const holdings_t *all) {
    static const char *const heads[] = {"CELL", ">CELLS", ">LARGEST", "TYPE", ">HOLDERS", ">KEEPERS"};
    table_t table = {.heads = heads, .columns = 6};

    for (size_t i = 0; i < all->n; i++) {
        const holding_t *cell = &all->items[i];
        table_row_t *row = table_add(&table);
        if (row == NULL) {
            say("no memory for the table");
            table_done(&table);
            return STATUS_FAILED;
        }
        snprintf(row->cells[0], TABLE_CELL, "%s", cell->name);
        show_count(cell->count, row->cells[1]);
        show_bytes((double)cell->bytes, row->cells[2]);
        snprintf(row->cells[3], TABLE_CELL, "%s", cell->type[0] != '\0' ? cell->type : "-");
        show_count(cell->holders, row->cells[4]);
        show_count(cell->keepers, row->cells[5]);
    }
    if (table.n > 0)
        table_print(&table, 0);
    table_done(&table);
    return 0;
}

static int print_json(const holdings_t *all) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_open(&j, "cells", '[');
    for (size_t i = 0; i < all->n; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "name", all->items[i].name);
        json_count(&j, "count", all->items[i].count);
        json_count(&j, "max_bytes", all->items[i].bytes);
        json_text(&j, "type", all->items[i].type);
        json_count(&j, "holders", all->items[i].holders);
        json_count(&j, "keepers", all->items[i].keepers);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
    return 0;
}

static int print(const common_t *common, const char *pattern, const holdings_t *all) {
    int status = common->json ? print_json(all) : print_table(all);

    if (status == 0 && all->n == 0) {
        status = STATUS_NO;
        if (!common->quiet)
            say("no cell%s%s is %s space %s", pattern != NULL ? " " : "", pattern != NULL ? pattern : "",
                space_is_far(common) ? "in" : "open in", common_space(common));
    }
    return finish_output(status);
}

static int list_far(const common_t *common, const char *pattern) {
    holdings_t all;
    int status = cell_far_list(common, pattern, &all);

    if (status == 0)
        status = print(common, pattern, &all);
    cell_far_list_done(&all);
    return status;
}

static int list(const common_t *common, const char *pattern) {
    holdings_t all;
    ferry_look_t *look;
    int status = 0;

    if (!look_at_space(common, &look, &status))
        return status;
    if (!holdings_take(look, "cell", pattern, &all)) {
        ferry_look_close(look);
        return STATUS_FAILED;
    }
    status = print(common, pattern, &all);
    holdings_done(&all);
    ferry_look_close(look);
    return status;
}

int cell_ls(int argc, char **argv) {
    common_t common = {0};
    operands_t operands;
    int status;
    const usage_t usage = {.command = "cell ls",
                           .synopsis = "cell ls [OPTION...] [NAME]",
                           .text = text,
                           .examples = examples,
                           .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 1)
        return usage_error(&usage, "one name is enough, but '%s' was given too", operands.items[1]);
    const char *pattern = operands.n > 0 ? operands.items[0] : NULL;
    return space_is_far(&common) ? list_far(&common, pattern) : list(&common, pattern);
}
