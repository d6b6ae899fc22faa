/* SPDX-License-Identifier: MIT
 *
 * Handles on objects of a space that spans machines: opening, closing, waiting.
 */
#include "net/lease.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"
#include "lock/lock.h"
#include "net/lease_ask.h"
#include "platform/cancel.h"
#include "platform/clock.h"

#define OPEN_NS INT64_C(5000000000)
#define FIRST_PACE_NS INT64_C(50000000)
#define LAST_PACE_NS INT64_C(1000000000)

/* ---- subscriptions ---- */

static void subscription_ended(void *arg) {
    fi_lease_subscription_t *s = arg;
    fi_leases_t *leases = s->leases;

    pthread_mutex_lock(&leases->lock);
    s->ended = true;
    pthread_cond_broadcast(&leases->ended);
    pthread_mutex_unlock(&leases->lock);
}

int fi_leases_subscribe(fi_leases_t *leases, const char *subject, natsMsgHandler cb, void *arg,
                        fi_lease_subscription_t *out) {
    out->leases = leases;
    out->ended = false;
    int r = fi_net_subscribe(leases->net, leases->net->control, subject, NULL, cb, arg, &out->sub);
    if (r == 0) {
        (void)fi_nats.natsSubscription_SetOnCompleteCB(out->sub, subscription_ended, out);
    }
    return r;
}

void fi_leases_unsubscribe(fi_lease_subscription_t *s) {
    if (!s->sub) {
        return;
    }
    (void)fi_nats.natsSubscription_Unsubscribe(s->sub);
    pthread_mutex_lock(&s->leases->lock);
    while (!s->ended) {
        pthread_cond_wait(&s->leases->ended, &s->leases->lock);
    }
    pthread_mutex_unlock(&s->leases->lock);
    fi_net_destroy(s->leases->net, s->leases->net->control, s->sub);
    s->sub = NULL;
}

/* ---- waking ---- */

static void ring(fi_lease_t *l) {
    const uint64_t one = 1;

    if (l->bell >= 0 && write(l->bell, &one, sizeof one) < 0) {
        return; /* it counts up to its end: it is readable */
    }
}

static bool concerns(const fi_lease_t *l, const fi_lease_state_t *s) {
    uint32_t wanted = fi_load_relaxed32(&l->wanted);

    if (wanted == 0 || !s || wanted > FI_LEASE_UNIT || (s->head.flags & (FI_LEASE_BROKEN | FI_LEASE_GONE))) {
        return wanted != 0;
    }
    return fi_lease_may_take(s, wanted, fi_lease_net(l)->node->id, l->number);
}

/* With the lock taken. */
static void ring_object(fi_lease_object_t *o, const fi_lease_state_t *s) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &o->handles) {
        fi_lease_t *l = fi_container(at, fi_lease_t, link);
        if (concerns(l, s)) {
            ring(l);
        }
    }
}

void fi_lease_ring(fi_lease_object_t *o, const fi_lease_state_t *s) {
    pthread_mutex_lock(&o->leases->lock);
    ring_object(o, s);
    pthread_mutex_unlock(&o->leases->lock);
}

static void changed_here(fi_value_t *r, const fi_lease_state_t *s) {
    fi_lease_ring(fi_container(r, fi_lease_object_t, record), s);
}

/* Somebody wants to change it: he may not have been the first, so this is no more than a hint. */
static void changed_there(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_lease_object_t *o = arg;
    fi_lease_state_t s = {.changed = false};

    (void)c;
    (void)sub;
    int r = fi_lease_decode(&s, fi_nats.natsMsg_GetData(msg), (size_t)fi_nats.natsMsg_GetDataLength(msg));
    fi_lease_ring(o, r == 0 ? &s : NULL);
    fi_lease_free(&s);
    fi_nats.natsMsg_Destroy(msg);
}

/* ---- the connection ---- */

static void note_loss(fi_leases_t *leases) {
    __atomic_store_n(&leases->gone_since, fi_now_ns(), __ATOMIC_RELEASE);
}

