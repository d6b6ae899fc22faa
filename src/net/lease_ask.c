/* SPDX-License-Identifier: MIT
 *
 * What nodes answer who asks for their leases, and what those who wait make of it.
 */
#include "net/lease_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "net/value_turn.h"
#include "node/picture.h"
#include "platform/clock.h"

#define LAST_WORD_NS INT64_C(1000000000)
#define NODES_AT_ONCE 8u /* asked in one turn */

/* ---- answering ---- */

static void fill_wait(const fi_lease_t *l, fi_answer_wait_t *w) {
    fi_value_t *r = &l->object->record;

    *w = (fi_answer_wait_t){.node = fi_lease_net(l)->node->id,
                            .number = l->wait_number,
                            .since = l->wait_since,
                            .tid = l->wait_tid,
                            .handle = l->number,
                            .role = fi_load_relaxed32(&l->wanted),
                            .detects = l->grace >= 0,
                            .kind = r->kind};
    memcpy(w->thread, l->wait_thread, sizeof w->thread);
    memcpy(w->name, r->name, sizeof w->name);
    pthread_mutex_lock(&r->lock);
    memcpy(w->stream, r->stream, sizeof w->stream);
    pthread_mutex_unlock(&r->lock);
}

/* `busy` first: whoever is inside no call any more has written what he holds before. */
static uint32_t bits_of(const fi_lease_t *l) {
    uint32_t bits = fi_load_acquire32(&l->busy) ? FI_ANSWER_BUSY : 0u;

    bits |= fi_load_relaxed32(&l->held) ? FI_ANSWER_HOLDS : 0u;
    bits |= fi_is_orphan(&l->own) ? FI_ANSWER_ORPHAN : 0u;
    return bits | (fi_load_relaxed32(&l->lost) ? FI_ANSWER_LOST : 0u);
}

static void add_handle(fi_answer_t *a, const fi_lease_t *l) {
    uint32_t bits = bits_of(l);

    if (bits && a->head.handles < FI_ANSWER_HANDLES) {
        a->handles[a->head.handles++] =
            (fi_answer_handle_t){.handle = l->number, .tid = fi_owner_tid(&l->own), .bits = bits};
    }
    if (l->wait_number && a->head.waits < FI_ANSWER_WAITS) {
        fill_wait(l, &a->waits[a->head.waits++]);
    }
}

static fi_answer_t *new_answer(uint32_t handles, uint32_t waits) {
    fi_answer_t *a = calloc(1, sizeof *a + handles * sizeof *a->handles + waits * sizeof *a->waits);

    if (a) {
        a->waits = (fi_answer_wait_t *)(a + 1);
        a->handles = (fi_answer_handle_t *)(a->waits + waits);
    }
    return a;
}

static fi_answer_t *answer_of(fi_leases_t *leases) {
    struct fi_list *at, *after, *h, *h_after;
    fi_answer_t *a = new_answer(FI_ANSWER_HANDLES, FI_ANSWER_WAITS);

    if (!a) {
        return NULL;
    }
    a->head = (fi_answer_head_t){.version = FI_ANSWER_VERSION, .pid = getpid(), .process = fi_process_number()};
    snprintf(a->head.node, sizeof a->head.node, "%s", leases->net->node->name);
    (void)gethostname(a->head.host, sizeof a->head.host - 1);
    pthread_mutex_lock(&leases->lock);
    fi_list_each(at, after, &leases->objects) {
        fi_list_each(h, h_after, &fi_container(at, fi_lease_object_t, link)->handles) {
            add_handle(a, fi_container(h, fi_lease_t, link));
        }
    }
    pthread_mutex_unlock(&leases->lock);
    return a;
}

static size_t answer_bytes(const fi_answer_head_t *h) {
    return sizeof *h + h->handles * sizeof(fi_answer_handle_t) + h->waits * sizeof(fi_answer_wait_t);
}

/* Who asks for no answer asks for his turn. */
static void hear_plea(fi_leases_t *leases, natsMsg *msg) {
    struct fi_list *at;
    struct fi_list *after;
    fi_plea_t plea;

    if (!fi_turn_hear(fi_nats.natsMsg_GetData(msg), (size_t)fi_nats.natsMsg_GetDataLength(msg), &plea)) {
        return;
    }
    pthread_mutex_lock(&leases->lock);
    fi_list_each(at, after, &leases->objects) {
        fi_lease_object_t *o = fi_container(at, fi_lease_object_t, link);
        if (strcmp(o->record.name, plea.name) == 0) {
            fi_turn_yield(&o->record, plea.ns);
        }
    }
    pthread_mutex_unlock(&leases->lock);
}

