/* SPDX-License-Identifier: MIT
 *
 * A reader of a published region, and its views: see published.h.
 *
 * The reader's end is held in each call but those on views.  Views come back from any thread, so what they count stands
 * under a lock of its own, which nobody holds while he waits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "platform/bell.h"
#include "platform/cancel.h"
#include "platform/clock.h"
#include "region/published.h"

#define MOST_AT_ONCE 256           /* versions taken in one look, however quick the writer is */
#define LOST_TRIES 16              /* versions that give way to newer ones before we can hold them */
#define ON_ITS_WAY_NS 1000000000ll /* how long a version is worth waiting for whose memory was not here yet */

static void lock(ferry_region_reader_t *r) {
    pthread_mutex_lock(&r->lock);
}

static void unlock(ferry_region_reader_t *r) {
    pthread_mutex_unlock(&r->lock);
}

/* ---- opening and closing ---- */

static void bury_handles(struct fi_list *handles) {
    struct fi_list *at;

    while ((at = fi_list_pop(handles)) != NULL) {
        ferry_region_view_t *view = fi_container(at, ferry_region_view_t, link);
        view->head.magic = FI_PUBLISHED_ENDED;
        fi_graveyard_add(view);
    }
}

/* The receiver is closed, by ferry_region_reader_close or ferry_close; after the latter, views are not valid any
 * more. */
static void ended(void *whole) {
    ferry_region_reader_t *r = whole;
    struct fi_list *at;
    struct fi_list *after;

    lock(r);
    r->head.magic = FI_PUBLISHED_ENDED;
    fi_list_each(at, after, &r->views) {
        fi_version_t *v = fi_container(at, ferry_region_view_t, link)->version;
        if (--v->views == 0 && v != r->newest) {
            fi_taken_release_held(v->message);
            free(v);
        }
    }
    if (r->newest) {
        fi_taken_release_held(r->newest->message);
    }
    bury_handles(&r->views);
    bury_handles(&r->idle);
    unlock(r);
    pthread_mutex_destroy(&r->lock);
    free(r->newest);
    free(r->spare);
    fi_graveyard_add(r);
}

int fi_reader_open(fi_node_t *n, const char *name, const ferry_region_reader_options_t *o,
                   ferry_region_reader_t **out) {
    static const ferry_region_reader_options_t none;
    char channel[104];

    o = o ? o : &none;
    int rc = fi_published_options(name, o->type_name, o->wait, channel);
    if (rc < 0) {
        return rc;
    }
    ferry_region_reader_t *r = calloc(1, sizeof *r);
    if (!r) {
        return fi_fail(-ENOMEM, "no memory for a reader of the region \"%s\"", name);
    }
    ferry_contract_t contract = {.type_name = o->type_name, .type_size = o->bytes};
    ferry_receiver_options_t options = {.contract = &contract, .wait = o->wait, .may_lose = 1};
    const fi_rxpart_t part = {.whole = r, .ends = ended, .stays = true};
    rc = fi_receiver_new_part(n, channel, FERRY_TOPIC, &options, &part, &r->rx);
    if (rc < 0) {
        free(r);
        return fi_published_not_open(rc, "reader", name);
    }
    pthread_mutex_init(&r->lock, NULL);
    fi_list_init(&r->views);
    fi_list_init(&r->idle);
    snprintf(r->name, sizeof r->name, "%s", name);
    r->head = (fi_published_t){FI_READER_MAGIC, fi_process_generation};
    *out = r;
    return 0;
}

static int enter(ferry_region_reader_t *r) {
    int rc = fi_published_check(r, FI_READER_MAGIC, "reader");
    return rc < 0 ? rc : fi_published_enter(&r->rx->end, FI_END_RECEIVER, "reader", r->name);
}

int fi_reader_close(ferry_region_reader_t *r) {
    int rc = enter(r);
    if (rc < 0 && rc != -EOWNERDEAD) {
        return rc;
    }
    lock(r);
    bool viewed = !fi_list_empty(&r->views);
    unlock(r);
    if (viewed && rc == 0) {
        fi_end_leave(&r->rx->end);
    }
    if (viewed) {
        return fi_fail(-EBUSY, "views of the region \"%s\" that this reader gave are still held: release them first",
                       r->name);
    }
    (void)fi_receiver_close(r->rx);
    return 0;
}

/* ---- taking versions ---- */

/* A dead writer's last version may come after its successor's first one. */
static bool is_older(const fi_version_t *v, const fi_version_t *than) {
    return v->series < than->series;
}

/* Puts the spare version, which was filled in, in the newest one's place. Returns what has no use any more. */
static fi_version_t *replace(ferry_region_reader_t *r, fi_version_t *v) {
    fi_version_t *old = r->newest;

    if (old && is_older(v, old)) {
        return v;
    }
    if (!old) {
        r->series = v->series;
    }
    r->newest = v;
    r->unseen = true;
    return old && old->views == 0 ? old : NULL;
}

