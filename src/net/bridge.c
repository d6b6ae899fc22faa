/* SPDX-License-Identifier: MIT
 *
 * The bridge's thread and its box.
 */
#include "net/bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/durable.h"
#include "net/lease.h"
#include "net/parcel.h"
#include "net/plain.h"
#include "platform/clock.h"
#include "platform/condition.h"

#define EVENTS 64
#define SHORT_NAP_NS 1000000ll   /* between looks at what own receivers have released, */
#define LONG_NAP_NS 64000000ll   /* when they take their time */
#define COUNT_NS 1000000ll       /* messages are counted for so long; */
#define DENSE 16                 /* with so many of them they come densely, */
#define GATHER_NS 300000ll       /* and are taken together after this */
#define DROPPED_BYTES (1u << 20) /* messages of so many bytes are not kept for being destroyed together, */
#define DROPPED_HEAD 512u        /* with about so many for what is no data */
#define FAREWELL_MS 500

/* ---- the box ---- */

void fi_bridge_post(fi_bridge_t *b, fi_box_item_t *item) {
    uint64_t one = 1;

    pthread_mutex_lock(&b->lock);
    bool first = fi_list_empty(&b->box);
    fi_list_add_tail(&b->box, &item->link);
    pthread_mutex_unlock(&b->lock);
    if (first && write(b->bell, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
}

void fi_bridge_post_message(fi_bridge_t *b, enum fi_box_kind kind, uint32_t number, natsMsg *msg) {
    fi_box_item_t *item = calloc(1, sizeof *item);

    if (!item) {
        fi_nats.natsMsg_Destroy(msg); /* it will be missed, and sent again */
        return;
    }
    item->kind = kind;
    item->number = number;
    item->msg = msg;
    fi_bridge_post(b, item);
}

/* ---- dropped messages ---- */

static void destroy_dropped(fi_bridge_t *b) {
    while (b->dropped_count > 0) {
        fi_nats.natsMsg_Destroy(b->dropped[--b->dropped_count]);
    }
    b->dropped_bytes = 0;
}

/*
 * The library frees messages in a thread of its own (its garbage collector), and whoever destroys one wakes it if it
 * sleeps, which costs far more than to free one.  Together they wake it once.
 */
void fi_bridge_drop(fi_bridge_t *b, natsMsg *msg) {
    if (!msg) {
        return;
    }
    b->dropped[b->dropped_count++] = msg;
    b->dropped_bytes += DROPPED_HEAD + (size_t)fi_nats.natsMsg_GetDataLength(msg);
    if (b->dropped_count == FI_BRIDGE_DROPPED || b->dropped_bytes >= DROPPED_BYTES) {
        destroy_dropped(b);
    }
}

/* While there is something to do, or soon will be, they are kept for later. True: some are left. */
static bool tidy(fi_bridge_t *b) {
    if (!b->progress && !b->dense) {
        destroy_dropped(b);
    }
    return b->dropped_count > 0;
}

/* ---- arriving ---- */

static void arrived(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    (void)c;
    (void)sub;
    fi_bridge_post_message(arg, FI_BOX_MSG, 0, msg);
}

int fi_bridge_listen(fi_bridge_t *b, const char *subject, natsSubscription **sub) {
    return fi_net_subscribe(b->net, b->net->bulk, subject, NULL, arrived, b, sub);
}

static void connection_changed(void *arg, bool up) {
    fi_box_item_t *item = up ? calloc(1, sizeof *item) : NULL;

    if (item) {
        item->kind = FI_BOX_UP;
        fi_bridge_post(arg, item);
    }
}

void fi_bridge_wake(const fi_bridge_t *b) {
    uint64_t one = 1;

    (void)!write(b->bell, &one, sizeof one);
}

bool fi_bridge_is_its_thread(const fi_bridge_t *b) {
    return pthread_equal(pthread_self(), b->thread) != 0;
}

/* The next turn makes it anew. */
static void way_torn(void *arg) {
    fi_bridge_wake(arg);
}

static void denied(void *arg, const char *words) {
    fi_box_item_t *item = calloc(1, sizeof *item);

    if (item && (item->text = strdup(words)) != NULL) { /* without memory it is a time-out, as without words */
        item->kind = FI_BOX_DENIED;
        fi_bridge_post(arg, item);
        return;
    }
    free(item);
}

/* Who asks is heard before the bridge is there, and after it has gone. */
void fi_bridge_ask_all(fi_net_t *net, natsMsg *msg) {
    fi_box_item_t *item = calloc(1, sizeof *item);

    pthread_mutex_lock(&net->lock);
    if (item && net->answers) {
        item->kind = FI_BOX_INQUIRY;
        item->msg = msg;
        fi_bridge_post(net->bridge, item);
        item = NULL;
        msg = NULL;
    }
    pthread_mutex_unlock(&net->lock);
    free(item);
    if (msg) {
        fi_nats.natsMsg_Destroy(msg);
    }
}

/* Does the bridge take inquiries? */
static void answers(fi_net_t *net, bool it_does) {
    pthread_mutex_lock(&net->lock);
    net->answers = it_does;
    pthread_mutex_unlock(&net->lock);
}

/* ---- the thread ---- */

/* Its first bytes are a head's in every version. */
static void meet_stranger(fi_bridge_t *b, const fi_far_frame_t *f) {
    fi_net_card_t card = {.node = f->head.node, .version = f->head.version};

    if (f->head.type == FI_FAR_HELLO) {
        snprintf(card.name, sizeof card.name, "%s", f->channel);
        snprintf(card.host, sizeof card.host, "%.63s", f->text);
    }
    fi_net_meet_stranger(b->net, &card);
    if (f->head.type == FI_FAR_HELLO) {
        fi_far_introduce(b, f->head.node); /* it shall learn of us, too */
    }
}

/* A frame from the wire, with what was cut off as zeros and its strings ended. False: it is none, or of another
 * version. */
static bool take_frame(fi_bridge_t *b, natsMsg *msg, fi_far_frame_t *f) {
    int len = fi_nats.natsMsg_GetDataLength(msg);

    if (len < (int)FI_FAR_HEAD) {
        return false;
    }
    memset(f, 0, sizeof *f);
    memcpy(&f->head, fi_nats.natsMsg_GetData(msg), FI_FAR_HEAD);
    size_t wanted = f->head.type == FI_FAR_DATA ? FI_FAR_HEAD : sizeof *f;
    memcpy(f, fi_nats.natsMsg_GetData(msg), fi_min((size_t)len, wanted));
    f->channel[sizeof f->channel - 1] = f->text[sizeof f->text - 1] = '\0';
    f->contract.type_name[sizeof f->contract.type_name - 1] = '\0';
    if (f->head.magic == FI_FAR_MAGIC && f->head.version != FI_NET_VERSION) {
        meet_stranger(b, f);
    }
    return f->head.magic == FI_FAR_MAGIC && f->head.version == FI_NET_VERSION;
}

/* "No responders": the last word of the subject says whose. */
static void take_silence(fi_bridge_t *b, natsMsg *msg) {
    const char *word = strrchr(fi_nats.natsMsg_GetSubject(msg), '.');

    if (word) {
        fi_far_silent(b, strtoull(word + 1, NULL, 16));
    }
}

/* One that was far stays so: its node does not move to another machine. */
static bool is_far(fi_bridge_t *b, uint64_t node) {
    return fi_far_find(b, node) || !fi_net_is_near(b->net, node);
}

static void take_message(fi_bridge_t *b, fi_box_item_t *item) {
    fi_far_frame_t f;

    if (fi_nats.natsMsg_IsNoResponders(item->msg)) {
        take_silence(b, item->msg);
    } else if (take_frame(b, item->msg, &f) && is_far(b, f.head.node) && !fi_far_node_frame(b, &f)) {
        fi_far_node_t *n = fi_far_find(b, f.head.node);
        if (n && f.head.type == FI_FAR_DATA) {
            fi_in_data(b, n, &f.head, item->msg);
            free(item);
            return;
        }
        if (n) {
            fi_meet_frame(b, n, &f);
        }
    }
    fi_bridge_drop(b, item->msg);
    free(item);
}

static void take_item(fi_bridge_t *b, fi_box_item_t *item) {
    switch (item->kind) {
    case FI_BOX_MSG:
        take_message(b, item);
        return;
    case FI_BOX_OPENED:
        fi_meet_own(b, item);
        break;
    case FI_BOX_CLOSING:
        fi_meet_closing(b, item->own.id);
        break;
    case FI_BOX_TOKEN:
        fi_deposit_token(b, &item->own, item->from, item->token);
        fi_asking_end(b, item->asking);
        break;
    case FI_BOX_UP:
        fi_far_hello(b);
        fi_meet_again(b, 0);
        fi_out_again(b);
        fi_deposit_again(b);
        fi_reader_again(b);
        break;
    case FI_BOX_STORED:
        b->singles++;
        fi_deposit_answer(b, item->msg);
        fi_bridge_drop(b, item->msg);
        break;
    case FI_BOX_READ:
        b->singles++;
        fi_reader_arrived(b, item->number, item->msg);
        break;
    case FI_BOX_HEARD:
        fi_ear_arrived(b, item->number, item->msg);
        break;
    case FI_BOX_PIECE:
        fi_parcel_arrived(b, item->msg);
        fi_bridge_drop(b, item->msg);
        break;
    case FI_BOX_DENIED:
        fi_meet_denied(b, item->text);
        fi_out_denied(b, item->text);
        fi_deposit_denied(b, item->text);
        fi_plain_denied(b, item->text);
        free(item->text);
        break;
    case FI_BOX_INQUIRY:
        if (fi_purge_is_asked(b, item->msg)) {
            fi_bridge_drop(b, item->msg);
        } else {
            fi_inquiry_begin(b, item->msg);
        }
        break;
    case FI_BOX_WATCH:
        fi_far_watch_changed(b, item->watch);
        break;
    }
    free(item);
}

static void empty_box(fi_bridge_t *b) {
    struct fi_list items;

    fi_list_init(&items);
    pthread_mutex_lock(&b->lock);
    while (!fi_list_empty(&b->box)) {
        struct fi_list *first = b->box.next;
        fi_list_remove(first);
        fi_list_add_tail(&items, first);
    }
    pthread_mutex_unlock(&b->lock);
    b->progress |= !fi_list_empty(&items);
    while (!fi_list_empty(&items)) {
        fi_box_item_t *item = fi_container(items.next, fi_box_item_t, link);
        fi_list_remove(&item->link);
        take_item(b, item);
    }
}

static void sleep_until_something(fi_bridge_t *b, int64_t ns) {
    struct epoll_event events[EVENTS];
    uint64_t count;

    int n = epoll_wait(b->epoll, events, EVENTS, ns < 0 ? -1 : (int)((ns + 999999) / 1000000));
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr) {
            if (read(b->bell, &count, sizeof count) < 0) {
                /* somebody else's wake-up was counted already */
            }
        } else {
            *(bool *)events[i].data.ptr = true;
        }
    }
}

