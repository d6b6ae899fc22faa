/* SPDX-License-Identifier: MIT */
#include "lock/lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "lock/deadlock.h"
#include "platform/cancel.h"

static bool is_halted(const fi_waiter_t *w) {
    const fi_lock_t *l = fi_container((void *)(uintptr_t)w, fi_lock_t, waiter);

    return fi_node_is_shut(l->handle.own.node);
}

int fi_lock_check_options(const ferry_sync_options_t *o) {
    if (!o) {
        return 0;
    }
    if (o->size != 0 && o->size != sizeof *o) {
        return fi_fail(-EINVAL,
                       "ferry_sync_options_t has size %zu, this library knows %zu: set .size = sizeof, or 0, and "
                       "compile with the headers of the library in use",
                       o->size, sizeof *o);
    }
    if (o->wait > FERRY_WAIT_BLOCK) {
        return fi_fail(-EINVAL, "%d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK", (int)o->wait);
    }
    if (o->owned > 1 || o->auto_reset > 1) {
        return fi_fail(-EINVAL, "`owned` and `auto_reset` are 0 or 1, not %u and %u", o->owned, o->auto_reset);
    }
    return 0;
}

static void set_up(fi_lock_t *l, const fi_opening_t *o) {
    const ferry_sync_options_t *options = o->options;

    fi_owned_init(&l->handle.own, o->node);
    l->waiter.policy = options ? options->wait : FERRY_WAIT_ADAPTIVE;
    /* A wait that does not look for deadlocks is shown all the same. */
    l->detects = !options || options->deadlock_after >= 0;
    l->waiter.grace = options && options->deadlock_after > 0 ? options->deadlock_after : FI_GRACE_NS;
    l->waiter.stalled = fi_lock_stalled;
    l->waiter.halted = is_halted;
}

static int check_type(const char *type) {
    if (type && !fi_contract_is_type_name(type)) {
        return fi_fail(-EINVAL, "\"%.80s\" is no name of a type: it has up to 63 printable characters, no spaces",
                       type);
    }
    return 0;
}

static void spell_out(const fi_opening_t *o, fi_object_spec_t *spec) {
    *spec = (fi_object_spec_t){.kind = o->kind,
                               .flags = o->flags,
                               .count = o->count,
                               .size = o->size,
                               .limit = o->limit,
                               .type_size = o->type_size,
                               .place = o->place,
                               .must_exist = o->must_exist};
    if (o->name) {
        memcpy(spec->name, o->name, strlen(o->name));
    }
    if (o->type) {
        memcpy(spec->type, o->type, strlen(o->type));
    }
}

static int open_handle(const fi_opening_t *o, fi_lock_t **out) {
    fi_object_spec_t spec;

    int r = o->inside ? 0 : fi_name_check(o->ops->word, o->name, 100);
    r = r == 0 ? fi_lock_check_options(o->options) : r;
    r = r == 0 ? check_type(o->type) : r;
    if (r < 0) {
        return r;
    }
    fi_lock_t *l = calloc(1, o->bytes);
    if (!l) {
        return fi_fail(-ENOMEM, "no memory for a handle on a %s", o->ops->word);
    }
    spell_out(o, &spec);
    set_up(l, o);
    r = o->inside ? fi_object_open_inside(o->inside, o->at, &spec, o->ops, &l->handle)
                  : fi_object_open(o->node, &spec, o->ops, &l->handle);
    if (r < 0) {
        free(l);
        return r;
    }
    l->handle.magic = FI_LOCK_MAGIC(o->kind);
    *out = l;
    return 0;
}

int fi_lock_open(const fi_opening_t *o, fi_lock_t **out) {
    int cancel = fi_cancel_here();

    int r = open_handle(o, out);
    fi_cancel_restore(cancel);
    return r;
}

static const char *word_of(uint32_t magic) {
    switch (magic & 0xff) {
    case 'm':
        return "mutex";
    case 'w':
        return "reader-writer lock";
    case 's':
        return "semaphore";
    case 'b':
        return "barrier";
    case 'c':
        return "cell";
    case 'r':
        return "region";
    case 'q':
        return "buffer";
    default:
        return "event";
    }
}

int fi_lock_check(const fi_lock_t *l, uint32_t magic) {
    if (!l || l->handle.magic != magic) {
        return fi_fail(-EBADF,
                       !l                                  ? "the %s handle is NULL: open one first"
                       : l->handle.magic == FI_LOCK_CLOSED ? "this %s was closed before: open it again"
                                                           : "this handle is not an open %s",
                       word_of(magic));
    }
    if (fi_node_is_forked(l->handle.own.node)) {
        return fi_fail(-ECHILD,
                       "this %s belongs to the parent process: after fork(), open your own node with ferry_open",
                       word_of(magic));
    }
    return 0;
}

static int has_died(const fi_lock_t *l) {
    return fi_fail(-EOWNERDEAD,
                   "the thread that used this handle on \"%s\" last ended while it held it, so it counts as dead: "
                   "close it and open a new one",
                   fi_lock_name(l));
}

int fi_lock_enter(fi_lock_t *l, uint32_t magic) {
    int r = fi_lock_check(l, magic);
    if (r < 0) {
        return r;
    }
    if (fi_is_buried(&l->handle.own) || (fi_is_orphan(&l->handle.own) && fi_held(&l->handle))) {
        return has_died(l);
    }
    uint32_t nobody = 0;
    if (!fi_cas32(&l->handle.busy, &nobody, 1)) {
        return fi_fail(-EBUSY, "another thread is inside a call on this handle on \"%s\": open one for each thread",
                       fi_lock_name(l));
    }
    if (!fi_is_own(&l->handle.own) && !fi_own_again(&l->handle.own)) { /* buried since we looked */
        fi_store_release32(&l->handle.busy, 0);
        return has_died(l);
    }
    return 0;
}

