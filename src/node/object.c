/* SPDX-License-Identifier: MIT
 *
 * A shared object among its holders: what they ask and tell each other, its name, its end. See object.h.
 */
#include "node/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "node/node.h"
#include "platform/process.h"

/* ---- frames ---- */

static void tell(fi_peer_t *p, enum fi_frame_type type, const fi_object_t *o) {
    fi_frame_t f = fi_frame(type, 0, 0);

    f.kind = (uint16_t)o->spec.kind;
    memcpy(f.text, o->spec.name, sizeof f.text);
    (void)fi_peer_send(p, &f, NULL);
}

void fi_object_tell_holders(fi_node_t *n, const fi_object_t *o, uint32_t type) {
    for (size_t i = 0; i < o->holder_count; i++) {
        fi_peer_t *p = fi_node_find_peer(n, o->holders[i]);
        if (p) {
            tell(p, (enum fi_frame_type)type, o);
        }
    }
}

fi_object_t *fi_object_find(fi_node_t *n, const char *name) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        if (strcmp(o->spec.name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

/*
 * Who was expelled and lives may hold the object, and its name is gone: who opens the object now would not know of him,
 * and take him for dead.  So he is told, before he is given the memory.
 */
static void tell_exiles(fi_node_t *n, const fi_object_t *o, fi_peer_t *newcomer) {
    for (size_t i = 0; i < o->holder_count; i++) {
        fi_frame_t f = fi_frame(FI_OBJECT_EXILE, 0, 0);
        fi_cargo_t cargo = {NULL, {o->holders[i] == newcomer->id ? -1 : fi_node_exile(n, o->holders[i]), -1}};
        if (cargo.fds[0] >= 0) {
            f.a = o->holders[i];
            f.kind = (uint16_t)o->spec.kind;
            memcpy(f.text, o->spec.name, sizeof f.text);
            (void)fi_peer_send(newcomer, &f, &cargo);
        }
    }
}

int fi_object_exile(fi_node_t *n, fi_mail_t *m) {
    fi_object_t *o = fi_object_find(n, m->frame.text);
    uint64_t id = m->frame.a;

    if (!o || id == 0 || id == n->id || !fi_object_is_holder(o, m->peer->id) || o->exile_count == FI_EXILES_MAX) {
        return 0;
    }
    if (fi_pidfd_check(m->fds[0], 0) < 0) {
        return -EPROTO;
    }
    if (fi_object_is_holder(o, id) || !fi_node_note_exile(n, id, m->fds[0])) {
        return 0;
    }
    m->fds[0] = -1;
    o->exiles[o->exile_count++] = id;
    return o->ready ? fi_object_add_holder(o, id) : 0;
}

int fi_object_asked(fi_node_t *n, fi_mail_t *m) {
    fi_object_t *o = fi_object_find(n, m->frame.text);
    bool held = o && o->ready && o->spec.kind == m->frame.kind;
    fi_frame_t f = fi_frame(held ? FI_OBJECT : FI_OBJECT_NONE, 0, 0);
    fi_cargo_t cargo = {held ? o->memory : NULL, {-1, -1}};

    f.kind = m->frame.kind;
    memcpy(f.text, m->frame.text, sizeof f.text);
    if (held) {
        tell_exiles(n, o, m->peer);
    }
    (void)fi_peer_send(m->peer, &f, held ? &cargo : NULL);
    return 0;
}

int fi_object_answered(fi_node_t *n, fi_mail_t *m) {
    fi_object_t *o = fi_object_find(n, m->frame.text);

    if (!o || o->ready || o->spec.kind != m->frame.kind) {
        return 0;
    }
    pthread_cond_broadcast(&n->changed);
    if (m->frame.type == FI_OBJECT_NONE) {
        o->refusals++;
        return 0;
    }
    if (o->offer) {
        return 0;
    }
    o->offer = m;
    return 1;
}

int fi_object_add_holder(fi_object_t *o, uint64_t id) {
    for (size_t i = 0; i < o->holder_count; i++) {
        if (o->holders[i] == id) {
            return 0;
        }
    }
    uint64_t *more = realloc(o->holders, (o->holder_count + 1) * sizeof *more);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory to note who has \"%s\" open", o->spec.name);
    }
    o->holders = more;
    o->holders[o->holder_count++] = id;
    return 0;
}

/*
 * He may have asked, in the object's memory, to be told of the next change before we knew of him; whoever of us made
 * one then has told only those he knew, and may even have closed the object since. So he is told now.
 */
static void make_up_for_changes(fi_peer_t *newcomer, const fi_frame_t *joined) {
    fi_frame_t f = fi_frame(FI_OBJECT_CHANGED, 0, 0);

    f.kind = joined->kind;
    memcpy(f.text, joined->text, sizeof f.text);
    (void)fi_peer_send(newcomer, &f, NULL);
}

