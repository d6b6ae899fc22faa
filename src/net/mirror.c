/* SPDX-License-Identifier: MIT */
#include "net/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/error.h"
#include "net/published.h"
#include "platform/clock.h"

#define ASK_NS INT64_C(1000000000)  /* who waits asks that often */
#define THERE_NS INT64_C(300000000) /* for the answer */
#define NOW_NS INT64_C(20000000)    /* the same, for who does not want to wait */
#define NAP_NS INT64_C(5000000)     /* until another mirror of this machine has become active */
#define ROOM_NS INT64_C(50000000)   /* that readers here may take to let go of a version */

struct fi_mirror {
    fi_net_t *net;
    struct fi_list link;
    uint32_t refs; /* readers; guarded by the shares' lock */
    char name[104];
    natsSubscription *inbox; /* BEGIN, PART */
    natsSubscription *news;  /* OPENED, CLOSED, YIELD */
    fi_net_watch_t watch;

    pthread_mutex_t lock; /* of what follows; held while a part is taken in */
    bool stopped;
    uint64_t epoch;       /* of the writer we know; 0: none */
    uint64_t writer;      /* its node */
    int64_t silent_since; /* its node does not answer; 0: it does */
    int64_t asked_at;
    int problem; /* why its versions cannot be had; 0: nothing */
    char words[512];

    /* active */
    bool active;
    ferry_region_writer_t *copy;
    uint64_t copy_epoch; /* whose versions it has */
    uint64_t has;        /* version; 0: none */
    uint64_t coming;     /* the one that is on its way */
    uint32_t transfer;
    uint32_t parts; /* of it, that have come */
    bool broken;    /* one is missing */
    bool whole;     /* all have come, but it is not published yet */
    char *buffer;   /* for one part, unpacked */
};

/* ---- the copy; with the lock held ---- */

static void close_copy(fi_mirror_t *m) {
    if (m->copy) {
        (void)fi_writer_close(m->copy);
        m->copy = NULL;
    }
    m->has = m->copy_epoch = 0;
    m->whole = false;
}

static void tell_writer(fi_mirror_t *m, enum fi_pub_kind kind, uint8_t flags) {
    char subject[FI_SUBJECT_MAX];
    fi_pub_frame_t f = fi_pub_frame(m->net, kind, m->epoch);

    fi_net_subject(m->net, subject, "pub", m->name);
    f.flags = flags;
    f.number = kind == FI_PUB_ACK ? m->coming : m->has;
    f.transfer = m->transfer;
    f.seq = m->parts;
    (void)fi_net_send(m->net, m->net->control, subject, &f, FI_PUB_HEAD);
}

static void say_hello(fi_mirror_t *m) {
    if (m->copy_epoch != m->epoch) {
        m->has = 0;
    }
    tell_writer(m, FI_PUB_HELLO, fi_pack_can() ? FI_PUB_PACKS : 0);
}

/* There is no writer elsewhere any more. */
static void forget_writer(fi_mirror_t *m) {
    close_copy(m);
    m->active = false;
    m->epoch = m->writer = 0;
    m->silent_since = 0;
    m->problem = 0;
}

static void note_problem(fi_mirror_t *m, int r) {
    m->problem = r;
    snprintf(m->words, sizeof m->words, "%s", fi_error_text());
}

static void know_writer(fi_mirror_t *m, const fi_pub_frame_t *info) {
    if (m->epoch != info->epoch) {
        m->problem = 0;
    }
    m->epoch = info->epoch;
    m->writer = info->node;
    m->silent_since = 0;
}

/* Another node of this machine has the copy. */
static void stay_passive(fi_mirror_t *m) {
    if (m->active) {
        tell_writer(m, FI_PUB_BYE, 0);
    }
    close_copy(m);
    m->active = false;
}

/* Asks who writes, and, if `wants`, for its versions. */
static void hear_of_writer(fi_mirror_t *m, const fi_pub_frame_t *info, bool wants) {
    if (info->epoch == 0 || (info->flags & FI_PUB_OPENING) || fi_net_is_near(m->net, info->node)) {
        return; /* what is near, shared memory reaches */
    }
    know_writer(m, info);
    if (wants) {
        m->active = true; /* if another one of this machine is quicker, it will have the copy */
        say_hello(m);
    }
}