/* The newest version becomes this one, unless it is an older writer's. */
static void take_in(ferry_region_reader_t *r, ferry_msg_t *m) {
    ferry_msg_info_t info;
    fi_version_t *v = r->spare;

    fi_taken_describe(m, &info);
    *v = (fi_version_t){.message = m, .number = info.tag, .series = m->link->number};
    r->spare = NULL;
    lock(r);
    fi_version_t *useless = replace(r, v);
    unlock(r);
    if (useless) { /* nobody else knows it */
        fi_taken_release_held(useless->message);
        r->spare = useless;
    }
}

static int bad_size(const ferry_region_reader_t *r, uint64_t size) {
    return fi_fail(-EPROTO,
                   "a writer of the region \"%s\" published a version of %llu bytes, where %llu were agreed on",
                   r->name, (unsigned long long)size, (unsigned long long)r->rx->end.contract.type_size);
}

/* Takes the next version. The errors of fi_receiver_recv, without words. */
static int take_one(ferry_region_reader_t *r, int64_t timeout) {
    ferry_msg_t *m;

    r->spare = r->spare ? r->spare : malloc(sizeof *r->spare);
    if (!r->spare) {
        return -ENOMEM;
    }
    int rc = fi_receiver_recv(r->rx, timeout, &m);
    if (rc < 0) {
        return rc;
    }
    uint64_t agreed = r->rx->end.contract.type_size;
    if (agreed != 0 && m->size != agreed) {
        rc = bad_size(r, m->size);
        fi_taken_release_held(m);
        return rc;
    }
    take_in(r, m);
    return 0;
}

/* Takes everything that is there. Returns why there is no more: -EAGAIN, or what take_one says. */
static int catch_up(ferry_region_reader_t *r) {
    int rc = 0;

    for (int i = 0; i < MOST_AT_ONCE && rc == 0; i++) {
        rc = take_one(r, FERRY_NOW);
    }
    return rc == 0 ? -EAGAIN : rc;
}

/* Lets the writer have the newest version's image, unless it is viewed. */
static void rest(ferry_region_reader_t *r) {
    lock(r);
    if (r->newest && r->newest->views == 0) {
        fi_taken_rest(r->newest->message);
    }
    unlock(r);
}

/* A wait for what has not come yet. */
typedef struct patience {
    int64_t timeout;
    int64_t deadline; /* once it has begun */
    bool begun;
} patience_t;

/* A writer that always has one more, yet never the one that is waited for, must not keep us here. */
static int take_later(ferry_region_reader_t *r, patience_t *p) {
    if (p->timeout == FERRY_NOW) {
        return -EAGAIN;
    }
    if (fi_node_is_shut(r->rx->end.node)) {
        return -ESHUTDOWN;
    }
    if (!p->begun) {
        p->deadline = fi_deadline(p->timeout);
        p->begun = true;
    }
    int64_t left = fi_time_left(p->deadline);
    if (left == 0) {
        return -ETIMEDOUT;
    }
    rest(r);
    return take_one(r, left);
}

/* Why there is none of the `wanted` versions, in words. */
static int explain(const ferry_region_reader_t *r, int rc, const char *wanted) {
    switch (rc) {
    case -EAGAIN:
        return fi_fail(rc, "the region \"%s\" has no %s version now", r->name, wanted);
    case -ETIMEDOUT:
        return fi_fail(rc, "no %s version of the region \"%s\" was published before the timeout", wanted, r->name);
    case -EPIPE:
        return fi_fail(rc, "the region \"%s\" has no %s version, and its writer has closed it or died", r->name,
                       wanted);
    case -EINTR:
        return fi_fail(rc, "a signal ended the wait for a version of the region \"%s\"", r->name);
    case -ESHUTDOWN:
        return fi_fail(rc, "the node %s while the region \"%s\" was read", fi_node_end_word(r->rx->end.node), r->name);
    case -EDQUOT:
        return fi_fail(rc,
                       "this reader of the region \"%s\" views %u versions, as many as one can: release some, or open "
                       "another reader",
                       r->name, FI_HELD_SLOTS);
    case -ENOMEM:
        return fi_fail(rc, "no memory to take a version of the region \"%s\"", r->name);
    default:
        return rc; /* -EPROTO has its sentence */
    }
}

/* Ends a call. That a version is there which was not viewed yet, the descriptor tells. */
static int leave(ferry_region_reader_t *r, int rc) {
    rest(r);
    if (r->unseen && r->rx->fd_mode) {
        fi_bell_ring(r->rx->bell.wr);
        r->rx->bell_full = true;
    }
    fi_end_leave(&r->rx->end);
    return rc;
}

/* Is the newest version newer than version `than` of the writer that the program knows? */
static bool is_news(const ferry_region_reader_t *r, uint64_t than) {
    return r->newest && (r->newest->series != r->series || r->newest->number > than);
}

static int wait_for_news(ferry_region_reader_t *r, uint64_t than, int64_t timeout) {
    patience_t patience = {.timeout = timeout};

    for (;;) {
        int rc = catch_up(r);
        if (rc != -EPROTO && is_news(r, than)) { /* what is wrong is told first; the news stay */
            return 0;
        }
        rc = rc == -EAGAIN ? take_later(r, &patience) : rc;
        if (rc < 0) {
            return rc;
        }
    }
}