static void answer(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_leases_t *leases = arg;
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    fi_answer_t *a = reply ? answer_of(leases) : NULL;

    (void)c;
    (void)sub;
    if (!reply) {
        hear_plea(leases, msg);
    }
    if (a) {
        size_t handles = a->head.handles * sizeof *a->handles;
        size_t len = answer_bytes(&a->head);
        char *data = malloc(len);
        if (data) {
            memcpy(data, &a->head, sizeof a->head);
            memcpy(data + sizeof a->head, a->handles, handles);
            memcpy(data + sizeof a->head + handles, a->waits, a->head.waits * sizeof *a->waits);
            (void)fi_net_send(leases->net, leases->net->control, reply, data, len);
        }
        free(data);
    }
    free(a);
    fi_nats.natsMsg_Destroy(msg);
}

int fi_answers_open(fi_leases_t *leases) {
    char subject[FI_SUBJECT_MAX];

    fi_net_node_subject(leases->net, subject, leases->net->node->id, "locks");
    return fi_leases_subscribe(leases, subject, answer, leases, &leases->questions);
}

/* The server says no before it answers what was asked since. */
int fi_answers_check(fi_leases_t *leases) {
    char subject[FI_SUBJECT_MAX];
    const char *words = NULL;

    fi_net_node_subject(leases->net, subject, leases->net->node->id, "locks");
    leases->mute |= fi_nats.natsConnection_GetLastError(leases->net->control, &words) == NATS_NOT_PERMITTED && words &&
                    fi_net_denies(words, subject);
    return leases->mute ? fi_fail(-EACCES,
                                  "locks between machines cannot be used: others would take this node for "
                                  "dead, since the server denies it to hear their questions on %s",
                                  subject)
                        : 0;
}

void fi_answers_close(fi_leases_t *leases) {
    fi_leases_unsubscribe(&leases->questions);
}

/* ---- asking ---- */

/* From the wire, with its strings ended. */
static int take_answer(const void *data, size_t len, fi_answer_t **out) {
    fi_answer_head_t head;

    if (len < sizeof head) {
        return -EPROTO;
    }
    memcpy(&head, data, sizeof head);
    if (head.version != FI_ANSWER_VERSION || head.handles > FI_ANSWER_HANDLES || head.waits > FI_ANSWER_WAITS ||
        len != answer_bytes(&head)) {
        return -EPROTO;
    }
    fi_answer_t *a = new_answer(head.handles, head.waits);
    if (!a) {
        return -ENOMEM;
    }
    size_t handles = head.handles * sizeof *a->handles;
    a->head = head;
    memcpy(a->handles, (const char *)data + sizeof head, handles);
    memcpy(a->waits, (const char *)data + sizeof head + handles, head.waits * sizeof *a->waits);
    a->head.node[sizeof a->head.node - 1] = a->head.host[sizeof a->head.host - 1] = '\0';
    for (uint32_t i = 0; i < head.waits; i++) {
        fi_answer_wait_t *w = &a->waits[i];
        w->thread[sizeof w->thread - 1] = w->name[sizeof w->name - 1] = w->stream[sizeof w->stream - 1] = '\0';
    }
    *out = a;
    return 1;
}

int fi_answer_ask(fi_leases_t *leases, uint64_t node, fi_answer_t **out) {
    fi_net_t *net = leases->net;
    char subject[FI_SUBJECT_MAX];
    natsMsg *msg = NULL;
    uint32_t denials = fi_load_acquire32(&net->denials);

    if (node == net->node->id) { /* a connection does not hear itself */
        *out = answer_of(leases);
        return *out ? 1 : -ENOMEM;
    }
    if (!fi_net_is_up(net)) {
        return -ENOTCONN;
    }
    fi_net_node_subject(net, subject, node, "locks");
    natsStatus s = fi_nats.natsConnection_Request(&msg, net->control, subject, "", 0,
                                                  fi_net_patience(net, FI_LEASE_PATIENCE_NS) / 1000000);
    int r = s == NATS_OK ? 1 : s == NATS_NO_RESPONDERS ? 0 : s == NATS_TIMEOUT ? -ETIMEDOUT : -ENOTCONN;
    if (r == 1) {
        r = take_answer(fi_nats.natsMsg_GetData(msg), (size_t)fi_nats.natsMsg_GetDataLength(msg), out);
    }
    fi_nats.natsMsg_Destroy(msg);
    return r == -ETIMEDOUT && fi_net_was_denied(net, denials, subject) ? -EACCES : r;
}

uint32_t fi_answer_bits(const fi_answer_t *a, uint32_t handle, int32_t *tid) {
    for (uint32_t i = 0; i < a->head.handles; i++) {
        if (a->handles[i].handle == handle) {
            if (tid) {
                *tid = a->handles[i].tid;
            }
            return a->handles[i].bits;
        }
    }
    return 0;
}

/* ---- who is dead ---- */

