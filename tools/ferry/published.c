/* SPDX-License-Identifier: MIT */
#include "published.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

static const char mark = '@';

bool published_is(const ferry_look_end_t *end) {
    return end->channel[0] == mark;
}

const char *published_name(const ferry_look_end_t *end) {
    return end->channel + published_is(end);
}

static published_t *find_or_add(published_list_t *all, const char *name) {
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->items[i].name, name) == 0)
            return &all->items[i];
    }
    published_t *items = realloc(all->items, (all->n + 1) * sizeof *items);
    if (items == NULL)
        return NULL;
    all->items = items;
    items[all->n] = (published_t){.name = name};
    return &items[all->n++];
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const published_t *)a)->name, ((const published_t *)b)->name);
}

bool published_take(const ferry_look_t *look, const char *pattern, published_list_t *all) {
    *all = (published_list_t){0};
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        const ferry_look_end_t *end = ferry_look_end(look, i);
        if (!published_is(end) || (pattern != NULL && fnmatch(pattern, published_name(end), 0) != 0))
            continue;
        published_t *region = find_or_add(all, published_name(end));
        if (region == NULL) {
            published_done(all);
            say("no memory for the list");
            return false;
        }
        if (end->is_sender)
            region->writer = end;
        else
            region->readers++;
    }
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, compare_names);
    return true;
}

void published_done(published_list_t *all) {
    free(all->items);
    *all = (published_list_t){0};
}
