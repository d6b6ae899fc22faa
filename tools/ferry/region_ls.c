/* SPDX-License-Identifier: MIT
 *
 * region_ls.c - `ferry region ls`: shared and published regions.
 *
 * What is in a shared region only the region itself tells, so each is opened, for reading. One that cannot be opened,
 * because its holders are stopped, shows ? for these figures.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "holders.h"
#include "json.h"
#include "published.h"
#include "region.h"
#include "say.h"
#include "stop.h"
#include "table.h"
#include "units.h"

static const char text[] = "Lists the regions of the space. Shared: size with the allocator's notes, how large it may\n"
                           "grow, type of the root object, who has it open, how many of these are keepers, allocated\n"
                           "blocks and their bytes. Published: size, newest version, readers. NAME may be a pattern.";

static const char examples[] = "ferry region ls\n"
                               "ferry region ls --json | jq '.regions[] | select(.kind == \"shared\") | .used'";

typedef struct listing {
    const common_t *common;
    holdings_t shared;
    ferry_region_info_t *infos; /* one for each shared region; `size` 0: it cannot be told */
    published_list_t published;
} listing_t;

static bool look_inside(ferry_t *node, const char *name, ferry_region_info_t *info) {
    const ferry_region_options_t options = {.size = sizeof options, .read_only = 1};
    ferry_region_t *region;

    *info = (ferry_region_info_t){.size = sizeof *info};
    if (ferry_region_open(node, name, 0, &options, &region) < 0)
        return false;
    int result = ferry_region_info(region, info);
    (void)ferry_region_close(region);
    return result == 0;
}

/* Returns 0 or an exit status, all said. */
static int look_into_all(listing_t *l) {
    ferry_t *node;
    int status = 0;

    l->infos = calloc(l->shared.n + 1, sizeof *l->infos);
    if (l->infos == NULL) {
        say("no memory for the list");
        return STATUS_FAILED;
    }
    if (l->shared.n == 0)
        return 0;
    if (!common_open(l->common, "ferry-region", &node, &status))
        return status;
    for (size_t i = 0; i < l->shared.n && stop_signal() == 0; i++) {
        if (!look_inside(node, l->shared.items[i].name, &l->infos[i]))
            l->infos[i] = (ferry_region_info_t){0};
    }
    stop_forget_node();
    ferry_close(node);
    return stop_signal() != 0 ? STATUS_FAILED : 0;
}

/* --- for people -------------------------------------------------------------------------------------------------- */

enum {
    COL_NAME,
    COL_KIND,
    COL_SIZE,
    COL_LIMIT,
    COL_TYPE,
    COL_HOLDERS,
    COL_KEEPERS,
    COL_BLOCKS,
    COL_USED,
    COL_VERSION,
    COL_READERS,
    COLUMNS
};

static void shared_row(const holding_t *region, const ferry_region_info_t *info, table_row_t *row) {
    bool known = info->size != 0;

    snprintf(row->cells[COL_NAME], TABLE_CELL, "%s", region->name);
    snprintf(row->cells[COL_KIND], TABLE_CELL, "shared");
    show_bytes((double)(known ? info->bytes : region->bytes), row->cells[COL_SIZE]);
    snprintf(row->cells[COL_TYPE], TABLE_CELL, "%s", region->type[0] != '\0' ? region->type : "-");
    show_count(region->holders, row->cells[COL_HOLDERS]);
    show_count(region->keepers, row->cells[COL_KEEPERS]);
    for (size_t c = COL_LIMIT; c <= COL_USED && !known; c++) {
        if (c == COL_LIMIT || c >= COL_BLOCKS)
            snprintf(row->cells[c], TABLE_CELL, "?");
    }
    if (known) {
        show_bytes((double)info->limit, row->cells[COL_LIMIT]);
        show_count(info->blocks, row->cells[COL_BLOCKS]);
        show_bytes((double)info->used, row->cells[COL_USED]);
    }
    snprintf(row->cells[COL_VERSION], TABLE_CELL, "-");
    snprintf(row->cells[COL_READERS], TABLE_CELL, "-");
}

static void published_row(const published_t *region, table_row_t *row) {
    for (size_t c = COL_SIZE; c < COLUMNS; c++)
        snprintf(row->cells[c], TABLE_CELL, "-");
    snprintf(row->cells[COL_NAME], TABLE_CELL, "%s", region->name);
    snprintf(row->cells[COL_KIND], TABLE_CELL, "published");
    show_count(region->readers, row->cells[COL_READERS]);
    if (region->writer == NULL)
        return;
    show_bytes((double)region->writer->type_size, row->cells[COL_SIZE]);
    if (region->writer->type_name[0] != '\0')
        snprintf(row->cells[COL_TYPE], TABLE_CELL, "%s", region->writer->type_name);
    show_count(region->writer->messages, row->cells[COL_VERSION]);
}

