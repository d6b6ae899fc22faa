/* SPDX-License-Identifier: MIT */
#include "looks.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "published.h"
#include "say.h"
#include "table.h"
#include "units.h"

static const int64_t between_looks_ns = 200 * 1000 * 1000;

/* Called by ferry_spaces for every space. */
static int add_space(const char *name, void *arg) {
    looks_t *looks = arg;
    space_look_t *spaces = realloc(looks->spaces, (looks->n + 1) * sizeof *spaces);

    if (spaces == NULL)
        return -ENOMEM;
    looks->spaces = spaces;
    spaces[looks->n] = (space_look_t){.name = strdup(name)};
    if (spaces[looks->n].name == NULL)
        return -ENOMEM;
    looks->n++;
    return 0;
}

/* One look at every space. A space that has just gone is no error; another one does not hide the rest. */
static int look_at_all(looks_t *looks, bool second) {
    ferry_options_t options = common_options(looks->common, "ferry-ls");
    int status = 0;

    for (size_t i = 0; i < looks->n; i++) {
        space_look_t *s = &looks->spaces[i];
        ferry_look_t *look = NULL;
        bool far = spans_machines(s->name);
        int result = ferry_look(s->name, &options, &look);
        if (result == -ENOENT && far)
            snprintf(looks->nobody, sizeof looks->nobody, "%s", ferry_last_error());
        if (result < 0 && looks->all && far)
            say("the space %s, which spans machines, is open here, but cannot be looked at: %s", s->name,
                ferry_last_error());
        else if (result < 0 && result != -ENOENT)
            status = library_failed(result);
        if (second) {
            s->before = s->now;
            s->before_ns = s->now_ns;
        }
        s->now = look;
        s->now_ns = now_ns();
    }
    return status;
}

static int compare_ends(const void *a, const void *b) {
    const ferry_look_end_t *x = *(const ferry_look_end_t *const *)a;
    const ferry_look_end_t *y = *(const ferry_look_end_t *const *)b;
    int order = strcmp(x->channel, y->channel);

    if (order == 0)
        order = (x->kind > y->kind) - (x->kind < y->kind);
    if (order == 0)
        order = (y->is_sender != 0) - (x->is_sender != 0);
    if (order == 0)
        order = (x->age_ns < y->age_ns) - (x->age_ns > y->age_ns);
    return order;
}

bool looks_asks_for(const looks_t *looks, const char *name) {
    return looks->channel == NULL || fnmatch(looks->channel, name, 0) == 0;
}

static int choose_ends(const looks_t *looks, space_look_t *s) {
    size_t n = s->now != NULL ? ferry_look_ends(s->now) : 0;

    s->ends = calloc(n + 1, sizeof(const ferry_look_end_t *));
    if (s->ends == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const ferry_look_end_t *end = ferry_look_end(s->now, i);
        if (looks_asks_for(looks, published_name(end)))
            s->ends[s->n_ends++] = end;
    }
    qsort(s->ends, s->n_ends, sizeof(const ferry_look_end_t *), compare_ends);
    return 0;
}

static void space_done(space_look_t *s) {
    ferry_look_close(s->before);
    ferry_look_close(s->now);
    free(s->ends);
    free(s->name);
}

void looks_done(looks_t *looks) {
    for (size_t i = 0; i < looks->n; i++)
        space_done(&looks->spaces[i]);
    free(looks->spaces);
    looks->spaces = NULL;
    looks->n = 0;
}

static bool has_object(const looks_t *looks, const space_look_t *s, const uint64_t *node) {
    for (size_t i = 0; i < ferry_look_objects(s->now); i++) {
        const ferry_look_object_t *object = ferry_look_object(s->now, i);
        if (looks_asks_for(looks, object->name) && (node == NULL || object->node == *node))
            return true;
    }
    return false;
}