/* 1: there is one; 0: nobody writes it, or who does is not connected; an error: it is not known. */
static int ask_writer(fi_mirror_t *m, bool wants, int64_t ms) {
    fi_pub_frame_t question = fi_pub_frame(m->net, FI_PUB_ASK, 0);
    fi_pub_frame_t info;

    m->asked_at = fi_now_ns();
    int r = fi_pub_ask(m->net, m->name, &question, ms, &info);
    if (r == 1 && (info.flags & FI_PUB_OPENING)) {
        return -EAGAIN; /* it asks whether another one does */
    }
    if (r == 1 && info.epoch != m->epoch) {
        wants |= m->active; /* the one that we knew has closed, and we were not connected then */
        forget_writer(m);
    }
    if (r == 1) {
        hear_of_writer(m, &info, wants && !m->active);
    }
    return r;
}

/* ---- what the writer sends; the inbox's thread, the lock is held ---- */

static void publish_copy(fi_mirror_t *m) {
    m->copy->version = m->coming - 1; /* versions have the numbers that their writer gave them */
    int r = fi_writer_publish(m->copy, ROOM_NS, NULL);
    if (r == 0) {
        m->whole = false;
        m->has = m->coming;
        tell_writer(m, FI_PUB_ACK, FI_PUB_DONE);
    } else if (r != -ETIMEDOUT && r != -EDQUOT && r != -EINTR) {
        note_problem(m, r);
    }
}

static bool open_copy(fi_mirror_t *m, const fi_pub_frame_t *f) {
    ferry_region_writer_options_t options = {.type_name = f->type[0] ? f->type : NULL};

    close_copy(m);
    int r = fi_writer_open(m->net->node, m->name, f->bytes, &options, &m->copy);
    if (r == -EEXIST) {
        stay_passive(m);
    } else if (r < 0) {
        note_problem(m, r);
        stay_passive(m);
    } else {
        m->copy_epoch = f->epoch;
    }
    return r == 0;
}

static void begin(fi_mirror_t *m, const fi_pub_frame_t *f) {
    if (m->epoch != f->epoch) {
        know_writer(m, f);
    }
    if ((!m->copy || m->copy_epoch != f->epoch || m->copy->bytes != f->bytes) && !open_copy(m, f)) {
        return;
    }
    m->coming = f->number;
    m->transfer = f->transfer;
    m->parts = 0;
    m->broken = m->whole = false;
}

/* Takes a part in. False: it is nonsense. */
static bool take_ranges(fi_mirror_t *m, const fi_pub_frame_t *f, const char *from) {
    const char *ranges = from;
    uint64_t bytes = m->copy->bytes;
    uint64_t left;

    if (f->ranges > FI_PUB_RANGES || f->bytes < f->ranges * UINT64_C(8)) {
        return false;
    }
    left = f->bytes - f->ranges * UINT64_C(8);
    from += f->ranges * UINT64_C(8);
    for (uint32_t i = 0; i < f->ranges; i++) {
        uint64_t range;
        memcpy(&range, ranges + i * UINT64_C(8), sizeof range);
        uint64_t at = (range >> 24) * FI_GRANULE;
        uint64_t len = (range & FI_PUB_RANGE_MAX) * FI_GRANULE;
        if (at >= bytes || len == 0) {
            return false;
        }
        len = len < bytes - at ? len : bytes - at;
        if (len > left) {
            return false;
        }
        memcpy(m->copy->data + at, from, len);
        fi_marks_add(&m->copy->touched, at, len);
        from += len;
        left -= len;
    }
    return left == 0;
}

static bool take_part(fi_mirror_t *m, const fi_pub_frame_t *f, const char *rest, size_t rest_bytes) {
    if (f->bytes > FI_PUB_PART_BYTES || fi_checksum((const unsigned char *)rest, rest_bytes) != f->check) {
        return false;
    }
    if (!(f->flags & FI_PUB_PACKED)) {
        return rest_bytes == f->bytes && take_ranges(m, f, rest);
    }
    return fi_unpack(rest, rest_bytes, m->buffer, f->bytes) && take_ranges(m, f, m->buffer);
}

static void part(fi_mirror_t *m, const fi_pub_frame_t *f, const char *rest, size_t rest_bytes) {
    if (!m->copy || f->epoch != m->copy_epoch || f->transfer != m->transfer || m->broken || m->whole) {
        return;
    }
    if (f->seq != m->parts || !take_part(m, f, rest, rest_bytes)) {
        m->broken = true; /* what is missing does not come: let it be sent again */
        say_hello(m);
        return;
    }
    m->parts++;
    m->whole = (f->flags & FI_PUB_LAST) != 0;
    tell_writer(m, FI_PUB_ACK, 0);
    if (m->whole) {
        publish_copy(m);
    }
}

