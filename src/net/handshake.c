/* SPDX-License-Identifier: MIT */
#include "net/handshake.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "platform/clock.h"
#include "platform/condition.h"
#include "platform/tcp.h"

#define LOOK_NS 500000000ll      /* between looks at all descriptors, */
#define SOON_LOOK_NS 100000000ll /* where somebody leaves */
#define SOON_NS 1000000000ll
#define LATE_NS 2000000000ll /* we may hear so late that a handshake has begun */
#define LITTLE 8192          /* bytes that a handshake sends, at most: credentials are the longest part */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over;               /* there are none any more, or it is to be looked at once */
static struct fi_list all = {&all, &all}; /* guarded by lock */
static bool watching;                     /* the thread runs; guarded by lock */

typedef struct look {
    const fi_handshake_t *handshake;
    int64_t now, patience;
    unsigned cut;
} look_t;

static bool is_libnats(const fi_tcp_t *t) {
    return t->execs && t->prompt && t->reuses && t->resets;
}

static bool is_left(const fi_handshake_t *h) {
    return fi_load_acquire32(h->leaves) != 0;
}

/* To one of the servers, as far as the port tells. */
static bool leads_to(const fi_tcp_t *t, const fi_address_t *a) {
    bool named = false;

    for (unsigned i = 0; i < a->server_count; i++) {
        const char *port = strrchr(a->servers[i], ':');
        named |= port && strtoul(port + 1, NULL, 10) == t->port;
    }
    return named;
}

static bool is_silent(const fi_tcp_t *t, void *arg) {
    const look_t *l = arg;
    const fi_handshake_t *h = l->handshake;

    return is_libnats(t) && leads_to(t, h->address) && (h->address->tls || !t->blocks) &&
           (t->sent > 0 || !h->waited || is_left(h)) && t->sent <= LITTLE && t->rest >= l->patience &&
           t->rest <= l->now - h->began + LATE_NS;
}

static void hang_up(int fd, void *arg) {
    look_t *l = arg;

    l->cut += fi_tcp_hang_up(fd, is_silent, l);
}

/* Where somebody waits for a space to open, each server has time, and all together not much more of it. */
static int64_t patience_of(const fi_handshake_t *h, int64_t now) {
    if (is_left(h)) {
        return SOON_NS;
    }
    if (h->waited) {
        return h->hurried || now - h->began > FI_GREETED_OPEN_NS ? SOON_NS : FI_GREETED_NS;
    }
    return h->cut > 2 ? FI_GREETED_NS : SOON_NS << h->cut;
}

static void look_for(fi_handshake_t *h) {
    look_t l = {.handshake = h, .now = fi_now_ns()};

    l.patience = patience_of(h, l.now);
    if (l.now - h->began >= l.patience) {
        fi_descriptors_each(hang_up, &l);
    }
    h->cut += l.cut;
}

/* Returns ns until the next look. */
static int64_t look_for_all(void) {
    struct fi_list *at;
    struct fi_list *after;
    bool left = false;

    fi_list_each(at, after, &all) {
        fi_handshake_t *h = fi_container(at, fi_handshake_t, link);
        look_for(h);
        left |= is_left(h);
    }
    return left ? SOON_LOOK_NS : LOOK_NS;
}

static void *watch(void *unused) {
    (void)unused;
    (void)pthread_setname_np(pthread_self(), "ferry-handshake");
    pthread_mutex_lock(&lock);
    while (!fi_list_empty(&all)) {
        int64_t now = fi_now_ns();
        struct timespec next = fi_timespec(now + look_for_all());
        (void)pthread_cond_timedwait(&over, &lock, &next);
    }
    watching = false;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void init(void) {
    fi_condition_init(&over);
}

/* With the lock. Without a thread, a handshake takes as long as it takes. */
static void see_to_watch(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_t thread;

    pthread_once(&once, init);
    if (!watching && pthread_create(&thread, NULL, watch, NULL) == 0) {
        pthread_detach(thread);
        watching = true;
    }
}

void fi_handshake_init(fi_handshake_t *h, const fi_address_t *address, const uint32_t *leaves, bool waited) {
    *h = (fi_handshake_t){.address = address, .leaves = leaves, .waited = waited};
    fi_list_init(&h->link);
}

void fi_handshake_begin(fi_handshake_t *h) {
    pthread_mutex_lock(&lock);
    if (fi_list_empty(&h->link)) {
        h->began = fi_now_ns();
        h->cut = 0;
        fi_list_add_tail(&all, &h->link);
        see_to_watch();
    }
    pthread_mutex_unlock(&lock);
}

void fi_handshake_look(void) {
    pthread_mutex_lock(&lock);
    if (watching) {
        pthread_cond_signal(&over);
    }
    pthread_mutex_unlock(&lock);
}

unsigned fi_handshake_end(fi_handshake_t *h) {
    pthread_mutex_lock(&lock);
    unsigned cut = fi_list_empty(&h->link) ? 0 : h->cut;
    fi_list_remove(&h->link);
    if (fi_list_empty(&all) && watching) {
        pthread_cond_signal(&over);
    }
    pthread_mutex_unlock(&lock);
    return cut;
}
