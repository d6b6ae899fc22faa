/* SPDX-License-Identifier: MIT
 *
 * A service and its table of methods.
 */
#include "rpc/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/sender.h"
#include "platform/clock.h"
#include "platform/condition.h"

#define USUAL_QUEUE 1024u
#define FIRST_ROOM 16u

int fi_service_check(const ferry_service_t *s) {
    uint32_t magic = s ? fi_load_relaxed32(&s->magic) : 0; /* another thread may be closing it */

    if (magic != FI_SERVICE_MAGIC) {
        return fi_fail(-EBADF, !s                      ? "the service handle is NULL: open one first"
                               : magic == FI_RPC_ENDED ? "this service was closed before: open a new one"
                                                       : "this handle is not an open service");
    }
    if (s->generation != fi_process_generation) {
        return fi_fail(-ECHILD,
                       "the service \"%s\" belongs to the parent process: after fork(), open your own node with "
                       "ferry_open",
                       s->name);
    }
    return 0;
}

/* ---- methods ---- */

static void free_method(fi_method_t *m) {
    if (m) {
        free(m->input);
        free(m->output);
        free(m->comment);
    }
    free(m);
}

const fi_method_t *fi_service_find(const ferry_service_t *s, uint64_t hash) {
    for (uint32_t i = (uint32_t)hash; s->methods[i & (s->room - 1)]; i++) {
        if (s->methods[i & (s->room - 1)]->hash == hash) {
            return s->methods[i & (s->room - 1)];
        }
    }
    return NULL;
}

static void insert(ferry_service_t *s, fi_method_t *m) {
    uint32_t i = (uint32_t)m->hash;

    while (s->methods[i & (s->room - 1)]) {
        i++;
    }
    s->methods[i & (s->room - 1)] = m;
}

/* Half of the table stays empty. */
static bool make_room(ferry_service_t *s) {
    uint32_t old_room = s->room;
    fi_method_t **old = s->methods;

    if (s->room > 2 * s->method_count) {
        return true;
    }
    fi_method_t **more = calloc(s->room ? 2ull * s->room : FIRST_ROOM, sizeof *more);
    if (!more) {
        return false;
    }
    s->methods = more;
    s->room = s->room ? 2 * s->room : FIRST_ROOM;
    for (uint32_t i = 0; i < old_room; i++) {
        if (old[i]) {
            insert(s, old[i]);
        }
    }
    free(old);
    return true;
}

