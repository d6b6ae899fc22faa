/* SPDX-License-Identifier: MIT */
#include "ls_durable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "say.h"
#include "stop.h"
#include "table.h"
#include "units.h"

static int add(const ferry_durable_info_t *info, void *arg) {
    durables_t *all = arg;

    if (!looks_asks_for(all->looks, info->queue))
        return 0;
    durable_t *more = realloc(all->items, (all->n + 1) * sizeof *more);
    if (more == NULL)
        return 1;
    all->items = more;
    durable_t *d = &all->items[all->n++];
    *d = (durable_t){.is_topic = info->kind == FERRY_TOPIC,
                     .messages = info->messages,
                     .bytes = info->bytes,
                     .sent = info->sent,
                     .oldest_ns = info->oldest_ns};
    snprintf(d->queue, sizeof d->queue, "%s", info->queue);
    return 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const durable_t *)a)->queue, ((const durable_t *)b)->queue);
}

int durables_take(durables_t *all, const looks_t *looks) {
    ferry_t *node;
    int status = STATUS_OK;

    *all = (durables_t){.looks = looks};
    if (!space_is_far(looks->common))
        return STATUS_OK;
    if (!common_open(looks->common, "ferry-ls", &node, &status))
        return status;
    int result = ferry_durable_each(node, add, all);
    if (result > 0)
        say("no memory for the list of durable channels");
    status = result > 0 ? STATUS_FAILED : result < 0 && result != -ENOTSUP ? library_failed(result) : STATUS_OK;
    stop_forget_node();
    ferry_close(node);
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, compare_names);
    return status;
}

void durables_done(durables_t *all) {
    free(all->items);
}

/* How long ago that was, by this machine's clock; the server's may differ, so it is never less than nothing. */
static double age_ns(uint64_t since_ns) {
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)now.tv_sec * 1e9 + (double)now.tv_nsec - (double)since_ns;
    return age > 0 ? age : 0;
}

int print_durables(const durables_t *all) {
    static const char *const heads[] = {"DURABLE", "KIND", ">MESSAGES", ">BYTES", ">EVER SENT", ">OLDEST"};
    table_t table = {.heads = heads, .columns = 6};

    for (size_t i = 0; i < all->n; i++) {
        const durable_t *d = &all->items[i];
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", d->queue);
        snprintf(row->cells[1], TABLE_CELL, "%s", d->is_topic ? "topic" : "queue");
        show_count(d->messages, row->cells[2]);
        show_bytes((double)d->bytes, row->cells[3]);
        show_count(d->sent, row->cells[4]);
        snprintf(row->cells[5], TABLE_CELL, "-");
        if (d->oldest_ns > 0)
            show_duration(age_ns(d->oldest_ns), row->cells[5]);
    }
    if (all->looks->n == 0 && table.n > 0) /* there is nothing above it */
        table_print(&table, 0);
    else
        table_print_below(&table);
    table_done(&table);
    return 0;
}

void json_durables(json_t *j, const durables_t *all) {
    json_open(j, "durable", '[');
    for (size_t i = 0; i < all->n; i++) {
        const durable_t *d = &all->items[i];
        json_open(j, NULL, '{');
        json_text(j, d->is_topic ? "topic" : "queue", d->queue);
        json_count(j, "messages", d->messages);
        json_count(j, "bytes", d->bytes);
        json_count(j, "sent", d->sent);
        json_count(j, "oldest_ns", d->oldest_ns);
        json_close(j, '}');
    }
    json_close(j, ']');
}