static void connection_changed(void *arg, bool up) {
    fi_leases_t *leases = arg;
    struct fi_list *at;
    struct fi_list *after;

    if (!up) {
        note_loss(leases);
        return;
    }
    int64_t since = __atomic_exchange_n(&leases->gone_since, 0, __ATOMIC_ACQ_REL);
    if (since) {
        int64_t now = fi_now_ns();
        __atomic_store_n(&leases->gap, now - since, __ATOMIC_RELAXED);
        __atomic_store_n(&leases->back_since, now, __ATOMIC_RELEASE);
    }
    pthread_mutex_lock(&leases->lock);
    fi_list_each(at, after, &leases->objects) {
        ring_object(fi_container(at, fi_lease_object_t, link), NULL);
    }
    pthread_mutex_unlock(&leases->lock);
}

/* ---- all of a node ---- */

static int leases_new(fi_net_t *net, fi_leases_t **out) {
    fi_leases_t *leases = calloc(1, sizeof *leases);

    if (!leases) {
        return fi_fail(-ENOMEM, "no memory for locks of a networked space");
    }
    leases->net = net;
    fi_list_init(&leases->objects);
    pthread_mutex_init(&leases->opening, NULL);
    pthread_mutex_init(&leases->lock, NULL);
    pthread_cond_init(&leases->ended, NULL);
    leases->watch = (fi_net_watch_t){.changed = connection_changed, .arg = leases};
    int r = fi_answers_open(leases);
    if (r == 0 && (r = fi_touches_open(leases)) < 0) {
        fi_answers_close(leases);
    }
    if (r < 0) {
        free(leases);
        return r;
    }
    *out = leases;
    return 0;
}

static int leases_of(fi_net_t *net, fi_leases_t **out) {
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    int r = 0;

    pthread_mutex_lock(&making);
    if (!net->leases) {
        fi_leases_t *made = NULL;
        r = leases_new(net, &made);
        if (r == 0) {
            __atomic_store_n(&net->leases, made, __ATOMIC_RELEASE);
            fi_net_watch(net, &made->watch);
            if (!fi_net_is_up(net)) {
                note_loss(made);
            }
        }
    }
    *out = net->leases;
    pthread_mutex_unlock(&making);
    return r;
}

void fi_leases_close(fi_net_t *net) {
    fi_leases_t *leases = net->leases;

    if (leases) {
        pthread_mutex_lock(&net->lock); /* nobody tells of them any more */
        fi_store_release_ptr(&net->leases, NULL);
        pthread_mutex_unlock(&net->lock);
        fi_answers_close(leases);
        fi_touches_close(leases);
        fi_net_unwatch(net, &leases->watch);
        pthread_cond_destroy(&leases->ended);
        pthread_mutex_destroy(&leases->lock);
        pthread_mutex_destroy(&leases->opening);
        free(leases);
    }
}

/* ---- opening ---- */

