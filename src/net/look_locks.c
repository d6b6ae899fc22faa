/* SPDX-License-Identifier: MIT
 *
 * Who waits for a lock between machines waits for those who stand in its way in the object's value, which is read here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/look.h"
#include "net/value.h"
#include "net/value_stream.h"

#define MOST_READS 256u

typedef struct fi_lock_reader {
    fi_net_t *net;
    ferry_look_t *look;
    fi_seen_wait_t *wait;
    uint32_t reads;
    char stream[FI_SUBJECT_MAX]; /* the last one that was read: many wait for the same */
    fi_lease_state_t state;
    bool valid;
} fi_lock_reader_t;

/* It stands in the value, and has not answered. */
static void add_silent(ferry_look_t *l, uint64_t node) {
    if (fi_picture_node(&l->picture, node)) {
        return;
    }
    if (!fi_grow((void **)&l->nodes, l->node_count, sizeof *l->nodes) || !fi_picture_add_node(&l->picture, node, 0)) {
        l->picture.short_of_memory = true;
        return;
    }
    l->nodes[l->node_count++] = (ferry_look_node_t){.id = node, .name = "?", .uid = UINT32_MAX, .host = "?"};
}

/* In line for units or a mutex, who is before it waits for the same holders. */
static bool add_obstacle(const fi_lease_entry_t *e, void *arg) {
    fi_lock_reader_t *r = arg;

    if (!(e->role & FI_LEASE_WAITS) || r->state.head.kind == 'w') {
        add_silent(r->look, e->node);
        fi_picture_add_key(&r->look->picture, r->wait, fi_key_of_lease(e->node, e->handle));
    }
    return true;
}

static void read_value(fi_lock_reader_t *r) {
    char stream[FI_SUBJECT_MAX];

    fi_net_stream(r->net, stream, FI_VALUE_KIND, r->wait->shown.name);
    size_t len = strlen(stream);
    snprintf(stream + len, sizeof stream - len, "_%016llx", (unsigned long long)r->wait->instance);
    if (strcmp(stream, r->stream) == 0) {
        return;
    }
    fi_lease_free(&r->state);
    r->state = (fi_lease_state_t){.changed = false};
    memcpy(r->stream, stream, sizeof r->stream);
    r->valid = r->reads++ < MOST_READS && fi_value_read_other(r->net, stream, r->wait->shown.name, &r->state) == 0;
}

static void look_at(fi_lock_reader_t *r) {
    read_value(r);
    if (r->valid && r->wait->role <= FI_LEASE_UNIT && (r->state.head.kind != 's' || r->state.head.options)) {
        fi_lease_each_obstacle(&r->state, r->wait->shown.node, r->wait->handle, add_obstacle, r);
    }
}

void fi_look_locks(fi_net_t *net, ferry_look_t *l) {
    fi_lock_reader_t r = {.net = net, .look = l};

    for (size_t i = 0; net->js && i < l->picture.wait_count; i++) {
        r.wait = &l->picture.waits[i];
        if (r.wait->instance) {
            look_at(&r);
        }
    }
    fi_lease_free(&r.state);
}