static bool has_service(const looks_t *looks, const space_look_t *s, const uint64_t *node) {
    for (size_t i = 0; i < ferry_look_services(s->now); i++) {
        const ferry_look_service_t *service = ferry_look_service(s->now, i);
        if (looks_asks_for(looks, service->name) && (node == NULL || service->node == *node))
            return true;
    }
    return false;
}

/* Drops spaces where nothing that was asked for is open. */
static void drop_empty(looks_t *looks) {
    size_t kept = 0;

    for (size_t i = 0; i < looks->n; i++) {
        space_look_t *s = &looks->spaces[i];
        bool any = s->n_ends > 0 || has_object(looks, s, NULL) || has_service(looks, s, NULL) ||
                   (looks->channel == NULL && s->now != NULL && ferry_look_nodes(s->now) > 0);
        if (any)
            looks->spaces[kept++] = *s;
        else
            space_done(s);
    }
    looks->n = kept;
}

int looks_take(looks_t *looks, const char *space) {
    ferry_options_t options = common_options(looks->common, "ferry-ls");
    const struct timespec moment = {.tv_nsec = between_looks_ns};
    looks->all = space == NULL;
    int result = space != NULL ? add_space(space, looks) : ferry_spaces(&options, add_space, looks);

    if (result < 0)
        return library_failed(result);
    int status = look_at_all(looks, false);
    if (looks->rates && status == 0 && looks->n > 0) {
        nanosleep(&moment, NULL);
        status = look_at_all(looks, true);
    }
    for (size_t i = 0; i < looks->n; i++) {
        if (choose_ends(looks, &looks->spaces[i]) < 0) {
            say("no memory for the list of ends");
            return STATUS_FAILED;
        }
    }
    drop_empty(looks);
    return status;
}

bool looks_shows_node(const looks_t *looks, const space_look_t *space, const ferry_look_node_t *node) {
    if (looks->channel == NULL)
        return true;
    for (size_t i = 0; i < space->n_ends; i++) {
        if (space->ends[i]->node == node->id)
            return true;
    }
    return has_object(looks, space, &node->id) || has_service(looks, space, &node->id);
}

const ferry_look_node_t *looks_node(const space_look_t *space, uint64_t id) {
    for (size_t i = 0; i < ferry_look_nodes(space->now); i++) {
        const ferry_look_node_t *node = ferry_look_node(space->now, i);
        if (node->id == id)
            return node;
    }
    return NULL;
}

const ferry_look_node_t *looks_node_of(const space_look_t *space, const ferry_look_end_t *end) {
    return looks_node(space, end->node);
}

void looks_pid_text(const ferry_look_node_t *node, char *cell) {
    /* In a PID namespace that cannot be seen from here it is known by what it says itself. */
    if (node == NULL || (node->pid == 0 && node->own_pid == 0))
        snprintf(cell, TABLE_CELL, "?");
    else if (node->pid == 0)
        snprintf(cell, TABLE_CELL, "%" PRId32 "@%" PRIu64, node->own_pid, node->pid_namespace);
    else
        snprintf(cell, TABLE_CELL, "%" PRId32 "%s%s", node->pid, node->host[0] != '\0' ? "@" : "", node->host);
}

bool looks_rate(const space_look_t *space, const ferry_look_end_t *end, double *messages, double *bytes) {
    const ferry_look_node_t *node = looks_node_of(space, end);
    double seconds = (double)(space->now_ns - space->before_ns) / 1e9;

    if (space->before == NULL || seconds <= 0 || node == NULL || node->answered == 0)
        return false;
    for (size_t i = 0; i < ferry_look_ends(space->before); i++) {
        const ferry_look_end_t *then = ferry_look_end(space->before, i);
        if (then->node != end->node || then->end != end->end)
            continue;
        if (then->messages > end->messages || then->bytes > end->bytes)
            return false; /* it did not answer the first time */
        *messages = (double)(end->messages - then->messages) / seconds;
        *bytes = (double)(end->bytes - then->bytes) / seconds;
        return true;
    }
    return false;
}