static fi_lease_object_t *find_object(fi_leases_t *leases, const char *name) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &leases->objects) {
        fi_lease_object_t *o = fi_container(at, fi_lease_object_t, link);
        if (strcmp(o->record.name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

static void free_object(fi_lease_object_t *o) {
    fi_value_done(&o->record);
    free(o);
}

static int new_object(fi_leases_t *leases, const fi_lease_opening_t *o, fi_lease_object_t **out) {
    fi_term_t p = {.deadline = fi_deadline(OPEN_NS)};
    fi_lease_object_t *made = calloc(1, sizeof *made);

    if (!made) {
        return fi_fail(-ENOMEM, "no memory for the %s \"%s\"", o->word, o->name);
    }
    made->leases = leases;
    fi_list_init(&made->handles);
    fi_value_init(&made->record, leases->net, o->word, o->kind, o->name);
    made->record.options = o->options;
    made->record.count = o->count;
    made->record.replicas = &leases->replicas;
    made->record.changed = changed_here;
    int r = fi_value_attach(&made->record, &p);
    if (r == 0 && (r = fi_answers_check(leases)) < 0) {
        fi_value_part(&made->record);
    }
    if (r < 0) {
        free_object(made);
        return r;
    }
    pthread_mutex_lock(&leases->lock);
    fi_list_add_tail(&leases->objects, &made->link);
    pthread_mutex_unlock(&leases->lock);
    *out = made;
    return 0;
}

static void set_up(fi_lease_t *l, ferry_t *node, fi_lease_object_t *o, const fi_lease_opening_t *opening) {
    const ferry_sync_options_t *sync = opening->sync;
    int64_t after = sync ? sync->deadlock_after : 0;

    fi_owned_init(&l->own, node);
    l->object = o;
    l->bell = -1;
    l->grace = after ? after : FIRST_PACE_NS;
    l->magic = FI_LEASE_MAGIC(opening->kind);
    pthread_mutex_lock(&o->leases->lock);
    l->number = ++o->leases->next_handle;
    o->refs++;
    fi_list_add_tail(&o->handles, &l->link);
    pthread_mutex_unlock(&o->leases->lock);
}

static int open_handle(ferry_t *node, const fi_lease_opening_t *o, fi_lease_t **out) {
    fi_lease_object_t *object = NULL;
    fi_leases_t *leases = NULL;

    int r = fi_name_check(o->word, o->name, 100);
    r = r == 0 ? fi_lock_check_options(o->sync) : r;
    if (r == 0 && fi_node_is_shut(node)) {
        r = fi_fail(-ESHUTDOWN, "the node was shut down: nothing can be opened");
    }
    r = r == 0 ? leases_of(node->net, &leases) : r;
    if (r < 0) {
        return r;
    }
    fi_lease_t *l = calloc(1, sizeof *l);
    if (!l) {
        return fi_fail(-ENOMEM, "no memory for a handle on a %s", o->word);
    }
    pthread_mutex_lock(&leases->opening);
    object = find_object(leases, o->name);
    r = object ? fi_value_compare(&object->record, o->kind, o->options, o->count) : new_object(leases, o, &object);
    if (r == 0) {
        set_up(l, node, object, o);
    }
    pthread_mutex_unlock(&leases->opening);
    if (r < 0) {
        free(l);
        return r;
    }
    *out = l;
    return 0;
}

int fi_lease_open(ferry_t *node, const fi_lease_opening_t *o, fi_lease_t **out) {
    int cancel = fi_cancel_here();

    int r = open_handle(node, o, out);
    fi_cancel_restore(cancel);
    return r;
}

/* ---- closing ---- */

static int leave_all(fi_lease_state_t *s, void *arg) {
    const fi_lease_who_t *who = arg;

    fi_lease_drop(s, who->node, who->handle, who->died);
    return 0;
}

static void unref(fi_lease_object_t *o) {
    fi_leases_t *leases = o->leases;

    pthread_mutex_lock(&leases->lock);
    bool last = --o->refs == 0;
    if (last) {
        fi_list_remove(&o->link);
    }
    pthread_mutex_unlock(&leases->lock);
    if (last) {
        fi_leases_unsubscribe(&o->changes);
        fi_value_part(&o->record);
        free_object(o);
    }
}

/* Takes the handle out of all lists; what it holds is left by a dead one. */
static void bury(fi_lease_t *l) {
    fi_lease_object_t *o = l->object;
    fi_leases_t *leases = o->leases;
    fi_term_t p = {.deadline = fi_deadline((int64_t)FI_NET_ASK_MS * 1000000), .stubborn = true};

    l->magic = FI_LOCK_CLOSED;
    if (fi_load_relaxed32(&l->held) || fi_load_relaxed32(&l->lost)) {
        fi_lease_who_t who;
        fi_lease_who(l, &who);
        who.died = true;
        (void)fi_value_change(&o->record, who.number, leave_all, &who, &p, NULL);
    }
    fi_disown(&l->own);
    pthread_mutex_lock(&leases->opening);
    pthread_mutex_lock(&leases->lock);
    fi_list_remove(&l->link);
    pthread_mutex_unlock(&leases->lock);
    if (l->bell >= 0) {
        close(l->bell);
    }
    unref(o);
    pthread_mutex_unlock(&leases->opening);
    fi_graveyard_add(l);
}

static int close_handle(fi_lease_t *l, const char *held) {
    int r = fi_lease_enter(l);

    if (r == -EOWNERDEAD) {
        bury(l);
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (fi_load_relaxed32(&l->held) && held) {
        return fi_lease_leave(l, fi_fail(-EBUSY, "the %s \"%s\" is still held by this handle: %s it first",
                                         l->object->record.word, fi_lease_name(l), held));
    }
    bury(l);
    return 0;
}

int fi_lease_close(fi_lease_t *l, const char *held) {
    int cancel = fi_cancel_here();

    int r = close_handle(l, held);
    fi_cancel_restore(cancel);
    return r;
}

bool fi_lease_close_any(fi_net_t *net, void (*note)(void *arg, const char *name), void *arg) {
    if (!net->leases || fi_list_empty(&net->leases->objects)) {
        return false;
    }
    fi_lease_object_t *o = fi_container(net->leases->objects.next, fi_lease_object_t, link);
    fi_lease_t *l = fi_container(o->handles.next, fi_lease_t, link);
    note(arg, fi_lease_name(l));
    bury(l);
    return true;
}

/* ---- calls ---- */

int fi_lease_check_handle(const fi_lease_t *l) {
    if (fi_node_is_forked(l->own.node)) {
        return fi_fail(-ECHILD,
                       "this handle belongs to the parent process: after fork(), open your own node with ferry_open");
    }
    return 0;
}

int fi_lease_enter(fi_lease_t *l) {
    uint32_t nobody = 0;
    int r = fi_lease_check_handle(l);

    if (r < 0) {
        return r;
    }
    if (fi_is_orphan(&l->own) && fi_load_relaxed32(&l->held)) {
        return fi_fail(-EOWNERDEAD,
                       "the thread that used this handle on \"%s\" last ended while it held it, so it counts as dead: "
                       "close it and open a new one",
                       fi_lease_name(l));
    }
    int cancel = fi_cancel_here();
    if (!fi_cas32(&l->busy, &nobody, 1)) {
        fi_cancel_restore(cancel);
        return fi_fail(-EBUSY, "another thread is inside a call on this handle on \"%s\": open one for each thread",
                       fi_lease_name(l));
    }
    if (!fi_is_own(&l->own)) {
        (void)fi_own_again(&l->own); /* leases are not buried */
    }
    l->cancel = cancel;
    return 0;
}

int fi_lease_leave(fi_lease_t *l, int r) {
    int cancel = l->cancel;

    fi_store_release32(&l->busy, 0);
    fi_cancel_restore(cancel);
    return r;
}

static int64_t wall_clock(void) {
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void fi_lease_who(const fi_lease_t *l, fi_lease_who_t *who) {
    *who = (fi_lease_who_t){.node = fi_lease_net(l)->node->id,
                            .number = fi_value_number(),
                            .now = wall_clock(),
                            .handle = l->number,
                            .tid = fi_owner_tid(&l->own),
                            .pid = getpid(),
                            .died = fi_load_relaxed32(&l->lost) != 0};
}

/* ---- waiting ---- */

static int prepare_wait(fi_lease_t *l, uint32_t role) {
    fi_lease_object_t *o = l->object;
    int r = 0;

    if (l->bell < 0) {
        l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->bell < 0) {
            return fi_fail_errno(errno, "cannot make a descriptor to wait for the %s \"%s\"", o->record.word,
                                 fi_lease_name(l));
        }
    }
    pthread_mutex_lock(&o->leases->lock);
    if (!o->changes.sub) {
        r = fi_leases_subscribe(o->leases, o->record.subject, changed_there, o, &o->changes);
    }
    l->wait_number = fi_value_number();
    l->wait_since = wall_clock();
    l->wait_begun = fi_now_ns();
    l->wait_tid = gettid();
    memset(l->wait_thread, 0, sizeof l->wait_thread);
    (void)prctl(PR_GET_NAME, l->wait_thread, 0, 0, 0);
    fi_store_relaxed32(&l->wanted, role ? role : UINT32_MAX);
    pthread_mutex_unlock(&o->leases->lock);
    return r;
}

static void end_wait(fi_lease_t *l) {
    pthread_mutex_lock(&l->object->leases->lock);
    l->wait_number = 0;
    fi_store_relaxed32(&l->wanted, 0);
    pthread_mutex_unlock(&l->object->leases->lock);
}

/* The thread is cancelled in its wait: it dies with what this handle has, which others must not wait for. */
static void die_waiting(void *arg) {
    fi_lease_t *l = arg;
    fi_term_t p = {.deadline = fi_now_ns(), .stubborn = true};
    fi_lease_who_t who;

    (void)fi_cancel_off();
    end_wait(l);
    fi_lease_who(l, &who);
    who.died = true;
    if (fi_net_is_up(fi_lease_net(l))) {
        (void)fi_value_change(&l->object->record, who.number, leave_all, &who, &p, NULL);
    }
    fi_store_release32(&l->busy, 0);
}

static int sleep_cancellably(const fi_lease_t *l, struct pollfd *items, nfds_t count, const struct timespec *t) {
    int r;

    pthread_cleanup_push(die_waiting, (void *)(uintptr_t)l);
    fi_cancel_restore(l->cancel);
    r = ppoll(items, count, t, NULL);
    (void)fi_cancel_off();
    pthread_cleanup_pop(0);
    return r;
}

/* 0: somebody has rung, or it is `until`. */
static int sleep_until(const fi_lease_t *l, int64_t until) {
    struct pollfd items[2] = {{.fd = l->bell, .events = POLLIN}, {.fd = fi_lease_net(l)->node->halt, .events = POLLIN}};
    int64_t left = fi_time_left(until);
    struct timespec t = fi_timespec(left);

    if (sleep_cancellably(l, items, 2, left == FI_NEVER ? NULL : &t) < 0) {
        return -EINTR;
    }
    return items[1].revents ? -ESHUTDOWN : 0;
}

static void silence(const fi_lease_t *l) {
    uint64_t count;

    if (read(l->bell, &count, sizeof count) < 0) {
        return; /* nobody has rung */
    }
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int fi_lease_wait(fi_lease_t *l, uint32_t role, fi_change_fn *change, void *arg, int64_t deadline, uint64_t *token) {
    fi_term_t p = {.deadline = deadline};
    int64_t begin = fi_now_ns();
    int64_t pace = l->grace;
    int64_t look_at = role == 0 || role > FI_LEASE_UNIT ? FI_NEVER : fi_deadline(pace);
    int64_t ask_at = role ? begin + FI_LEASE_ASK_NS : begin + 4 * FI_LEASE_ASK_NS;

    int r = prepare_wait(l, role);
    while (r == 0) {
        silence(l);
        r = fi_value_change(&l->object->record, fi_value_number(), change, arg, &p, token);
        int64_t now = fi_now_ns();
        if (r != 0 || now >= deadline) {
            r = r != 0 ? r : -ETIMEDOUT;
        } else if (now >= look_at) {
            r = fi_lease_circle(l);
            pace = pace < LAST_PACE_NS ? pace * 2 : pace;
            look_at = fi_deadline(pace);
        } else if (now >= ask_at) {
            r = fi_lease_look_after(l, now);
            ask_at = fi_now_ns() + FI_LEASE_ASK_NS;
        } else {
            r = sleep_until(l, earlier(deadline, earlier(look_at, ask_at)));
        }
    }
    end_wait(l);
    return r;
}
