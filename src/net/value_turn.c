/* SPDX-License-Identifier: MIT */
#include "net/value_turn.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "platform/clock.h"

#define PLEA_VERSION 1u
#define PASSED_MOST 16u /* by others, before one asks; */
#define PASSED_NEAR 2u  /* by so many in one try even who is as near as they are */
#define DOUBLINGS 3u
#define OPENERS_MOST 64u /* to be asked one by one */
#define YIELD_MOST_NS INT64_C(1000000000)
#define TRIES_NS (10 * YIELD_MOST_NS) /* for what has to be done, whatever its time */

/* The time of a call does not count: who has none still lets others go first. */
static int let_pass(fi_net_t *net, int64_t ns, const fi_term_t *p) {
    fi_term_t own = {.deadline = FI_NEVER, .stubborn = p->stubborn || fi_time_left(p->deadline) == 0};

    return fi_value_pause(net, ns, &own);
}

/* ---- asking ---- */

static void send_plea(const fi_value_t *r, uint64_t node, const fi_plea_t *plea) {
    char subject[FI_SUBJECT_MAX];

    if (node != 0 && node != r->net->node->id && fi_net_is_up(r->net)) {
        fi_net_node_subject(r->net, subject, node, "locks");
        (void)fi_net_send(r->net, r->net->control, subject, plea, sizeof *plea);
    }
}

/* To all that may change it; where these are too many, to those who changed it last. */
static void plead(const fi_value_t *r, const fi_lease_state_t *s, int64_t ns) {
    fi_plea_t plea = {.version = PLEA_VERSION, .ns = ns};

    memcpy(plea.name, r->name, sizeof plea.name);
    for (uint32_t i = 0; i < s->head.openers && s->head.openers <= OPENERS_MOST; i++) {
        send_plea(r, s->openers[i], &plea);
    }
    for (uint32_t i = 0; i < FI_LEASE_RECENT && s->head.openers > OPENERS_MOST; i++) {
        send_plea(r, s->head.recent[i].node, &plea);
    }
}

/* Reading took so long, and putting will. */
static int ask_for_turn(const fi_value_t *r, const fi_term_t *p, fi_turn_t *t, const fi_lease_state_t *s,
                        int64_t took) {
    took = fi_earlier(took, YIELD_MOST_NS / 4); /* a process that stood still read for long */
    int64_t settled = (took / 4) << t->pleas;   /* what others had under way has arrived then */

    plead(r, s, fi_earlier(settled + 2 * took, YIELD_MOST_NS));
    t->pleas += t->pleas < DOUBLINGS;
    return let_pass(r->net, settled, p);
}

/* Who has no time to wait for others has a moment for those who only change it; and who gives something back, longer. */
static bool is_too_late(const fi_term_t *p, const fi_turn_t *t, int64_t now) {
    return now > p->deadline && now - t->lost_since > (p->stubborn ? TRIES_NS : YIELD_MOST_NS);
}

/* Who is near, too, is passed now and then, but not by so many at once. */
static uint64_t passed_by(uint64_t changes) {
    return changes > PASSED_NEAR ? changes : 0;
}

int fi_turn_read(const fi_value_t *r, const char *stream, const fi_term_t *p, fi_turn_t *t, fi_lease_state_t *s,
                 uint64_t *seq) {
    int64_t begin = fi_now_ns();

    t->lost_since = t->lost_since ? t->lost_since : begin;
    if (is_too_late(p, t, begin)) {
        return fi_fail(-ETIMEDOUT, "others have changed the %s \"%s\" all the time", r->word, r->name);
    }
    int how = fi_stream_read(r, stream, p, s, seq);
    if (how == FI_DONE && t->tried != 0) {
        t->passed += passed_by(*seq - t->tried);
    }
    if (how == FI_DONE && t->passed >= PASSED_MOST) {
        how = ask_for_turn(r, p, t, s, fi_now_ns() - begin);
        how = how < 0 ? how : fi_stream_read(r, stream, p, s, seq);
    }
    t->tried = how == FI_DONE ? *seq : 0;
    return how;
}

/* ---- being asked ---- */

bool fi_turn_hear(const void *message, size_t len, fi_plea_t *plea) {
    if (len != sizeof *plea) {
        return false;
    }
    memcpy(plea, message, sizeof *plea);
    return plea->version == PLEA_VERSION && memchr(plea->name, '\0', sizeof plea->name) != NULL;
}

/* One thread hears all pleas. What was given is earned again by as much time in which nobody asked for it. */
void fi_turn_yield(fi_value_t *r, int64_t ns) {
    int64_t now = fi_now_ns();
    int64_t until = __atomic_load_n(&r->yield_until, __ATOMIC_RELAXED);
    int64_t own = now - (until > r->yield_asked ? until : r->yield_asked);

    r->yield_spent -= own > 0 ? fi_earlier(own, r->yield_spent) : 0;
    r->yield_asked = now;
    until = until > now ? until : now;
    int64_t more = now - until + fi_earlier(ns, YIELD_MOST_NS);
    more = fi_earlier(more, YIELD_MOST_NS - r->yield_spent);
    if (ns > 0 && more > 0) {
        r->yield_spent += more;
        __atomic_store_n(&r->yield_until, until + more, __ATOMIC_RELAXED);
    }
}

int fi_turn_give_way(const fi_value_t *r, const fi_term_t *p, fi_turn_t *t) {
    int how = FI_DONE;

    while (t->pleas == 0 && how >= 0) { /* who has asked himself goes on */
        int64_t left = fi_time_left(__atomic_load_n(&r->yield_until, __ATOMIC_RELAXED));
        int64_t in_time = fi_time_left(p->deadline);
        left = fi_earlier(left, YIELD_MOST_NS - t->gave);
        /* Who has no time at all waits once, unless he gives back or tidies up. */
        left = in_time > 0 || t->gave > 0 || p->stubborn ? fi_earlier(left, in_time) : left;
        if (left <= 0) {
            return how;
        }
        t->gave += left;
        t->tried = 0;
        int e = let_pass(r->net, left, p);
        how = e < 0 ? e : FI_RACE_LOST;
    }
    return how;
}
