/* SPDX-License-Identifier: MIT
 *
 * What a publisher hears, and what its writer's thread does. See publisher.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/mirror.h"
#include "net/publisher_inside.h"
#include "platform/clock.h"
#include "platform/condition.h"

static void stir(fi_publisher_t *p) {
    pthread_cond_signal(&p->stir);
}

/* ---- listening; the listener's thread ---- */

static int start_sending(fi_publisher_t *p) {
    size_t bytes = FI_PUB_HEAD + FI_PUB_PART_BYTES;
    sigset_t before;

    if (p->sends) {
        return 0;
    }
    p->part = p->part ? p->part : malloc(bytes);
    p->packed = p->packed ? p->packed : malloc(bytes);
    if (!p->part || !p->packed) {
        return -ENOMEM;
    }
    fi_net_signals_off(&before);
    int r = pthread_create(&p->sender, NULL, fi_publisher_send_on, p);
    fi_net_signals_restore(&before);
    p->sends = r == 0;
    return -r;
}

static void greeted(fi_publisher_t *p, const fi_pub_frame_t *f) {
    fi_far_reader_t *r = fi_far_reader_find(p, f->node);

    if (!p->open || p->stopping || start_sending(p) < 0) {
        return;
    }
    if (!r) {
        r = fi_far_reader_new(p, f->node);
    } else {
        r->greeted = true;
        r->claims = f->epoch == p->epoch ? f->number : 0;
    }
    if (r) {
        r->packs = (f->flags & FI_PUB_PACKS) && fi_pack_can();
        r->gone = false;
        r->heard_at = fi_now_ns();
    }
}

static void acknowledged(fi_publisher_t *p, const fi_pub_frame_t *f) {
    fi_far_reader_t *r = fi_far_reader_find(p, f->node);

    if (!r || f->epoch != p->epoch) {
        return;
    }
    r->heard_at = fi_now_ns();
    if (f->transfer == r->came_transfer) {
        r->came = f->seq > r->came ? f->seq : r->came;
    } else if ((int32_t)(f->transfer - r->came_transfer) > 0) {
        r->came_transfer = f->transfer;
        r->came = f->seq;
    }
    if (f->flags & FI_PUB_DONE) {
        r->done_transfer = f->transfer;
    }
}

static void hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_publisher_t *p = arg;
    fi_pub_frame_t f;
    fi_pub_frame_t info;

    (void)c;
    (void)sub;
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    if (fi_pub_take(msg, &f, NULL, NULL)) {
        pthread_mutex_lock(&p->lock);
        info = fi_publisher_introduction(p, FI_PUB_INFO);
        if (f.version == FI_PUB_VERSION) {
            fi_far_reader_t *r = f.kind == FI_PUB_BYE ? fi_far_reader_find(p, f.node) : NULL;
            if (r) {
                r->gone = true;
            } else if (f.kind == FI_PUB_HELLO) {
                greeted(p, &f);
            } else if (f.kind == FI_PUB_ACK) {
                acknowledged(p, &f);
            }
            stir(p);
        }
        pthread_mutex_unlock(&p->lock);
        if (reply) {
            (void)fi_net_send(p->net, p->net->control, reply, &info, sizeof info);
        }
    }
    fi_nats.natsMsg_Destroy(msg);
}

/* What was under way when the connection was lost may not have come. */
static void changed(void *arg, bool up) {
    fi_publisher_t *p = arg;
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&p->lock);
    fi_list_each(at, after, &p->readers) {
        fi_far_reader_t *r = fi_container(at, fi_far_reader_t, link);
        r->lost |= up;
        r->heard_at = fi_now_ns();
    }
    stir(p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- the writer's thread ---- */

static void touched(fi_writer_far_t *far, const fi_marks_t *marks) {
    fi_publisher_t *p = fi_container(far, fi_publisher_t, far);

    fi_marks_join(&p->pending, marks);
}

static void published(fi_writer_far_t *far, const ferry_msg_t *message, uint64_t version) {
    fi_publisher_t *p = fi_container(far, fi_publisher_t, far);
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&p->lock);
    fi_list_each(at, after, &p->readers) {
        fi_marks_join(&fi_container(at, fi_far_reader_t, link)->stale, &p->pending);
    }
    p->newest = message;
    p->version = version;
    stir(p);
    pthread_mutex_unlock(&p->lock);
    fi_marks_clear(&p->pending);
}

static void figures(fi_writer_far_t *far, ferry_region_writer_stats_t *stats) {
    fi_publisher_t *p = fi_container(far, fi_publisher_t, far);

    stats->sent_bytes = fi_load_relaxed64(&p->sent_bytes);
    pthread_mutex_lock(&p->lock);
    stats->far_readers = p->count;
    pthread_mutex_unlock(&p->lock);
}