static bool is_stopping(fi_bridge_t *b) {
    pthread_mutex_lock(&b->lock);
    bool stopping = b->stopping && fi_list_empty(&b->box);
    pthread_mutex_unlock(&b->lock);
    return stopping;
}

/*
 * The engine's messages about durable channels come one by one. To be woken for each would cost more than all else; so
 * where they come densely, a moment passes between turns, and they are taken together.
 */
static void gather(fi_bridge_t *b) {
    int64_t now = b->singles > 0 || b->dense ? fi_now_ns() : 0;

    if (now - b->counted_at > COUNT_NS) {
        b->dense = b->singles * COUNT_NS >= DENSE * (now - b->counted_at);
        b->counted_at = now;
        b->singles = 0;
    }
    if (b->dense) {
        fi_sleep_until(now + GATHER_NS);
    }
}

static void *bridge_main(void *arg) {
    fi_bridge_t *b = arg;
    int64_t nap = SHORT_NAP_NS;

    (void)pthread_setname_np(pthread_self(), "ferry-bridge");
    while (!is_stopping(b)) {
        b->progress = false;
        gather(b);
        fi_way_hear(b->net);
        empty_box(b);
        int64_t ns = fi_far_look_after(b);
        bool waits = false;
        ns = fi_sooner(ns, fi_leases_touch(b->net));
        ns = fi_sooner(ns, fi_way_mend(b->net));
        bool more = fi_out_turn(b, &waits);
        waits |= fi_in_turn(b);
        more |= fi_deposit_turn(b, &ns, &waits);
        more |= fi_plain_turn(b, &waits);
        waits |= fi_pickup_turn(b, &ns);
        ns = fi_sooner(ns, fi_pickup_late_turn(b));
        waits |= fi_reader_turn(b, &ns);
        ns = fi_sooner(ns, fi_meet_settle(b));
        ns = fi_sooner(ns, fi_inquiry_turn(b));
        fi_way_flush(b->net);
        ns = fi_sooner(ns, fi_way_watch(b->net));
        more |= tidy(b);
        nap = b->progress ? SHORT_NAP_NS : fi_earlier(2 * nap, LONG_NAP_NS);
        sleep_until_something(b, more || is_stopping(b) ? 0 : waits ? fi_sooner(ns, nap) : ns);
    }
    return NULL;
}