int fi_object_joined(fi_node_t *n, fi_mail_t *m) {
    fi_object_t *o = fi_object_find(n, m->frame.text);
    int r = o && o->spec.kind == m->frame.kind ? fi_object_add_holder(o, m->peer->id) : 0;

    if (o && o->ready) {
        tell_exiles(n, o, m->peer); /* it may have been expelled since */
    }
    if (m->frame.kind == 'c') { /* nothing else is waited for by descriptor */
        make_up_for_changes(m->peer, &m->frame);
    }
    return r;
}

int fi_object_left(fi_node_t *n, fi_mail_t *m) {
    fi_object_t *o = fi_object_find(n, m->frame.text);

    for (size_t i = 0; o && i < o->holder_count; i++) {
        if (o->holders[i] == m->peer->id) {
            o->holders[i] = o->holders[--o->holder_count];
            break;
        }
    }
    return 0;
}

/* ---- changes ---- */

void fi_object_ring_handles(const fi_object_t *o) {
    struct fi_list *at;
    struct fi_list *after;
    const uint64_t one = 1;

    fi_list_each(at, after, &o->handles) {
        int fd = fi_container(at, fi_handle_t, link)->wake_fd;
        if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
            continue; /* it counts up to its end: it is readable */
        }
    }
}

void fi_object_changed(fi_object_t *o) {
    pthread_mutex_lock(&o->node->lock);
    fi_object_ring_handles(o);
    fi_object_tell_holders(o->node, o, FI_OBJECT_CHANGED);
    pthread_mutex_unlock(&o->node->lock);
}

int fi_object_is_changed(fi_node_t *n, fi_mail_t *m) {
    const fi_object_t *o = fi_object_find(n, m->frame.text);

    if (o && o->ready && o->spec.kind == m->frame.kind) {
        fi_object_ring_handles(o);
    }
    return 0;
}

/* ---- its name ---- */

static void entry_of(const fi_node_t *n, const fi_object_t *o, fi_object_entry_t *e) {
    *e = (fi_object_entry_t){.kind = o->spec.kind, .node = n->id, .instance = o->instance};
    memcpy(e->name, o->spec.name, sizeof e->name);
}

int fi_object_write_name(fi_node_t *n, const fi_object_t *o) {
    fi_object_entry_t e;

    entry_of(n, o, &e);
    int r = fi_object_entry_write(&n->space, &e);
    if (r == 0) {
        char name[FI_OBJECT_NAME_MAX];
        fi_object_entry_name(&e, name);
        r = fi_node_watch_name(n, name);
    }
    return r;
}

bool fi_objects_republish(fi_node_t *n, bool all) {
    struct fi_list *at;
    struct fi_list *after;
    bool done = true;

    fi_list_each(at, after, &n->objects) {
        fi_object_t *o = fi_container(at, fi_object_t, link);
        fi_object_entry_t e;
        char name[FI_OBJECT_NAME_MAX];
        entry_of(n, o, &e);
        fi_object_entry_name(&e, name);
        if (o->ready && !o->region && (all || fi_node_is_missing(n, name))) {
            int lock = fi_space_lock(&n->space);
            done &= lock >= 0 && fi_object_write_name(n, o) == 0;
            if (lock >= 0) {
                fi_space_unlock(lock);
            }
        }
    }
    return done;
}

/* ---- its end ---- */

void fi_object_forget(fi_object_t *o) {
    fi_list_remove(&o->link);
    fi_mail_free(o->offer);
    fi_shared_unref(o->memory);
    free(o->holders);
    free(o);
}

void fi_object_leave(fi_node_t *n, const fi_object_t *o) {
    fi_object_entry_t e;

    entry_of(n, o, &e);
    fi_object_entry_remove(&n->space, &e);
    fi_object_tell_holders(n, o, FI_OBJECT_LEFT);
}

static void unref(fi_node_t *n, fi_object_t *o) {
    fi_object_t *region = o->region;

    if (--o->refs > 0) {
        return;
    }
    if (o->ops->closed) {
        o->ops->closed(o);
    }
    if (!region) {
        fi_object_leave(n, o);
    }
    fi_object_forget(o);
    if (region) {
        unref(n, region);
    }
}

void fi_object_close(fi_node_t *n, fi_handle_t *h) {
    pthread_mutex_lock(&n->lock);
    fi_list_remove(&h->link);
    if (h->wake_fd >= 0) {
        close(h->wake_fd);
    }
    if (h->object->ops->dropped) {
        h->object->ops->dropped(h);
    }
    unref(n, h->object);
    pthread_mutex_unlock(&n->lock);
}
