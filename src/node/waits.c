/* SPDX-License-Identifier: MIT */
#include "node/waits.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ferry/look.h"
#include "node/node.h"
#include "node/shown.h"
#include "platform/family.h"

#define MOST_BESIDE 64u /* nodes that one answer names */

static uint64_t last_number;

/* Of this process's nodes, and of all that is listed with them: who tells of one looks at the others, too. */
static pthread_mutex_t waits_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fi_list members = {&members, &members};

void fi_waits_add_node(fi_node_t *n) {
    pthread_mutex_lock(&waits_lock);
    fi_list_add_tail(&members, &n->member);
    pthread_mutex_unlock(&waits_lock);
}

void fi_waits_remove_node(fi_node_t *n) {
    pthread_mutex_lock(&waits_lock);
    fi_list_remove(&n->member);
    pthread_mutex_unlock(&waits_lock);
}

void fi_waits_lock(void) {
    pthread_mutex_lock(&waits_lock);
}

void fi_waits_unlock(void) {
    pthread_mutex_unlock(&waits_lock);
}

void fi_waits_list(fi_node_t *n, fi_blocked_t *b) {
    b->tid = gettid();
    memset(b->thread, 0, sizeof b->thread);
    (void)prctl(PR_GET_NAME, b->thread, 0, 0, 0);
    b->number = fi_add_relaxed64(&last_number, 1) + 1;
    pthread_mutex_lock(&waits_lock);
    fi_list_add_tail(&n->waits, &b->link);
    pthread_mutex_unlock(&waits_lock);
}

void fi_waits_strike(fi_blocked_t *b) {
    if (b->number != 0) {
        pthread_mutex_lock(&waits_lock);
        fi_list_remove(&b->link);
        pthread_mutex_unlock(&waits_lock);
        b->number = 0;
    }
    free(b->keys);
    b->keys = NULL;
    b->key_count = 0;
}

static bool is_same(const fi_blocked_t *a, const fi_blocked_t *b) {
    return a->what == b->what && a->detects == b->detects && a->name == b->name && a->since == b->since &&
           a->key_count == b->key_count &&
           (a->key_count == 0 || memcmp(a->keys, b->keys, a->key_count * sizeof *a->keys) == 0);
}

void fi_waits_go_on(fi_node_t *n, fi_blocked_t *b, const fi_blocked_t *next) {
    if (b->number != 0 && is_same(b, next)) {
        free(next->keys);
        return;
    }
    fi_waits_strike(b);
    *b = *next;
    fi_waits_list(n, b);
}

fi_blocked_t *fi_waits_for_process(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    fi_blocked_t *found = NULL;
    int32_t tid = gettid();

    pthread_mutex_lock(&waits_lock);
    fi_list_each(at, after, &n->waits) {
        fi_blocked_t *b = fi_container(at, fi_blocked_t, link);
        if (b->what == FERRY_FOR_PROCESS && b->tid == tid) {
            found = b;
        }
    }
    pthread_mutex_unlock(&waits_lock);
    return found;
}

/* ---- telling ---- */

/* "FILE+0xOFFSET", as addr2line(1) wants it. */
static void describe_place(const void *where, char *text, size_t cap) {
    Dl_info info;

    text[0] = 0;
    if (where == NULL || dladdr(where, &info) == 0 || info.dli_fname == NULL) {
        return;
    }
    char program[PATH_MAX] = "";
    if (strcmp(info.dli_fname, "/proc/self/exe") == 0 && readlink(info.dli_fname, program, sizeof program - 1) > 0) {
        info.dli_fname = program;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    /* The call is what stands before the place it returns to. */
    snprintf(text, cap, "%.40s+0x%llx", slash ? slash + 1 : info.dli_fname,
             (unsigned long long)((uintptr_t)where - 1 - (uintptr_t)info.dli_fbase));
}

/* Keys travel in the frame of the wait, and in further ones when they do not fit there. */
struct telling {
    const fi_node_t *node; /* whose waits are told, waits_lock taken */
    fi_peer_t *peer;
    fi_frame_t frame;
    bool names_beside;
    uint32_t beside_count;
    const fi_node_t *beside[MOST_BESIDE]; /* named so far */
};

static void send_keys(struct telling *t) {
    (void)fi_peer_send(t->peer, &t->frame, NULL);
    uint64_t number = t->frame.tx;
    t->frame = fi_frame(FI_LOOK_KEYS, number, 0);
}

static void add_key(uint64_t key, void *arg) {
    struct telling *t = arg;

    if (t->frame.rx == FI_KEYS_IN_FRAME) {
        send_keys(t);
    }
    t->frame.figures[t->frame.rx++] = key;
}

/* Has what it waits for perhaps come, though it has not seen that yet? */
static bool stirs(const fi_blocked_t *b) {
    return b->sleeper && b->sleeper->ops->stirs(b->sleeper);
}

static void tell_wait(struct telling *t, const fi_blocked_t *b) {
    fi_frame_t *f = &t->frame;

    *f = fi_frame(FI_LOOK_WAIT, b->number, 0);
    f->kind = (uint16_t)b->what;
    f->flags =
        (b->needs_all ? FI_WAIT_NEEDS_ALL : 0) | (b->detects ? FI_WAIT_DETECTS : 0) | (stirs(b) ? FI_WAIT_STIRS : 0);
    f->a = (uint64_t)b->since;
    f->b = (uint64_t)(uint32_t)b->tid << 32 | (uint32_t)b->pid;
    snprintf(f->text, sizeof f->text, "%s", b->what == FERRY_FOR_ROOM ? fi_channel_shown(b->name) : b->name);
    memcpy(&f->figures[FI_KEYS_IN_FRAME], b->thread, sizeof b->thread);
    describe_place(b->where, f->contract.type_name, sizeof f->contract.type_name);
    if (b->holders) {
        b->holders(b, add_key, t);
    }
    for (uint32_t i = 0; i < b->key_count; i++) {
        add_key(b->keys[i], t);
    }
    send_keys(t);
}

static bool waits_in(const fi_node_t *n, int32_t tid) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->waits) {
        if (fi_container(at, fi_blocked_t, link)->tid == tid) {
            return true;
        }
    }
    return false;
}