static bool copy_text(char **to, const char *from) {
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

static int no_memory(const char *name) {
    return fi_fail(-ENOMEM, "no memory for the service \"%s\"", name);
}

static int add_method(ferry_service_t *s, const char *name, ferry_handler_t *handler, void *arg,
                      const ferry_method_options_t *o) {
    fi_method_t *m = calloc(1, sizeof *m);

    if (!m || !make_room(s) || !copy_text(&m->input, o->input) || !copy_text(&m->output, o->output) ||
        !copy_text(&m->comment, o->comment)) {
        free_method(m);
        return no_memory(s->name);
    }
    snprintf(m->name, sizeof m->name, "%s", name);
    m->hash = fi_method_hash(name, strlen(name));
    m->handler = handler;
    m->arg = arg;
    m->idempotent = o->idempotent != 0;
    m->streams = o->streams != 0;
    insert(s, m);
    s->method_count++;
    return 0;
}

static int check_method(const ferry_service_t *s, const char *name, ferry_handler_t *handler) {
    size_t len = name ? strnlen(name, FI_METHOD_NAME_MAX + 1) : 0;
    bool good = len >= 1 && len <= FI_METHOD_NAME_MAX && name[0] != '$';

    for (size_t i = 0; good && i < len; i++) {
        good = name[i] > ' ' && name[i] <= '~';
    }
    if (!good) {
        return fi_fail(
            -EINVAL,
            "the service \"%s\": \"%.101s\" is no name of a method: it has up to %u printable characters, no "
            "spaces, and does not begin with '$'",
            s->name, name ? name : "", FI_METHOD_NAME_MAX);
    }
    if (!handler) {
        return fi_fail(-EINVAL, "the method \"%s\" of the service \"%s\" needs a handler, not NULL", name, s->name);
    }
    return 0;
}

int fi_service_method(ferry_service_t *s, const char *name, ferry_handler_t *handler, void *arg,
                      const ferry_method_options_t *o) {
    static const ferry_method_options_t none;

    int r = check_method(s, name, handler);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&s->lock);
    const fi_method_t *there = fi_service_find(s, fi_method_hash(name, strlen(name)));
    if (s->worker_count > 0) {
        r = fi_fail(-EBUSY, "the service \"%s\" is being served: add its methods before", s->name);
    } else if (there) {
        r = fi_fail(-EEXIST,
                    strcmp(there->name, name) == 0
                        ? "the service \"%s\" has a method \"%s\" already"
                        : "the service \"%s\": the name \"%s\" has the same number as that of "
                          "another method: choose another one",
                    s->name, name);
    } else {
        r = add_method(s, name, handler, arg, o ? o : &none);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* ---- opening ---- */

static void free_service(ferry_service_t *s) {
    for (uint32_t i = 0; i < s->room; i++) {
        free_method(s->methods[i]);
    }
    free(s->methods);
    free(s->comment);
    free(s->descriptor);
}

static int check_options(const char *name, const ferry_service_options_t *o) {
    int r = fi_name_check("service", name, FI_SERVICE_NAME_MAX);

    if (r == 0 && (unsigned)o->wait > FERRY_WAIT_BLOCK) {
        r = fi_fail(-EINVAL, "the service \"%s\": %d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK",
                    name, (int)o->wait);
    }
    if (r == 0 && o->quota && o->quota < FI_MIN_QUOTA) {
        r = fi_fail(-EINVAL,
                    "the service \"%s\": a quota of %" PRIu64 " bytes is too small: at least %" PRIu64 " are needed",
                    name, o->quota, (uint64_t)FI_MIN_QUOTA);
    }
    if (r == 0 && o->descriptor_size > 0 && !o->descriptor) {
        r = fi_fail(-EINVAL, "the service \"%s\": the descriptor is NULL, but its size is not 0", name);
    }
    return r;
}

static int set_up(ferry_service_t *s, const ferry_service_options_t *o) {
    static const ferry_method_options_t describe = {
        .idempotent = 1, .output = "json", .comment = "The methods of this service."};
    static const ferry_method_options_t types = {
        .idempotent = 1, .output = "google.protobuf.FileDescriptorSet", .comment = "The types of its messages."};

    if (!copy_text(&s->comment, o->comment)) {
        return no_memory(s->name);
    }
    if (o->descriptor_size > 0) {
        s->descriptor = malloc(o->descriptor_size);
        if (!s->descriptor) {
            return no_memory(s->name);
        }
        memcpy(s->descriptor, o->descriptor, o->descriptor_size);
        s->descriptor_size = o->descriptor_size;
    }
    int r = add_method(s, FERRY_METHOD_DESCRIBE, fi_describe, s, &describe);
    return r < 0 ? r : add_method(s, FERRY_METHOD_DESCRIPTOR, fi_describe_types, s, &types);
}

int fi_service_open(fi_node_t *n, const char *name, const ferry_service_options_t *o, ferry_service_t **out) {
    static const ferry_service_options_t none;

    o = o ? o : &none;
    int r = check_options(name, o);
    if (r < 0) {
        return r;
    }
    ferry_service_t *s = calloc(1, sizeof *s);
    if (!s) {
        return no_memory(name);
    }
    snprintf(s->name, sizeof s->name, "%s", name);
    s->node = n;
    s->generation = fi_process_generation;
    s->wait = o->wait;
    s->queue = o->queue ? o->queue : USUAL_QUEUE;
    s->quota = o->quota;
    r = set_up(s, o);
    if (r < 0) {
        free_service(s);
        free(s);
        return r;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->far.lock, NULL);
    fi_condition_init(&s->changed);
    s->magic = FI_SERVICE_MAGIC;
    *out = s;
    return 0;
}

/* ---- looking ---- */

/* Has its thread its receiver open, and has it not ended? */
static bool is_alive(const fi_worker_t *w) {
    const fi_receiver_t *rx = fi_load_acquire_ptr(&w->rx);

    return rx && !fi_is_orphan(&rx->end.own);
}

int fi_service_stats(ferry_service_t *s, ferry_service_stats_t *stats) {
    uint64_t sums[FI_TIMES] = {0};

    *stats = (ferry_service_stats_t){.size = sizeof *stats};
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        const fi_worker_t *w = s->workers[i];
        bool open = is_alive(w);
        stats->calls += fi_load_relaxed64(&w->calls);
        stats->errors += fi_load_relaxed64(&w->errors);
        stats->refused += fi_load_relaxed64(&w->refused);
        stats->expired += fi_load_relaxed64(&w->expired);
        stats->busy_ns += fi_load_relaxed64(&w->busy_ns);
        stats->threads += open;
        stats->running += open && fi_load_relaxed32(&w->serving);
        fi_times_sum(&w->times, sums);
    }
    pthread_mutex_unlock(&s->lock);
    stats->p50_ns = fi_times_percentile(sums, 500);
    stats->p99_ns = fi_times_percentile(sums, 990);
    return 0;
}

/* ---- closing ---- */

/* Whose end it is, if that of a thread that serves. */
static ferry_service_t *service_of(fi_end_t *e) {
    bool serves = e->magic == FI_END_RECEIVER && e->channel[0] == FI_CALLS;
    const fi_worker_t *w = serves ? fi_receiver_of(e)->part.whole : NULL;

    return w && fi_load_relaxed32(&w->service->magic) == FI_SERVICE_MAGIC ? w->service : NULL;
}

ferry_service_t *fi_service_of_node(fi_node_t *n) {
    ferry_service_t *found = NULL;
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->ends) {
        found = found ? found : service_of(fi_container(at, fi_end_t, link));
    }
    pthread_mutex_unlock(&n->lock);
    return found;
}

