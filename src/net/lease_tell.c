/* SPDX-License-Identifier: MIT
 *
 * What this node's leases are, for who looks: objects, who holds them, and who has waited for long.  Who stands in a
 * wait's way is for the one who looks to read in the object's value (look_locks.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/lease.h"
#include "platform/clock.h"

#define USUAL_GRACE_NS INT64_C(50000000)

static void tell_object(const fi_lease_object_t *o, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_OBJECT, 0, 0);

    memcpy(f.text, o->record.name, sizeof f.text);
    snprintf(f.contract.type_name, sizeof f.contract.type_name, "%s", o->record.word);
    f.figures[0] = o->record.kind == 's' || o->record.kind == 'b' ? o->record.count : 0;
    for (const struct fi_list *at = o->handles.next; at != &o->handles; at = at->next) {
        f.figures[1]++;
        f.figures[2] += fi_load_relaxed32(&fi_container(at, fi_lease_t, link)->held) != 0;
    }
    (void)fi_peer_send(p, &f, NULL);
}

static void tell_hold(const fi_lease_t *l, fi_peer_t *p) {
    fi_frame_t f = fi_frame(FI_LOOK_LEASE, 0, 0);
    bool holds = fi_load_relaxed32(&l->held) != 0;

    f.a = fi_key_of_lease(fi_lease_net(l)->node->id, l->number);
    f.b = (uint32_t)fi_owner_tid(&l->own);
    if (holds) {
        f.figures[0] = __atomic_load_n(&l->token, __ATOMIC_RELAXED);
        f.figures[1] = (uint64_t)(fi_now_ns() - __atomic_load_n(&l->held_since, __ATOMIC_RELAXED));
    }
    if (holds || fi_load_relaxed32(&l->busy)) {
        (void)fi_peer_send(p, &f, NULL);
    }
}

static ferry_wait_for_t what_for(const fi_lease_t *l, uint32_t role) {
    switch (l->object->record.kind) {
    case 'm':
        return FERRY_FOR_MUTEX;
    case 'w':
        return role == FI_LEASE_READ ? FERRY_FOR_READ : FERRY_FOR_WRITE;
    case 's':
        return FERRY_FOR_UNIT;
    case 'b':
        return FERRY_FOR_BARRIER;
    default:
        return FERRY_FOR_EVENT;
    }
}

/* The random part of the stream's name: value.h. */
static uint64_t instance_of(fi_value_t *r) {
    pthread_mutex_lock(&r->lock);
    size_t len = strlen(r->stream);
    uint64_t instance = len > 16 ? strtoull(r->stream + len - 16, NULL, 16) : 0;
    pthread_mutex_unlock(&r->lock);
    return instance;
}

static void tell_wait(const fi_lease_t *l, fi_peer_t *p) {
    uint32_t role = fi_load_relaxed32(&l->wanted);
    int64_t grace = l->grace < 0 ? USUAL_GRACE_NS : l->grace;

    if (l->wait_number == 0 || fi_now_ns() - l->wait_begun < grace) {
        return;
    }
    fi_frame_t f = fi_frame(FI_LOOK_WAIT, l->wait_number, 0);
    f.kind = (uint16_t)what_for(l, role);
    f.flags = FI_WAIT_LEASE | (role != FI_LEASE_UNIT ? FI_WAIT_NEEDS_ALL : 0) | (l->grace >= 0 ? FI_WAIT_DETECTS : 0);
    f.a = (uint64_t)l->wait_begun;
    f.b = (uint64_t)(uint32_t)l->wait_tid << 32;
    memcpy(f.text, fi_lease_name(l), sizeof f.text);
    f.figures[7] = l->number;
    f.figures[8] = role;
    f.figures[9] = instance_of(&l->object->record);
    memcpy(&f.figures[FI_KEYS_IN_FRAME], l->wait_thread, sizeof l->wait_thread);
    (void)fi_peer_send(p, &f, NULL);
}

void fi_leases_tell(fi_net_t *net, fi_peer_t *p) {
    struct fi_list *at, *after, *h, *h_after;

    pthread_mutex_lock(&net->lock);
    fi_leases_t *leases = __atomic_load_n(&net->leases, __ATOMIC_ACQUIRE);
    if (leases) {
        pthread_mutex_lock(&leases->lock);
        fi_list_each(at, after, &leases->objects) {
            const fi_lease_object_t *o = fi_container(at, fi_lease_object_t, link);
            tell_object(o, p);
            fi_list_each(h, h_after, &o->handles) {
                tell_hold(fi_container(h, fi_lease_t, link), p);
                tell_wait(fi_container(h, fi_lease_t, link), p);
            }
        }
        pthread_mutex_unlock(&leases->lock);
    }
    pthread_mutex_unlock(&net->lock);
}