static uint32_t blocked_in(const fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    uint32_t count = 0;

    fi_list_each(at, after, &n->waits) {
        count++;
    }
    return count;
}

/* A node of this process that is not `told`; a forked child's copy is none. */
static fi_node_t *next_beside(const fi_node_t *told, fi_node_t *last) {
    struct fi_list *at = last ? last->member.next : members.next;

    while (at != &members &&
           (fi_container(at, fi_node_t, member) == told || fi_node_is_forked(fi_container(at, fi_node_t, member)))) {
        at = at->next;
    }
    return at == &members ? NULL : fi_container(at, fi_node_t, member);
}

/* The thread waits in a space of this process, whichever. */
static bool is_blocked(const fi_node_t *told, int32_t tid) {
    bool blocked = waits_in(told, tid);

    for (fi_node_t *n = next_beside(told, NULL); n; n = next_beside(told, n)) {
        blocked |= waits_in(n, tid);
    }
    return blocked;
}

static uint32_t blocked_threads(const fi_node_t *told) {
    uint32_t count = blocked_in(told);

    for (fi_node_t *n = next_beside(told, NULL); n; n = next_beside(told, n)) {
        count += blocked_in(n);
    }
    return count;
}

static bool was_named(const struct telling *t, const fi_node_t *n) {
    for (uint32_t i = 0; i < t->beside_count; i++) {
        if (t->beside[i] == n) {
            return true;
        }
    }
    return false;
}

/* The path of its space may be long: it travels in pieces. */
static void name_node(struct telling *t, const fi_node_t *n) {
    const char *rest = n->space.path;

    t->beside[t->beside_count++] = n;
    while (rest) {
        fi_frame_t f = fi_frame(FI_LOOK_BESIDE, 0, 0);
        size_t len = strlen(rest);
        bool more = len >= sizeof f.text;
        len = more ? sizeof f.text - 1 : len;
        f.a = n->id;
        f.flags = more ? FI_BESIDE_MORE : 0;
        memcpy(f.text, rest, len);
        (void)fi_peer_send(t->peer, &f, NULL);
        rest = more ? rest + len : NULL;
    }
}

/* Whoever acts through the handle `key` may wait by another node of this process. */
static void add_hold(struct telling *t, uint64_t key, int32_t tid) {
    for (fi_node_t *n = t->names_beside ? next_beside(t->node, NULL) : NULL; n; n = next_beside(t->node, n)) {
        if (t->beside_count < MOST_BESIDE && !was_named(t, n) && waits_in(n, tid)) {
            name_node(t, n);
        }
    }
    add_key(key, t);
    add_key((uint64_t)(uint32_t)tid, t);
}

/* Will nobody take from this receiver, or release what it has taken? Its own thread waits for something else; messages
 * in hand may be released by any thread of the process, so then all of these must wait. */
static bool is_stuck(const fi_node_t *n, fi_end_t *e) {
    fi_frame_t f = fi_frame(FI_LOOK_END, 0, 0);

    if (e->magic != FI_END_RECEIVER || !is_blocked(n, fi_owner_tid(&e->own))) {
        return false;
    }
    e->ops->figures(e, &f);
    return e->alone || f.figures[FI_FIGURE_DEPTH] == 0 ||
           fi_process_threads() <= fi_process_stewards() + blocked_threads(n);
}

/* Which thread acts through which handle: of locks all that hold something or are about to, and receivers that are
 * stuck. */
static void tell_holds(struct telling *t, fi_node_t *n) {
    struct fi_list *at, *after, *h, *h_after;

    t->frame = fi_frame(FI_LOOK_KEYS, 0, 0);
    fi_list_each(at, after, &n->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_object_t, link)->handles) {
            const fi_handle_t *handle = fi_container(h, fi_handle_t, link);
            if (fi_held(handle) || fi_load_relaxed32(&handle->busy)) {
                add_hold(t, handle->me, fi_owner_tid(&handle->own));
            }
        }
    }
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->alone || is_stuck(n, e)) {
            add_hold(t, fi_key_of_end(n->id, e->id), fi_owner_tid(&e->own));
        }
    }
    send_keys(t);
}

void fi_waits_tell(fi_node_t *n, fi_peer_t *p, bool names_beside) {
    struct telling t = {.node = n, .peer = p, .names_beside = names_beside};
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&waits_lock);
    fi_list_each(at, after, &n->waits) {
        tell_wait(&t, fi_container(at, fi_blocked_t, link));
    }
    tell_holds(&t, n);
    pthread_mutex_unlock(&waits_lock);
}