static void receive(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_mirror_t *m = arg;
    size_t rest_bytes;
    const char *rest;
    fi_pub_frame_t f;

    (void)c;
    (void)sub;
    pthread_mutex_lock(&m->lock);
    if (m->active && !m->stopped && fi_pub_take(msg, &f, &rest, &rest_bytes)) {
        int r = fi_pub_check_version(&f, m->name);
        if (r < 0) {
            note_problem(m, r);
        } else if (f.kind == FI_PUB_BEGIN && f.epoch != 0 && f.number != 0) {
            begin(m, &f);
        } else if (f.kind == FI_PUB_PART) {
            part(m, &f, rest, rest_bytes);
        } else if (f.kind == FI_PUB_NUDGE && m->copy && m->whole && f.transfer == m->transfer) {
            publish_copy(m);
        }
    }
    pthread_mutex_unlock(&m->lock);
    fi_nats.natsMsg_Destroy(msg);
}

/* ---- what writers say to all ---- */

static void opened(fi_mirror_t *m, const fi_pub_frame_t *f) {
    if (m->epoch != 0) {
        forget_writer(m);
    }
    hear_of_writer(m, f, true);
}

static void hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_mirror_t *m = arg;
    fi_pub_frame_t f;

    (void)c;
    (void)sub;
    pthread_mutex_lock(&m->lock);
    if (!m->stopped && fi_pub_take(msg, &f, NULL, NULL) && f.version == FI_PUB_VERSION) {
        if (f.kind == FI_PUB_OPENED) {
            opened(m, &f);
        } else if ((f.kind == FI_PUB_CLOSED && f.epoch == m->epoch) || f.kind == FI_PUB_YIELD) {
            forget_writer(m);
        }
    }
    pthread_mutex_unlock(&m->lock);
    fi_nats.natsMsg_Destroy(msg);
}

/* A part may be lost, or the writer may have changed meanwhile. */
static void changed(void *arg, bool up) {
    fi_mirror_t *m = arg;

    pthread_mutex_lock(&m->lock);
    if (up && m->active && !m->stopped) {
        say_hello(m);
    }
    m->asked_at = 0; /* who waits asks at once */
    pthread_mutex_unlock(&m->lock);
}

/* ---- joining and leaving ---- */

static void stop(fi_mirror_t *m) {
    pthread_mutex_lock(&m->lock);
    bool was_stopped = m->stopped;
    m->stopped = true;
    pthread_mutex_unlock(&m->lock);
    if (was_stopped) {
        return;
    }
    fi_net_unwatch(m->net, &m->watch);
    pthread_mutex_lock(&m->lock);
    if (m->active) {
        tell_writer(m, FI_PUB_BYE, 0);
    }
    close_copy(m);
    m->active = false;
    pthread_mutex_unlock(&m->lock);
    fi_net_unsubscribe(m->net, m->net->bulk, m->inbox);
    m->inbox = NULL;
    fi_net_unsubscribe(m->net, m->net->control, m->news);
    m->news = NULL;
}

static void free_mirror(fi_mirror_t *m) {
    pthread_mutex_destroy(&m->lock);
    free(m->buffer);
    free(m);
}

static int start(fi_mirror_t *m) {
    char subject[FI_SUBJECT_MAX];

    m->buffer = malloc(FI_PUB_PART_BYTES);
    if (!m->buffer) {
        return fi_fail(-ENOMEM, "no memory for a reader of the region \"%s\"", m->name);
    }
    fi_net_subject(m->net, subject, "pubnews", m->name);
    int r = fi_net_subscribe(m->net, m->net->control, subject, NULL, hear, m, &m->news);
    if (r == 0) {
        fi_pub_subject_to(m->net, subject, m->name, m->net->node->id);
        r = fi_net_subscribe(m->net, m->net->bulk, subject, NULL, receive, m, &m->inbox);
    }
    if (r == 0) {
        m->watch = (fi_net_watch_t){.changed = changed, .arg = m};
        fi_net_watch(m->net, &m->watch);
        /* The server knows of our inbox before the writer hears of us. */
        (void)fi_net_flush(m->net, m->net->bulk, FI_NET_ASK_MS);
    } else {
        fi_net_unsubscribe(m->net, m->net->bulk, m->inbox);
        m->inbox = NULL;
        fi_net_unsubscribe(m->net, m->net->control, m->news);
        m->news = NULL;
    }
    return r;
}