/* ---- beginning and end ---- */

static void stop(fi_publisher_t *p) {
    bool was_open;

    pthread_mutex_lock(&p->lock);
    was_open = p->open;
    p->stopping = true;
    p->open = false;
    stir(p);
    pthread_mutex_unlock(&p->lock);
    if (p->watching) {
        fi_net_unwatch(p->net, &p->watch);
    }
    fi_net_unsubscribe(p->net, p->net->control, p->ear);
    p->ear = NULL;
    if (p->sends) {
        pthread_join(p->sender, NULL);
    }
    if (was_open) {
        fi_pub_announce(p->net, p->name, FI_PUB_CLOSED, p->epoch);
    }
    pthread_mutex_lock(&p->net->shares->lock);
    fi_list_remove(&p->link);
    pthread_mutex_unlock(&p->net->shares->lock);
    while (!fi_list_empty(&p->readers)) {
        fi_far_reader_free(p, fi_container(p->readers.next, fi_far_reader_t, link));
    }
    fi_marks_done(&p->pending);
    free(p->part);
    free(p->packed);
    pthread_cond_destroy(&p->stir);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void ended(fi_writer_far_t *far) {
    stop(fi_container(far, fi_publisher_t, far));
}

void fi_publisher_drop(fi_publisher_t *p) {
    stop(p);
}

void fi_publishers_stop(fi_net_t *net) {
    for (;;) {
        pthread_mutex_lock(&net->shares->lock);
        struct fi_list *at = fi_list_empty(&net->shares->publishers) ? NULL : net->shares->publishers.next;
        pthread_mutex_unlock(&net->shares->lock);
        if (!at) {
            return;
        }
        fi_publisher_t *p = fi_container(at, fi_publisher_t, link);
        if (p->writer) {
            p->writer->far = NULL;
        }
        stop(p);
    }
}

static int somebody_writes(const char *name, const char *host, uint64_t node) {
    return fi_fail(-EEXIST,
                   "the region \"%s\" has a writer already, on the machine %.64s (node ..%08x): there is one at a time",
                   name, host, (unsigned)node);
}

int fi_publisher_claim(fi_net_t *net, const char *name, fi_publisher_t **out) {
    fi_pub_frame_t question = fi_pub_frame(net, FI_PUB_ASK, 0);
    char subject[FI_SUBJECT_MAX];
    fi_pub_frame_t info;

    fi_publisher_t *p = calloc(1, sizeof *p);
    if (!p) {
        return fi_fail(-ENOMEM, "no memory for a writer of the region \"%s\"", name);
    }
    p->net = net;
    p->epoch = (fi_process_number() ^ (uint64_t)fi_now_ns() << 20) | 1;
    p->far.touched = touched;
    p->far.published = published;
    p->far.ended = ended;
    p->far.figures = figures;
    snprintf(p->name, sizeof p->name, "%s", name);
    fi_list_init(&p->readers);
    pthread_mutex_init(&p->lock, NULL);
    fi_condition_init(&p->stir);
    pthread_mutex_lock(&net->shares->lock);
    fi_list_add_tail(&net->shares->publishers, &p->link);
    pthread_mutex_unlock(&net->shares->lock);
    /* First say that we will, then ask: of two who begin at once, one at least hears of the other; the smaller number
     * goes on. */
    fi_net_subject(net, subject, "pub", name);
    int r = fi_net_subscribe(net, net->control, subject, NULL, hear, p, &p->ear);
    r = r == 0 ? fi_pub_ask(net, name, &question, FI_NET_ASK_MS, &info) : r;
    if (r == 1 && (info.flags & FI_PUB_OPENING) && info.node > net->node->id) {
        r = 0;
    }
    if (r != 0) {
        r = r == 1 ? somebody_writes(name, info.host, info.node) : r;
        stop(p);
        return r;
    }
    *out = p;
    return 0;
}

int fi_publisher_start(fi_publisher_t *p, ferry_region_writer_t *w, const char *type) {
    int r = fi_marks_init(&p->pending, w->bytes);

    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&p->lock);
    p->writer = w;
    p->bytes = w->bytes;
    snprintf(p->type, sizeof p->type, "%s", type ? type : "");
    p->open = true;
    pthread_mutex_unlock(&p->lock);
    w->far = &p->far;
    p->watch = (fi_net_watch_t){.changed = changed, .arg = p};
    p->watching = true;
    fi_net_watch(p->net, &p->watch);
    fi_pub_announce(p->net, p->name, FI_PUB_OPENED, p->epoch);
    return 0;
}

void fi_publisher_ask_to_yield(fi_net_t *net, const char *name) {
    fi_pub_announce(net, name, FI_PUB_YIELD, 0);
    fi_mirror_yield(net, name);
}
