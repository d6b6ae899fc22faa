/* SPDX-License-Identifier: MIT
 *
 * cell_far.c - cells of a space that spans machines, which the engine keeps: listing and removing them.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "say.h"

typedef struct listing {
    const char *pattern;
    holdings_t *all;
} listing_t;

static int add(const char *name, const ferry_cell_info_t *info, void *arg) {
    listing_t *l = arg;

    if (l->pattern != NULL && fnmatch(l->pattern, name, 0) != 0)
        return 0;
    holding_t *items = realloc(l->all->items, (l->all->n + 1) * sizeof *items);
    if (items == NULL)
        return 1;
    l->all->items = items;
    char *own = strdup(name), *type = strdup(info->type_name);
    items[l->all->n++] = (holding_t){.name = own, .type = type, .bytes = info->max_bytes, .count = info->count};
    return own == NULL || type == NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const holding_t *)a)->name, ((const holding_t *)b)->name);
}

int cell_far_list(const common_t *common, const char *pattern, holdings_t *all) {
    listing_t l = {pattern, all};
    ferry_t *node;
    int status = 0;

    *all = (holdings_t){0};
    if (!common_open(common, "ferry-cell", &node, &status))
        return status;
    int result = ferry_cell_each(node, add, &l);
    if (result < 0)
        status = library_failed(result);
    ferry_close(node);
    if (result > 0) {
        say("no memory for the list");
        return STATUS_FAILED;
    }
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, compare_names);
    return status;
}

void cell_far_list_done(holdings_t *all) {
    for (size_t i = 0; i < all->n; i++) {
        free((char *)(uintptr_t)all->items[i].name);
        free((char *)(uintptr_t)all->items[i].type);
    }
    holdings_done(all);
}

int cell_far_remove(const common_t *common, const char *name) {
    ferry_t *node;
    int status = 0;

    if (!common_open(common, "ferry-cell", &node, &status))
        return status;
    int result = ferry_cell_remove(node, name);
    if (result == -ENOENT)
        say("there is no cell \"%s\" in space %s", name, common_space(common));
    status = result == 0 ? 0 : result == -ENOENT ? STATUS_NO : library_failed(result);
    ferry_close(node);
    return status;
}