int fi_lock_leave(fi_lock_t *l, int r) {
    fi_lock_waited(l);
    fi_store_release32(&l->handle.busy, 0);
    return r;
}

static const char *what_is_wanted(const fi_lock_t *l) {
    return l->what == FERRY_FOR_EVENT ? "set" : l->what == FERRY_FOR_BARRIER ? "complete" : "free";
}

int fi_wait_explain(int r, const char *word, const char *name) {
    switch (r) {
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for the %s \"%s\"", word, name);
    case -ESHUTDOWN:
        return fi_fail(r, "the node was shut down while the %s \"%s\" was waited for", word, name);
    case -ENOTRECOVERABLE:
        return fi_fail(r,
                       "the %s \"%s\" is unusable: a holder died, and who took it next gave it up without calling it "
                       "repaired; close it everywhere to begin anew",
                       word, name);
    case -EOWNERDEAD:
        return fi_fail(r, "a participant of the %s \"%s\" died, or it was reset; ferry_barrier_reset begins anew", word,
                       name);
    default:
        return r; /* has its sentence */
    }
}

int fi_lock_explain(const fi_lock_t *l, int r, int64_t timeout) {
    const char *word = l->handle.object->ops->word;
    const char *name = fi_lock_name(l);

    switch (r) {
    case -EAGAIN:
        return fi_fail(r, "the %s \"%s\" is not %s now", word, name, what_is_wanted(l));
    case -ETIMEDOUT:
        return fi_fail(r, "the %s \"%s\" was not %s within %.3f ms; `ferry why %s` shows who waits for whom", word,
                       name, what_is_wanted(l), (double)timeout / 1e6, name);
    default:
        return fi_wait_explain(r, word, name);
    }
}

int fi_lock_not_held(const fi_lock_t *l, uint64_t word) {
    const char *kind = l->handle.object->ops->word;

    if ((word & FI_OWNER) == 0) {
        return fi_fail(-EALREADY, "nobody holds the %s \"%s\": it was unlocked before", kind, fi_lock_name(l));
    }
    return fi_fail(-EPERM, "this handle does not hold the %s \"%s\", another one does (node ..%08x, handle %u)", kind,
                   fi_lock_name(l), fi_owner_node(word), fi_owner_handle(word));
}

int fi_lock_check_held(fi_lock_t *l, uint32_t magic) {
    int r = fi_lock_enter(l, magic);

    if (r < 0) {
        return r;
    }
    if (!fi_held(&l->handle)) {
        r = fi_fail(-EPERM, "this handle does not hold the %s \"%s\"", l->handle.object->ops->word, fi_lock_name(l));
    }
    return fi_lock_leave(l, r);
}

int fi_lock_repaired(const fi_lock_t *l, bool *unrepaired) {
    if (!fi_held(&l->handle)) {
        return fi_fail(-EPERM, "this handle does not hold \"%s\", so it cannot say that its state is repaired",
                       fi_lock_name(l));
    }
    if (!*unrepaired) {
        return fi_fail(-EINVAL, "\"%s\" was not taken from a dead holder: there is nothing to repair", fi_lock_name(l));
    }
    *unrepaired = false;
    return 0;
}

static void bury(fi_lock_t *l) {
    fi_node_t *n = l->handle.own.node;

    l->handle.magic = FI_LOCK_CLOSED;
    fi_lock_waited(l); /* its thread may have ended while it waited, and was shown */
    fi_disown(&l->handle.own);
    fi_object_close(n, &l->handle);
    fi_graveyard_add(l);
}

/* What it holds, if anything, is left by a dead one. */
void fi_lock_drop(fi_lock_t *l) {
    fi_node_t *n = l->handle.own.node;

    if (fi_held(&l->handle)) {
        pthread_mutex_lock(&n->lock);
        fi_object_abandon(&l->handle);
        pthread_mutex_unlock(&n->lock);
    }
    bury(l);
}

int fi_lock_close(fi_lock_t *l, uint32_t magic, const char *held) {
    if (!l) {
        return 0;
    }
    int cancel = fi_cancel_here();
    int r = fi_lock_enter(l, magic);
    if (r == -EOWNERDEAD) {
        fi_lock_drop(l);
        r = 0;
    } else if (r == 0 && fi_held(&l->handle) && held) {
        r = fi_lock_leave(l, fi_fail(-EBUSY, "the %s \"%s\" is still held by this handle: %s it first",
                                     l->handle.object->ops->word, fi_lock_name(l), held));
    } else if (r == 0) {
        bury(l);
    }
    fi_cancel_restore(cancel);
    return r;
}

/* An object without handles of its own is a region of whose inside something is open. */
fi_lock_t *fi_lock_of_node(fi_node_t *n) {
    struct fi_list *at = n->objects.next;

    while (fi_list_empty(&fi_container(at, fi_object_t, link)->handles)) {
        at = at->next;
    }
    fi_object_t *o = fi_container(at, fi_object_t, link);
    return fi_container(fi_container(o->handles.next, fi_handle_t, link), fi_lock_t, handle);
}