static int print_table(const listing_t *l) {
    static const char *const heads[COLUMNS] = {"REGION",   "KIND",    ">SIZE", ">LIMIT",   "TYPE",    ">HOLDERS",
                                               ">KEEPERS", ">BLOCKS", ">USED", ">VERSION", ">READERS"};
    table_t table = {.heads = heads, .columns = COLUMNS};
    table_row_t *row = NULL;

    for (size_t i = 0; i < l->shared.n && (row = table_add(&table)) != NULL; i++)
        shared_row(&l->shared.items[i], &l->infos[i], row);
    for (size_t i = 0; i < l->published.n && table.n == l->shared.n + i && (row = table_add(&table)) != NULL; i++)
        published_row(&l->published.items[i], row);
    bool complete = table.n == l->shared.n + l->published.n;
    if (!complete)
        say("no memory for the table");
    else if (table.n > 0)
        table_print(&table, 0);
    table_done(&table);
    return complete ? 0 : STATUS_FAILED;
}

/* --- for scripts ------------------------------------------------------------------------------------------------- */

static void json_shared(json_t *j, const holding_t *region, const ferry_region_info_t *info) {
    json_open(j, NULL, '{');
    json_text(j, "name", region->name);
    json_text(j, "kind", "shared");
    json_text(j, "type", region->type);
    json_count(j, "created_as", region->bytes);
    json_count(j, "holders", region->holders);
    json_count(j, "keepers", region->keepers);
    if (info->size != 0) {
        json_count(j, "bytes", info->bytes);
        json_count(j, "limit", info->limit);
        json_count(j, "root_bytes", info->type_size);
        json_count(j, "blocks", info->blocks);
        json_count(j, "used", info->used);
        json_count(j, "free", info->free_bytes);
        json_count(j, "largest_free", info->largest_free);
        json_count(j, "repairs", info->repairs);
    }
    json_close(j, '}');
}

static void json_published(json_t *j, const published_t *region) {
    json_open(j, NULL, '{');
    json_text(j, "name", region->name);
    json_text(j, "kind", "published");
    json_count(j, "readers", region->readers);
    if (region->writer != NULL) {
        json_text(j, "type", region->writer->type_name);
        json_count(j, "bytes", region->writer->type_size);
        json_count(j, "version", region->writer->messages);
        json_count(j, "memory", region->writer->memory);
        json_count(j, "quota", region->writer->quota);
    }
    json_close(j, '}');
}

static int print_json(const listing_t *l) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_open(&j, "regions", '[');
    for (size_t i = 0; i < l->shared.n; i++)
        json_shared(&j, &l->shared.items[i], &l->infos[i]);
    for (size_t i = 0; i < l->published.n; i++)
        json_published(&j, &l->published.items[i]);
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
    return 0;
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int print_all(listing_t *l, const char *pattern) {
    int status = look_into_all(l);

    if (status == 0)
        status = l->common->json ? print_json(l) : print_table(l);
    if (status == 0 && l->shared.n + l->published.n == 0) {
        status = STATUS_NO;
        if (!l->common->quiet)
            say("no region%s%s is open in space %s", pattern != NULL ? " " : "", pattern != NULL ? pattern : "",
                common_space(l->common));
    }
    free(l->infos);
    return status;
}

static int list(const common_t *common, const char *pattern) {
    listing_t l = {.common = common};
    ferry_look_t *look;
    int status = 0;

    if (!look_at_space(common, &look, &status))
        return status;
    status = STATUS_FAILED;
    if (holdings_take(look, "region", pattern, &l.shared) && published_take(look, pattern, &l.published))
        status = print_all(&l, pattern);
    holdings_done(&l.shared);
    published_done(&l.published);
    ferry_look_close(look);
    return stop_or(finish_output(status));
}

int region_ls(int argc, char **argv) {
    common_t common = {0};
    operands_t operands;
    int status;
    const usage_t usage = {.command = "region ls",
                           .synopsis = "region ls [OPTION...] [NAME]",
                           .text = text,
                           .examples = examples,
                           .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 1)
        return usage_error(&usage, "one name is enough, but '%s' was given too", operands.items[1]);
    return list(&common, operands.n > 0 ? operands.items[0] : NULL);
}