/* With the lock taken. NULL: it is none. */
static fi_suspect_t *find_suspect(fi_leases_t *leases, uint64_t node) {
    for (uint32_t i = 0; i < FI_LEASE_SUSPECTS; i++) {
        if (leases->suspects[i].node == node) {
            return &leases->suspects[i];
        }
    }
    return NULL;
}

/* In the place of nobody, or of who was asked longest ago. */
static fi_suspect_t *new_suspect(fi_leases_t *leases, uint64_t node) {
    fi_suspect_t *place = &leases->suspects[0];

    for (uint32_t i = 1; i < FI_LEASE_SUSPECTS; i++) {
        fi_suspect_t *s = &leases->suspects[i];
        place = s->node == 0 || (place->node != 0 && s->last < place->last) ? s : place;
    }
    *place = (fi_suspect_t){.node = node};
    return place;
}

static bool is_suspect(fi_leases_t *leases, uint64_t node) {
    pthread_mutex_lock(&leases->lock);
    bool is = find_suspect(leases, node) != NULL;
    pthread_mutex_unlock(&leases->lock);
    return is;
}

static void clear(fi_leases_t *leases, uint64_t node) {
    pthread_mutex_lock(&leases->lock);
    fi_suspect_t *s = find_suspect(leases, node);
    if (s) {
        *s = (fi_suspect_t){0};
    }
    pthread_mutex_unlock(&leases->lock);
}

/* It has not answered. Was it silent for long enough, all of the time while we were connected and asked? `pause`: the
 * longest one between two questions that is none. */
static bool is_dead(fi_leases_t *leases, uint64_t node, int64_t pause) {
    uint32_t times_up = fi_load_relaxed32(&leases->net->times_up);
    int64_t now = fi_now_ns();

    pthread_mutex_lock(&leases->lock);
    fi_suspect_t *s = find_suspect(leases, node);
    s = s ? s : new_suspect(leases, node);
    if (s->since == 0 || s->times_up != times_up || !fi_net_is_up(leases->net) || now - s->last > pause) {
        s->since = now;
    }
    s->times_up = times_up;
    s->last = now;
    bool dead = now - s->since >= FI_NET_DEAD_NS;
    pthread_mutex_unlock(&leases->lock);
    return dead;
}

/* ---- looking after the line ---- */

typedef struct fi_line {
    uint64_t me;
    uint32_t handle;
    bool is_barrier;
    fi_lease_entry_t *entries; /* of all obstacles */
    uint32_t count, room;
    uint64_t *there; /* their nodes, each once */
    uint32_t there_count;
    uint64_t node[NODES_AT_ONCE]; /* to be asked now */
    uint32_t nodes;
    int64_t began;
} fi_line_t;

static bool is_one_of(const uint64_t *nodes, uint32_t count, uint64_t node) {
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i] == node) {
            return true;
        }
    }
    return false;
}

static void add_node(fi_line_t *line, uint64_t node) {
    if (!is_one_of(line->there, line->there_count, node) &&
        fi_grow((void **)&line->there, line->there_count, sizeof *line->there)) {
        line->there[line->there_count++] = node;
    }
}

static void choose(fi_line_t *line, uint64_t node) {
    if (!is_one_of(line->node, line->nodes, node)) {
        line->node[line->nodes++] = node;
    }
}

/* Who did not answer is asked each time, else nobody would know since when; then the others, in turn. Returns where to
 * go on. */
static uint32_t choose_whom_to_ask(fi_leases_t *leases, fi_line_t *line, uint32_t from) {
    for (uint32_t i = 0; i < line->there_count && line->nodes < NODES_AT_ONCE / 2; i++) {
        if (is_suspect(leases, line->there[i])) {
            choose(line, line->there[i]);
        }
    }
    while (from < line->there_count && line->nodes < NODES_AT_ONCE) {
        choose(line, line->there[from++]);
    }
    return from < line->there_count ? from : 0;
}

static bool add_obstacle(const fi_lease_entry_t *e, void *arg) {
    fi_line_t *line = arg;

    if (line->count == line->room) {
        uint32_t room = line->room ? line->room * 2 : 16;
        fi_lease_entry_t *more = realloc(line->entries, room * sizeof *more);
        if (!more) {
            return false;
        }
        line->entries = more;
        line->room = room;
    }
    line->entries[line->count++] = *e;
    add_node(line, e->node);
    return true;
}

/* A barrier waits for all who have it open. */
static void see_line(const fi_lease_state_t *s, void *arg) {
    fi_line_t *line = arg;

    fi_lease_each_obstacle(s, line->me, line->handle, add_obstacle, line);
    for (uint32_t i = 0; i < s->head.openers && line->is_barrier; i++) {
        add_node(line, s->openers[i]);
    }
}

typedef struct fi_burial {
    uint64_t node; /* has died; 0: the entry */
    fi_lease_entry_t entry;
    bool died;
} fi_burial_t;