/* ---- opening and closing ---- */

static int listen_to_all(fi_bridge_t *b) {
    char subject[FI_SUBJECT_MAX];

    fi_net_node_subject(b->net, subject, b->net->node->id, NULL);
    int r = fi_bridge_listen(b, subject, &b->direct);
    if (r == 0) {
        fi_net_node_subject(b->net, subject, b->net->node->id, "r.*");
        r = fi_bridge_listen(b, subject, &b->replies);
    }
    if (r == 0) {
        fi_net_subject(b->net, subject, "all", NULL);
        r = fi_bridge_listen(b, subject, &b->all);
    }
    return r;
}

static void free_bridge(fi_bridge_t *b) {
    fi_net_unsubscribe(b->net, b->net->bulk, b->direct);
    fi_net_unsubscribe(b->net, b->net->bulk, b->replies);
    fi_net_unsubscribe(b->net, b->net->bulk, b->all);
    fi_net_unsubscribe(b->net, b->net->bulk, b->answers);
    fi_net_unsubscribe(b->net, b->net->bulk, b->pieces);
    while (!fi_list_empty(&b->box)) {
        fi_box_item_t *item = fi_container(b->box.next, fi_box_item_t, link);
        fi_list_remove(&item->link);
        fi_nats.natsMsg_Destroy(item->msg);
        free(item->text);
        free(item->asking);
        free(item);
    }
    destroy_dropped(b);
    if (b->epoll >= 0) {
        close(b->epoll);
    }
    if (b->bell >= 0) {
        close(b->bell);
    }
    pthread_cond_destroy(&b->answered);
    pthread_mutex_destroy(&b->lock);
    free(b->buffer);
    free(b);
}

