/* SPDX-License-Identifier: MIT */
#include "holders.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "keeper.h"
#include "say.h"

const ferry_look_node_t *holder_node(const ferry_look_t *look, uint64_t id) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        if (ferry_look_node(look, i)->id == id)
            return ferry_look_node(look, i);
    }
    return NULL;
}

/* Names of nodes may be cut short. */
bool holder_is_keeper(const ferry_look_node_t *node, const char *kind, const char *name) {
    char prefix[32];

    keeper_prefix(kind, prefix, sizeof prefix);
    if (strncmp(node->name, prefix, strlen(prefix)) != 0)
        return false;
    const char *rest = node->name + strlen(prefix);
    return rest[0] != '\0' && strncmp(name, rest, strlen(rest)) == 0;
}

/* On another machine: it holds what is there, and is not ours to end. */
static bool is_elsewhere(const ferry_look_t *look, const ferry_look_object_t *object) {
    const ferry_look_node_t *node = holder_node(look, object->node);

    return node != NULL && node->host[0] != '\0';
}

static holding_t *find_or_add(holdings_t *all, const ferry_look_object_t *object) {
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->items[i].name, object->name) == 0)
            return &all->items[i];
    }
    holding_t *items = realloc(all->items, (all->n + 1) * sizeof *items);
    if (items == NULL)
        return NULL;
    all->items = items;
    items[all->n] =
        (holding_t){.name = object->name, .type = object->type, .bytes = object->bytes, .count = object->count};
    return &items[all->n++];
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const holding_t *)a)->name, ((const holding_t *)b)->name);
}

bool holdings_take(const ferry_look_t *look, const char *kind, const char *pattern, holdings_t *all) {
    *all = (holdings_t){0};
    for (size_t i = 0; i < ferry_look_objects(look); i++) {
        const ferry_look_object_t *object = ferry_look_object(look, i);
        if (strcmp(object->kind, kind) != 0 || is_elsewhere(look, object) ||
            (pattern != NULL && fnmatch(pattern, object->name, 0) != 0))
            continue;
        holding_t *holding = find_or_add(all, object);
        if (holding == NULL) {
            holdings_done(all);
            say("no memory for the list");
            return false;
        }
        holding->holders++;
        const ferry_look_node_t *node = holder_node(look, object->node);
        holding->keepers += node != NULL && holder_is_keeper(node, kind, object->name);
    }
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, compare_names);
    return true;
}

void holdings_done(holdings_t *all) {
    free(all->items);
    *all = (holdings_t){0};
}

bool look_at_space(const common_t *common, ferry_look_t **look, int *status) {
    ferry_options_t options = common_options(common, NULL);
    int result = ferry_look(common_space(common), &options, look);

    if (result == 0)
        return true;
    *look = NULL;
    if (result == -ENOENT)
        return true;
    *status = library_failed(result);
    return false;
}

const ferry_look_node_t *holder_next(const ferry_look_t *look, const char *kind, const char *name, size_t *at) {
    while (*at < ferry_look_objects(look)) {
        const ferry_look_object_t *object = ferry_look_object(look, (*at)++);
        if (strcmp(object->kind, kind) == 0 && strcmp(object->name, name) == 0 && !is_elsewhere(look, object))
            return holder_node(look, object->node);
    }
    return NULL;
}

bool holders_any(const ferry_look_t *look, const char *kind, const char *name) {
    size_t at = 0;

    return holder_next(look, kind, name, &at) != NULL;
}