static int bury(fi_lease_state_t *s, void *arg) {
    const fi_burial_t *b = arg;

    if (b->node) {
        fi_lease_evict_node(s, b->node);
    } else {
        fi_lease_evict(s, &b->entry, b->died);
    }
    return 0;
}

static void change(fi_lease_object_t *o, fi_burial_t *b) {
    int64_t patience = fi_net_patience(o->leases->net, FI_LEASE_PATIENCE_NS);
    fi_term_t p = {.deadline = fi_deadline(patience), .stubborn = true};

    (void)fi_value_change(&o->record, fi_value_number(), bury, b, &p, NULL);
}

/* The node lives: is each of its entries one that it knows of? */
static void compare(fi_lease_object_t *o, const fi_line_t *line, uint64_t node, const fi_answer_t *a) {
    for (uint32_t i = 0; i < line->count; i++) {
        const fi_lease_entry_t *e = &line->entries[i];
        if (e->node != node) {
            continue;
        }
        uint32_t bits = fi_answer_bits(a, e->handle, NULL);
        bool waits = e->role == FI_LEASE_ARRIVED || (e->role & FI_LEASE_WAITS);
        bool right = (bits & FI_ANSWER_BUSY) || (!waits && (bits & FI_ANSWER_HOLDS));
        if ((bits & FI_ANSWER_ORPHAN) || !right) {
            fi_burial_t b = {.entry = *e, .died = (bits & (FI_ANSWER_ORPHAN | FI_ANSWER_LOST)) != 0};
            change(o, &b);
        }
    }
}

/* Its line may be longer than ours: before it counts as dead it has a second for one more answer. 1: it does; 0;
 * -EACCES. */
static int is_silent_for_good(fi_leases_t *leases, uint64_t node, int r, int64_t pause) {
    if (r != 0 && r != -ETIMEDOUT) {
        clear(leases, node);
        return r == -EACCES ? r : 0;
    }
    if (!is_dead(leases, node, pause)) {
        return 0;
    }
    int there = r == 0 ? 0 : fi_net_is_there(leases->net, node, LAST_WORD_NS);
    if (there == 1) {
        clear(leases, node);
    }
    return there == -EACCES ? there : there == 0 || there == -ETIMEDOUT;
}

/* What it holds is not told to us; whether it lives, perhaps. */
static int ask(fi_leases_t *leases, uint64_t node, fi_answer_t **a) {
    int r = fi_answer_ask(leases, node, a);

    return r == -EACCES ? fi_net_is_there(leases->net, node, fi_net_patience(leases->net, FI_LEASE_PATIENCE_NS)) : r;
}

/* 0 or -EACCES. */
static int look_at(fi_lease_object_t *o, const fi_line_t *line, uint64_t node) {
    fi_answer_t *a = NULL;

    int r = ask(o->leases, node, &a);
    /* Others who are asked in between take their time to be silent, too. */
    int64_t pause = fi_net_patience(o->leases->net, 4 * FI_LEASE_ASK_NS) + o->asked_for + fi_now_ns() - line->began;
    int silent = is_silent_for_good(o->leases, node, r, pause);
    if (silent == 1) {
        fi_burial_t b = {.node = node};
        change(o, &b);
    }
    if (a) {
        compare(o, line, node, a);
    }
    free(a);
    return silent < 0 ? silent : 0;
}

/* One of the node's waiting threads at a time does it for all. */
static bool is_my_turn(fi_lease_object_t *o, int64_t now, uint32_t *next) {
    pthread_mutex_lock(&o->leases->lock);
    bool mine = now - o->asked_at >= FI_LEASE_ASK_NS;
    if (mine) {
        o->asked_at = now;
        *next = o->asked_next;
    }
    pthread_mutex_unlock(&o->leases->lock);
    return mine;
}

int fi_lease_look_after(fi_lease_t *l, int64_t now) {
    fi_lease_object_t *o = l->object;
    fi_line_t line = {.me = fi_lease_net(l)->node->id, .handle = l->number, .is_barrier = o->record.kind == 'b'};
    uint32_t next;
    int r = 0;

    if (o->record.kind == 'e' || !fi_net_is_up(o->leases->net) || !is_my_turn(o, now, &next)) {
        return 0;
    }
    line.began = fi_now_ns();
    fi_value_look(&o->record, see_line, &line);
    next = choose_whom_to_ask(o->leases, &line, next);
    for (uint32_t i = 0; i < line.nodes && r == 0; i++) {
        r = look_at(o, &line, line.node[i]);
    }
    pthread_mutex_lock(&o->leases->lock);
    o->asked_next = next;
    o->asked_for = fi_now_ns() - line.began;
    pthread_mutex_unlock(&o->leases->lock);
    free(line.entries);
    free(line.there);
    return r;
}