static void init(fi_bridge_t *b, fi_net_t *net) {
    b->net = net;
    pthread_mutex_init(&b->lock, NULL);
    fi_condition_init(&b->answered);
    fi_list_init(&b->box);
    fi_list_init(&b->nodes);
    fi_list_init(&b->owns);
    fi_list_init(&b->askings);
    fi_list_init(&b->inquiries);
    fi_list_init(&b->watches);
    fi_list_init(&b->outwards);
    fi_list_init(&b->inwards);
    fi_list_init(&b->hearings);
    fi_list_init(&b->noted);
    fi_list_init(&b->deposits);
    fi_list_init(&b->pickups);
    fi_list_init(&b->lates);
    fi_list_init(&b->readers);
    fi_list_init(&b->plains);
    fi_list_init(&b->ears);
    fi_list_init(&b->parcels);
    b->watch = (fi_net_watch_t){.changed = connection_changed, .denied = denied, .torn = way_torn, .arg = b};
    b->piece = fi_min((size_t)FI_FAR_PIECE + FI_FAR_LEAD, net->max_payload);
    b->buffer = malloc(b->piece);
    b->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
}

static int start(fi_bridge_t *b) {
    struct epoll_event ev = {.events = EPOLLIN};

    if (!b->buffer) {
        return fi_fail(-ENOMEM, "no memory for a networked space");
    }
    if (b->bell < 0 || b->epoll < 0 || epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->bell, &ev) < 0) {
        return fi_fail_errno(errno, "cannot create the descriptors that a networked space waits on");
    }
    int r = listen_to_all(b);
    if (r < 0) {
        return r;
    }
    fi_far_hello(b);
    int err = pthread_create(&b->thread, NULL, bridge_main, b); /* with all signals blocked: fi_net_open does that */
    if (err) {
        return fi_fail_errno(err, "cannot start a networked space's thread " FI_SEE_THREAD_LIMITS);
    }
    return 0;
}