/* A worker waits with closing its receiver until nobody is in here: see fi_worker_close. Async-signal-safe. */
static void nudge_all(ferry_service_t *s) {
    fi_add32(&s->nudging, 1);
    fi_fence_seq_cst();
    uint32_t count = fi_load_acquire32(&s->worker_count);
    for (uint32_t i = 0; i < count; i++) {
        fi_receiver_t *rx = fi_load_acquire_ptr(&s->workers[i]->rx);
        if (rx) {
            fi_store_release32(&rx->page->leaves, 1); /* also while its handler runs: others may be free */
            fi_receiver_nudge(rx);
        }
    }
    fi_sub32(&s->nudging, 1);
}

int fi_service_stop(ferry_service_t *s) {
    fi_store_release32(&s->stopping, 1);
    nudge_all(s);
    return 0;
}

static bool all_are_out(const ferry_service_t *s) {
    for (uint32_t i = 0; i < s->worker_count; i++) {
        const fi_worker_t *w = s->workers[i];
        bool has_died = fi_load_relaxed_ptr(&w->rx) && !is_alive(w);
        if (fi_load_acquire32(&w->inside) && !has_died) {
            return false;
        }
    }
    return true;
}

#define LOOK_AGAIN_NS 100000000 /* a thread may have ended in a handler */

/* With the lock. */
static void wait_for_all(ferry_service_t *s, int64_t deadline) {
    while (!all_are_out(s)) {
        int64_t now = fi_now_ns();
        if (now >= deadline && !fi_load_relaxed32(&s->hurry)) {
            fi_store_release32(&s->hurry, 1);
            nudge_all(s);
        }
        struct timespec until = fi_timespec(now + LOOK_AGAIN_NS);
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
    }
}

int fi_service_close(ferry_service_t *s, int64_t timeout) {
    if (fi_service_is_mine(s)) {
        return fi_fail(-EDEADLK, "a handler of the service \"%s\" cannot close it: it would wait for itself", s->name);
    }
    int64_t deadline = timeout == FERRY_NOW ? fi_now_ns() : fi_deadline(timeout);
    fi_store_release64(&s->close_by, (uint64_t)deadline);
    (void)fi_service_stop(s);
    pthread_mutex_lock(&s->lock);
    wait_for_all(s, deadline);
    fi_store_relaxed32(&s->magic, FI_RPC_ENDED);
    pthread_mutex_unlock(&s->lock);
    fi_far_withdraw(s);
    for (uint32_t i = 0; i < s->worker_count; i++) {
        fi_worker_t *w = s->workers[i];
        if (w->own_thread) {
            (void)pthread_join(w->thread, NULL);
        }
        fi_worker_close(w);
        fi_graveyard_add(w);
    }
    free_service(s);
    fi_graveyard_add(s);
    return 0;
}