int fi_reader_wait(ferry_region_reader_t *r, uint64_t version, int64_t timeout) {
    int rc = enter(r);
    if (rc < 0) {
        return rc;
    }
    rc = wait_for_news(r, version, timeout);
    return leave(r, rc < 0 ? explain(r, rc, "newer") : 0);
}

bool fi_reader_is_linked(ferry_region_reader_t *r) {
    if (enter(r) < 0) {
        return false;
    }
    bool linked = r->rx->link_count > 0;
    fi_end_leave(&r->rx->end);
    return linked;
}

int fi_reader_fd(ferry_region_reader_t *r) {
    int rc = enter(r);
    return rc < 0 ? rc : leave(r, fi_receiver_fd(r->rx));
}

/* ---- views ---- */

/* With the lock held. */
static ferry_region_view_t *handle_new(ferry_region_reader_t *r) {
    struct fi_list *at = fi_list_pop(&r->idle);
    ferry_region_view_t *view = at ? fi_container(at, ferry_region_view_t, link) : calloc(1, sizeof *view);

    if (view) {
        view->head = (fi_published_t){FI_VIEW_MAGIC, fi_process_generation};
        view->reader = r;
        fi_list_add_tail(&r->views, &view->link);
    }
    return view;
}

/* With the lock held. */
static void handle_free(ferry_region_view_t *view) {
    fi_list_remove(&view->link);
    view->head.magic = FI_PUBLISHED_ENDED;
    fi_list_add_head(&view->reader->idle, &view->link);
}

/* 1: `*out` is one of the newest version; 0: there is none, or it was lost to a newer one; -EDQUOT, -ENOMEM. */
static int view_newest(ferry_region_reader_t *r, ferry_region_view_t **out) {
    lock(r);
    fi_version_t *v = r->newest;
    int rc = v ? fi_taken_rouse(v->message) : 0;
    ferry_region_view_t *view = rc == 1 ? handle_new(r) : NULL;
    if (view) {
        view->version = v;
        v->views++;
        r->series = v->series;
        r->unseen = false;
        *out = view;
    }
    unlock(r);
    return rc == 1 && !view ? -ENOMEM : rc;
}

static bool is_on_its_way(const ferry_region_reader_t *r) {
    for (uint32_t i = 0; i < r->rx->link_count; i++) {
        if (fi_link_awaits_memory(r->rx->links[i])) {
            return true;
        }
    }
    return false;
}

/*
 * A version that stands in a new buffer is published a moment before the buffer can be seen here.  Who was told of it
 * should not find the one before; but that one will do if the writer was stopped in this moment.
 */
static int catch_up_with_memory(ferry_region_reader_t *r, int64_t timeout) {
    int rc = catch_up(r);

    if (rc == -EAGAIN && timeout != FERRY_NOW && r->newest && is_on_its_way(r)) {
        rest(r);
        int came = take_one(r, timeout > 0 && timeout < ON_ITS_WAY_NS ? timeout : ON_ITS_WAY_NS);
        rc = came == 0 ? catch_up(r) : came == -ETIMEDOUT ? -EAGAIN : came;
    }
    return rc;
}

/* What has been seen can be viewed again also when the writer has ended. */
static int find_view(ferry_region_reader_t *r, int64_t timeout, ferry_region_view_t **view) {
    patience_t patience = {.timeout = timeout};

    for (int i = 0;; i++) {
        int rc = catch_up_with_memory(r, timeout);
        int found = rc == -EAGAIN || rc == -EPIPE ? view_newest(r, view) : rc;
        if (found != 0) {
            return found < 0 ? found : 0;
        }
        if (r->newest && rc == -EAGAIN && i < LOST_TRIES) {
            continue; /* the one before which it gave way is there */
        }
        rc = rc == -EAGAIN ? take_later(r, &patience) : rc;
        if (rc < 0) {
            return rc;
        }
    }
}

int fi_reader_view(ferry_region_reader_t *r, int64_t timeout, ferry_region_view_t **view) {
    int rc = enter(r);
    if (rc < 0) {
        return rc;
    }
    rc = find_view(r, timeout, view);
    return leave(r, rc < 0 ? explain(r, rc, "published") : 0);
}

/* With the lock held: one who looked at it does so no more. */
static int stop_viewing(ferry_region_reader_t *r, fi_version_t *v) {
    if (--v->views > 0) {
        return 0;
    }
    if (v == r->newest) {
        fi_taken_rest(v->message);
        return 0;
    }
    int rc = fi_taken_release(v->message);
    free(v);
    return rc;
}

int fi_view_release(ferry_region_view_t *view) {
    int rc = fi_published_check(view, FI_VIEW_MAGIC, "view");
    if (rc < 0) {
        return rc;
    }
    ferry_region_reader_t *r = view->reader;
    int cancel = fi_cancel_off();
    lock(r);
    rc = fi_published_check(view, FI_VIEW_MAGIC, "view"); /* two threads may do this at once */
    if (rc == 0) {
        fi_version_t *v = view->version;
        handle_free(view);
        rc = stop_viewing(r, v);
    }
    unlock(r);
    fi_cancel_restore(cancel);
    return rc;
}