int fi_bridge_open(fi_net_t *net) {
    fi_bridge_t *b = calloc(1, sizeof *b);

    if (!b) {
        return fi_fail(-ENOMEM, "no memory for a networked space");
    }
    init(b, net);
    net->node->far = &fi_far_ops; /* the bridge's thread looks at it, when it closes hidden ends */
    int r = start(b);
    if (r < 0) {
        net->node->far = NULL;
        free_bridge(b);
        return r;
    }
    net->bridge = b;
    net->way.epoll = b->epoll;
    fi_net_watch(net, &b->watch);
    answers(net, true);
    net->node->net = net;
    return fi_far_wait_for_cards(b);
}

/* What was said last must leave this process: others would go on with what they have not heard of. A connection that
 * is being made again is not touched before it stands: libnats holds its lock meanwhile. */
static void say_farewell(fi_bridge_t *b) {
    if (fi_net_await(b->net, fi_list_empty(&b->nodes) ? 0 : b->net->leave_by)) {
        (void)fi_nats.natsConnection_FlushTimeout(b->net->bulk, FAREWELL_MS);
    }
}

void fi_bridge_close(fi_net_t *net) {
    fi_bridge_t *b = net->bridge;
    fi_far_frame_t bye;
    bool waits = false;
    uint64_t one = 1;

    if (!b) {
        return;
    }
    answers(net, false);
    fi_net_unwatch(net, &b->watch);
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_mutex_unlock(&b->lock);
    (void)!write(b->bell, &one, sizeof one);
    pthread_join(b->thread, NULL);
    net->node->far = NULL;
    (void)fi_out_turn(b, &waits); /* what has ended meanwhile is told */
    (void)fi_in_turn(b);
    (void)fi_plain_turn(b, &waits);
    fi_deposit_end(b);
    fi_pickup_end(b);
    fi_reader_end(b);
    fi_plain_end(b);
    bye = fi_far_frame(b, FI_FAR_BYE, 0, "");
    fi_far_send_each(b, &bye);
    int64_t until = fi_now_ns() + FAREWELL_MS * 1000000ll;
    fi_way_leave(net, until);
    fi_pickup_late_end(b);
    say_farewell(b);
    fi_way_close(net, until);
    fi_inquiry_end_all(b);
    fi_far_watches_end(b);
    fi_out_end(b);
    fi_in_end(b);
    fi_heard_forget(b, NULL);
    while (!fi_list_empty(&b->nodes)) {
        fi_far_node_t *n = fi_container(b->nodes.next, fi_far_node_t, link);
        fi_list_remove(&n->link);
        free(n);
    }
    while (!fi_list_empty(&b->owns)) {
        fi_own_t *o = fi_container(b->owns.next, fi_own_t, link);
        fi_list_remove(&o->link);
        free(o);
    }
    while (!fi_list_empty(&b->askings)) { /* abandoned ones */
        fi_asking_t *a = fi_container(b->askings.next, fi_asking_t, link);
        fi_list_remove(&a->link);
        free(a);
    }
    net->bridge = NULL;
    free_bridge(b);
}
