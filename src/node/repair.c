/* SPDX-License-Identifier: MIT
 *
 * Deaths and shared objects: what the steward does for those who sleep in them, and with what the dead one held.
 *
 * A word names its owner by the short number of a node.  Who is he, and does he live?  He has connected to us before he
 * touched the object, or we to him.  So it is enough to take in all connections and greetings that wait, *after* the
 * word was read: if the owner is then not among those whose process lives, nor anybody listens under his name, he is
 * dead.
 */
#include <errno.h>

#include "node/node.h"
#include "platform/process.h"

static bool is_in(struct fi_list *peers, uint32_t node, bool *lives) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, peers) {
        const fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->id != 0 && (uint32_t)p->id == node) {
            *lives |= p->pidfd < 0 || !fi_pidfd_dead(p->pidfd);
        }
    }
    return *lives;
}

/* What an orphan holds is given away when it is buried, and not before: until then somebody may still make it his
 * own. */
static bool is_living(const fi_handle_t *h) {
    return !fi_is_buried(&h->own) && (!fi_is_orphan(&h->own) || fi_held(h));
}

static bool has_living_handle(const fi_node_t *n, uint64_t owner) {
    struct fi_list *at, *after, *h, *h_after;

    fi_list_each(at, after, &n->objects) {
        const fi_object_t *o = fi_container(at, fi_object_t, link);
        fi_list_each(h, h_after, &o->handles) {
            const fi_handle_t *handle = fi_container(h, fi_handle_t, link);
            if (handle->me == owner) {
                return is_living(handle);
            }
        }
    }
    return false;
}

struct judging {
    fi_object_t *object;
    bool later; /* it cannot be said now */
};

/* Nobody has told us of him, or he could not let us in: then he stands under his name in the directory. */
static bool is_stranger(fi_node_t *n, uint32_t number, struct judging *j) {
    uint64_t id = fi_node_meet_stranger(n, number);

    j->later |= id != 0 && fi_object_add_holder(fi_object_outer(j->object), id) < 0; /* his death will matter */
    return id != 0;
}

static bool is_dead(uint64_t owner, void *arg) {
    struct judging *j = arg;
    fi_node_t *n = j->object->node;
    uint32_t node = fi_owner_node(owner);
    bool lives = false;

    if (node == (uint32_t)n->id) {
        return !has_living_handle(n, owner);
    }
    if (is_in(&n->peers, node, &lives) || is_in(&n->dying, node, &lives)) {
        return false;
    }
    fi_steward_catch_up(n);
    if (n->listener_paused) {
        j->later = true; /* somebody may wait at the door, and we have no descriptor to let him in */
        return false;
    }
    return !is_in(&n->peers, node, &lives) && !is_in(&n->dying, node, &lives) && !is_stranger(n, node, j);
}

/* ---- peers ---- */

bool fi_object_is_holder(const fi_object_t *o, uint64_t id) {
    for (size_t i = 0; i < o->holder_count; i++) {
        if (o->holders[i] == id) {
            return true;
        }
    }
    return false;
}

bool fi_objects_need_death_of(fi_node_t *n, uint64_t id) {
    struct fi_list *at;
    struct fi_list *after;
    bool holds = false;

    fi_list_each(at, after, &n->objects) {
        holds |= fi_object_is_holder(fi_object_outer(fi_container(at, fi_object_t, link)), id);
    }
    return holds;
}

void fi_objects_peer_back(fi_node_t *n, uint64_t id) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        if (o->ready && fi_object_is_holder(fi_object_outer(o), id)) {
            fi_object_ring_handles(o);
        }
    }
}

static void strike_holder(fi_object_t *o, uint64_t id) {
    for (size_t i = 0; i < o->holder_count; i++) {
        if (o->holders[i] == id) {
            o->holders[i] = o->holders[--o->holder_count];
            return;
        }
    }
}

void fi_objects_peer_gone(fi_node_t *n, uint64_t id, bool dead) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        if (!fi_object_is_holder(fi_object_outer(o), id)) {
            continue;
        }
        o->repair = true;
        n->repair = true;
        if (dead && o->ready && o->ops->holder_died) {
            o->ops->holder_died(o, id);
        }
    }
    fi_list_each(at, after, &n->objects) {
        strike_holder(fi_container(at, fi_object_t, link), id);
    }
}

/* ---- what they left ---- */

bool fi_objects_repair(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    bool again = false;

    n->repair = false;
    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        if (o->ready && o->repair) {
            struct judging j = {.object = o};
            o->repair = false;
            o->ops->bury(o, is_dead, &j);
            fi_object_ring_handles(o); /* he may have been about to do so */
            o->repair |= j.later;
            again |= j.later;
        }
    }
    n->repair |= again;
    pthread_cond_broadcast(&n->changed);
    return !n->repair;
}

/* ---- threads that ended ---- */

static bool is_this_handle(uint64_t owner, void *arg) {
    const fi_handle_t *h = arg;

    return owner == h->me;
}

void fi_object_abandon(fi_handle_t *h) {
    h->object->ops->bury(h->object, is_this_handle, h);
    fi_set_held(h, 0);
}

/* What holds nothing is no loss: whoever uses it next owns it. With the owners' lock, so that nobody does meanwhile. */
static void bury_orphan(fi_handle_t *h) {
    fi_own_lock();
    if (fi_is_orphan(&h->own) && !fi_is_buried(&h->own) && fi_held(h)) {
        fi_own_bury(&h->own);
        fi_object_abandon(h);
    }
    fi_own_unlock();
}

void fi_objects_bury_orphans(fi_node_t *n) {
    struct fi_list *at, *after, *h, *h_after;

    fi_list_each(at, after, &n->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_object_t, link)->handles) {
            bury_orphan(fi_container(h, fi_handle_t, link));
        }
    }
}

bool fi_objects_are_held(const fi_node_t *n) {
    struct fi_list *at, *after, *h, *h_after;
    bool held = false;

    fi_list_each(at, after, &n->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_object_t, link)->handles) {
            held |= fi_held(fi_container(h, fi_handle_t, link)) != 0;
        }
    }
    return held;
}

bool fi_objects_wake(fi_node_t *n) {
    struct fi_list *at, *after, *h, *h_after;
    bool busy = false;

    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        fi_list_each(h, h_after, &o->handles) {
            busy |= fi_load_acquire32(&fi_container(h, fi_handle_t, link)->busy) != 0;
        }
        if (o->ready) {
            o->ops->wake(o);
        }
    }
    return busy;
}
