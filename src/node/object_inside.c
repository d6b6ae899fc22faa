/* SPDX-License-Identifier: MIT
 *
 * Objects that stand inside a region: they share its memory and its holders. See object.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "node/node.h"
#include "platform/clock.h"

bool fi_object_is_inhabited(const fi_object_t *region) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &region->node->objects) {
        if (fi_container(at, fi_object_t, link)->region == region) {
            return true;
        }
    }
    return false;
}

static fi_object_t *find(const fi_object_t *region, uint64_t at) {
    struct fi_list *here;
    struct fi_list *after;

    fi_list_each(here, after, &region->node->objects) {
        fi_object_t *o = fi_container(here, fi_object_t, link);
        if (o->region == region && o->at == at) {
            return o;
        }
    }
    return NULL;
}

static bool note_owner(uint64_t owner, void *arg) {
    bool *owned = arg;

    (void)owner;
    *owned = true;
    return false;
}

/*
 * Perhaps nobody had it open, and it is held by somebody who has died since. The steward knows; the first call of the
 * program shall find the truth.
 */
static void look_after(fi_node_t *n, fi_object_t *o) {
    bool owned = false;

    o->ops->bury(o, note_owner, &owned);
    if (!owned) {
        return;
    }
    o->repair = true;
    n->repair = true;
    fi_bell_ring(n->bell.wr);
    struct timespec end = fi_timespec(fi_now_ns() + FI_SETTLE_NS);
    while (o->repair && !fi_node_is_shut(n)) {
        if (pthread_cond_timedwait(&n->changed, &n->lock, &end) == ETIMEDOUT) {
            return; /* it is done later: nothing depends on it but the answer of a try */
        }
    }
}

static fi_object_t *add(fi_object_t *region, uint64_t at, const fi_object_spec_t *spec, const fi_object_ops_t *ops) {
    fi_object_t *o = fi_object_new(region->node, spec, ops);

    if (o) {
        snprintf(o->spec.name, sizeof o->spec.name, "%.100s+0x%" PRIx64, region->spec.name, spec->place);
        o->region = region;
        o->at = at;
        o->memory = fi_shared_ref(region->memory);
        o->ready = true;
        region->refs++;
        look_after(region->node, o);
    }
    return o;
}

static int open_locked(fi_object_t *region, uint64_t at, const fi_object_spec_t *spec, const fi_object_ops_t *ops,
                       fi_object_t **out) {
    fi_object_t *o = find(region, at);

    if (!o) {
        *out = add(region, at, spec, ops);
        return *out ? 0 : fi_fail(-ENOMEM, "no memory for an object");
    }
    if (o->ops != ops || o->spec.flags != spec->flags || o->spec.count != spec->count) {
        return fi_fail(-EPROTOTYPE, "\"%s\" is open as another %s than is asked for here", o->spec.name, o->ops->word);
    }
    o->refs++;
    *out = o;
    return 0;
}

int fi_object_open_inside(fi_object_t *region, uint64_t at, const fi_object_spec_t *spec, const fi_object_ops_t *ops,
                          fi_handle_t *h) {
    fi_node_t *n = region->node;
    fi_object_t *o = NULL;

    if (fi_node_is_shut(n)) {
        return fi_fail(-ESHUTDOWN, "the node %s: nothing can be opened on it", fi_node_end_word(n));
    }
    pthread_mutex_lock(&n->lock);
    int r = open_locked(region, at, spec, ops, &o);
    if (r == 0) {
        fi_object_add_handle(o, h);
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}