/* With the shares' lock held: one of that name. */
static fi_mirror_t *find(fi_net_t *net, const char *name) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &net->shares->mirrors) {
        fi_mirror_t *m = fi_container(at, fi_mirror_t, link);
        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

static int get(fi_net_t *net, const char *name, fi_mirror_t **out) {
    int r = 0;

    pthread_mutex_lock(&net->shares->lock);
    fi_mirror_t *m = find(net, name);
    if (!m) {
        m = calloc(1, sizeof *m);
        r = m ? 0 : fi_fail(-ENOMEM, "no memory for a reader of the region \"%s\"", name);
        if (m) {
            m->net = net;
            snprintf(m->name, sizeof m->name, "%s", name);
            pthread_mutex_init(&m->lock, NULL);
            r = start(m);
            if (r < 0) {
                free_mirror(m);
            } else {
                fi_list_add_tail(&net->shares->mirrors, &m->link);
            }
        }
    }
    if (r == 0) {
        m->refs++;
        *out = m;
    }
    pthread_mutex_unlock(&net->shares->lock);
    return r;
}

/* What a writer elsewhere says of itself must fit what the reader expects. */
static int compare(const fi_mirror_t *m, const fi_pub_frame_t *info, const ferry_region_reader_options_t *o) {
    if (o && o->bytes != 0 && o->bytes != info->bytes) {
        return fi_fail(-EPROTOTYPE,
                       "the region \"%s\" is published with %" PRIu64 " bytes, here %" PRIu64 " are expected", m->name,
                       info->bytes, o->bytes);
    }
    if (o && o->type_name && info->type[0] && strcmp(o->type_name, info->type) != 0) {
        return fi_fail(-EPROTOTYPE, "the region \"%s\" is published with the type \"%s\", here \"%s\" is expected",
                       m->name, info->type, o->type_name);
    }
    return 0;
}

static int look_for_writer(fi_mirror_t *m, const ferry_region_reader_options_t *o, bool wants) {
    fi_pub_frame_t question = fi_pub_frame(m->net, FI_PUB_ASK, 0);
    fi_pub_frame_t info;

    int r = fi_pub_ask(m->net, m->name, &question, FI_NET_ASK_MS, &info);
    if (r != 1) {
        return r == -EPROTO ? r : 0; /* no answer now: who waits asks again */
    }
    r = compare(m, &info, o);
    if (r == 0) {
        pthread_mutex_lock(&m->lock);
        if (!m->active) {
            hear_of_writer(m, &info, wants);
        }
        pthread_mutex_unlock(&m->lock);
    }
    return r;
}

int fi_mirror_join(fi_net_t *net, ferry_region_reader_t *reader, const ferry_region_reader_options_t *o) {
    fi_mirror_t *m = NULL;

    int r = get(net, reader->name, &m);
    if (r < 0) {
        return r;
    }
    reader->mirror = m;
    return look_for_writer(m, o, !fi_reader_is_linked(reader));
}

void fi_mirror_leave(fi_mirror_t *m) {
    pthread_mutex_lock(&m->net->shares->lock);
    bool last = --m->refs == 0;
    if (last) {
        fi_list_remove(&m->link);
    }
    pthread_mutex_unlock(&m->net->shares->lock);
    if (last) {
        stop(m);
        free_mirror(m);
    }
}

void fi_mirror_yield(fi_net_t *net, const char *name) {
    pthread_mutex_lock(&net->shares->lock);
    fi_mirror_t *m = find(net, name);
    if (m) {
        pthread_mutex_lock(&m->lock);
        forget_writer(m);
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_unlock(&net->shares->lock);
}

void fi_mirrors_stop(fi_net_t *net) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &net->shares->mirrors) {
        stop(fi_container(at, fi_mirror_t, link));
    }
}

void fi_mirrors_free(fi_net_t *net) {
    while (!fi_list_empty(&net->shares->mirrors)) {
        fi_mirror_t *m = fi_container(net->shares->mirrors.next, fi_mirror_t, link);
        fi_list_remove(&m->link);
        free_mirror(m);
    }
}

