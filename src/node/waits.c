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
#include "platform/family.h"

static uint64_t last_number;

void fi_waits_list(fi_node_t *n, fi_blocked_t *b) {
    b->tid = gettid();
    memset(b->thread, 0, sizeof b->thread);
    (void)prctl(PR_GET_NAME, b->thread, 0, 0, 0);
    b->number = fi_add_relaxed64(&last_number, 1) + 1;
    pthread_mutex_lock(&n->wait_lock);
    fi_list_add_tail(&n->waits, &b->link);
    pthread_mutex_unlock(&n->wait_lock);
}

void fi_waits_strike(fi_node_t *n, fi_blocked_t *b) {
    if (b->number != 0) {
        pthread_mutex_lock(&n->wait_lock);
        fi_list_remove(&b->link);
        pthread_mutex_unlock(&n->wait_lock);
        b->number = 0;
    }
    free(b->keys);
    b->keys = NULL;
    b->key_count = 0;
}

fi_blocked_t *fi_waits_for_process(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    fi_blocked_t *found = NULL;
    int32_t tid = gettid();

    pthread_mutex_lock(&n->wait_lock);
    fi_list_each(at, after, &n->waits) {
        fi_blocked_t *b = fi_container(at, fi_blocked_t, link);
        if (b->what == FERRY_FOR_PROCESS && b->tid == tid) {
            found = b;
        }
    }
    pthread_mutex_unlock(&n->wait_lock);
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
    fi_peer_t *peer;
    fi_frame_t frame;
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

static void tell_wait(fi_peer_t *p, const fi_blocked_t *b) {
    struct telling t = {.peer = p, .frame = fi_frame(FI_LOOK_WAIT, b->number, 0)};
    fi_frame_t *f = &t.frame;

    f->kind = (uint16_t)b->what;
    f->flags = (b->needs_all ? FI_WAIT_NEEDS_ALL : 0) | (b->detects ? FI_WAIT_DETECTS : 0);
    f->a = (uint64_t)b->since;
    f->b = (uint64_t)(uint32_t)b->tid << 32 | (uint32_t)b->pid;
    snprintf(f->text, sizeof f->text, "%s", b->name);
    memcpy(&f->figures[FI_KEYS_IN_FRAME], b->thread, sizeof b->thread);
    describe_place(b->where, f->contract.type_name, sizeof f->contract.type_name);
    if (b->holders) {
        b->holders(b, add_key, &t);
    }
    for (uint32_t i = 0; i < b->key_count; i++) {
        add_key(b->keys[i], &t);
    }
    send_keys(&t);
}

static void add_hold(struct telling *t, uint64_t key, int32_t tid) {
    add_key(key, t);
    add_key((uint64_t)(uint32_t)tid, t);
}

static bool is_blocked(const fi_node_t *n, int32_t tid) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->waits) {
        if (fi_container(at, fi_blocked_t, link)->tid == tid) {
            return true;
        }
    }
    return false;
}

static uint32_t blocked_threads(const fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    uint32_t count = 0;

    fi_list_each(at, after, &n->waits) {
        count++;
    }
    return count;
}

/* Will nobody take from this receiver, or release what it has taken? Its own thread waits for something else; messages in
 * hand may be released by any thread of the process, so then all of these must wait. */
static bool is_stuck(const fi_node_t *n, fi_end_t *e) {
    fi_frame_t f = fi_frame(FI_LOOK_END, 0, 0);

    if (e->magic != FI_END_RECEIVER || !is_blocked(n, fi_owner_tid(&e->own))) {
        return false;
    }
    e->ops->figures(e, &f);
    return e->alone || f.figures[FI_FIGURE_DEPTH] == 0 ||
           fi_process_threads() <= fi_process_stewards() + blocked_threads(n);
}

/* Which thread acts through which handle: of locks all that hold something or are about to, and receivers that are stuck. */
static void tell_holds(fi_node_t *n, fi_peer_t *p) {
    struct telling t = {.peer = p, .frame = fi_frame(FI_LOOK_KEYS, 0, 0)};
    struct fi_list *at, *after, *h, *h_after;

    fi_list_each(at, after, &n->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_object_t, link)->handles) {
            const fi_handle_t *handle = fi_container(h, fi_handle_t, link);
            if (fi_held(handle) || fi_load_relaxed32(&handle->busy)) {
                add_hold(&t, handle->me, fi_owner_tid(&handle->own));
            }
        }
    }
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->alone || is_stuck(n, e)) {
            add_hold(&t, fi_key_of_end(n->id, e->id), fi_owner_tid(&e->own));
        }
    }
    send_keys(&t);
}

void fi_waits_tell(fi_node_t *n, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&n->wait_lock);
    fi_list_each(at, after, &n->waits) {
        tell_wait(p, fi_container(at, fi_blocked_t, link));
    }
    tell_holds(n, p);
    pthread_mutex_unlock(&n->wait_lock);
}