/* ---- waiting ---- */

/* It has not answered for long: it has closed, and we did not hear that, or its node has gone. */
static void give_writer_up(fi_mirror_t *m, bool linked) {
    if (linked && !m->active) { /* by the copy of a process in which nobody may be waiting */
        fi_pub_announce(m->net, m->name, FI_PUB_YIELD, 0);
    }
    forget_writer(m);
}

/* Somebody waits: is the writer there? With the lock held. */
static void look_after(fi_mirror_t *m, bool linked, int64_t patience) {
    int64_t now = fi_now_ns();

    if (m->stopped || !fi_net_is_up(m->net) || (m->asked_at != 0 && now - m->asked_at < ASK_NS)) {
        return;
    }
    bool was_active = m->active;
    int there = ask_writer(m, !linked, patience / 1000000);
    if (there == 1 && was_active && m->active && !m->copy && !m->problem) {
        say_hello(m); /* the first one may not have been heard */
    } else if (there == 0 && m->writer != 0) {
        m->silent_since = m->silent_since ? m->silent_since : now;
        if (now - m->silent_since >= FI_NET_DEAD_NS - ASK_NS) {
            give_writer_up(m, linked);
        } else {
            m->asked_at = now - ASK_NS / 2;
        }
    }
}

/* One try at what the reader wants. */
typedef int try_fn(ferry_region_reader_t *r, int64_t timeout, void *arg);

static int problem_of(fi_mirror_t *m) {
    int r = m->problem;

    return r < 0 ? fi_fail(r, "%s", m->words) : 0;
}

/* There is no version, since `r`: 0: go on waiting; or how the wait ends. */
static int go_on(fi_mirror_t *m, ferry_region_reader_t *reader, int r, int64_t patience) {
    bool linked = fi_reader_is_linked(reader);

    pthread_mutex_lock(&m->lock);
    if (r == -EPIPE && !linked && m->writer != 0 && !m->active) {
        m->asked_at = 0; /* the process that had the copy has gone: ours is next */
    }
    look_after(m, linked, patience);
    int problem = problem_of(m);
    bool alive = m->writer != 0;
    pthread_mutex_unlock(&m->lock);
    return problem < 0 ? problem : r == -EPIPE && !alive ? r : 0;
}

static void nap(const fi_mirror_t *m, int64_t left) {
    if (left > 0 && !fi_node_is_shut(m->net->node)) {
        fi_sleep_until(fi_now_ns() + (left < NAP_NS ? left : NAP_NS));
    }
}

static int until(fi_mirror_t *m, ferry_region_reader_t *reader, int64_t timeout, try_fn *try, void *arg) {
    int64_t deadline = fi_deadline(timeout);

    for (;;) {
        int64_t left = timeout == FERRY_NOW ? 0 : fi_time_left(deadline);
        int r = try(reader, left < ASK_NS / 2 ? left : ASK_NS / 2, arg);
        if (r != -ETIMEDOUT && r != -EPIPE && r != -EAGAIN) {
            return r;
        }
        int ends = go_on(m, reader, r, timeout == FERRY_NOW ? NOW_NS : THERE_NS);
        if (ends < 0) {
            return ends == r ? try(reader, FERRY_NOW, arg) : ends; /* with its words, or what came meanwhile */
        }
        left = timeout == FERRY_NOW ? 0 : fi_time_left(deadline);
        if (left == 0) {
            return fi_fail(timeout == FERRY_NOW ? -EAGAIN : -ETIMEDOUT,
                           "no such version of the region \"%s\" has come from its writer%s", m->name,
                           timeout == FERRY_NOW ? " yet" : " before the timeout");
        }
        if (r == -EPIPE) {
            nap(m, left);
        }
    }
}

static int try_view(ferry_region_reader_t *r, int64_t timeout, void *arg) {
    return fi_reader_view(r, timeout, arg);
}

int fi_mirror_view(fi_mirror_t *m, ferry_region_reader_t *r, int64_t timeout, ferry_region_view_t **view) {
    return until(m, r, timeout, try_view, view);
}

static int try_wait(ferry_region_reader_t *r, int64_t timeout, void *arg) {
    return fi_reader_wait(r, *(uint64_t *)arg, timeout);
}

int fi_mirror_wait(fi_mirror_t *m, ferry_region_reader_t *r, uint64_t version, int64_t timeout) {
    return until(m, r, timeout, try_wait, &version);
}
