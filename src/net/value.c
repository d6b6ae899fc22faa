/* SPDX-License-Identifier: MIT */
#include "net/value_turn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/clock.h"
#include "platform/process.h"

#define PAUSE_NS 20000000
#define PING_NS 100000000
#define UNDECIDED_NS 2000000000

uint64_t fi_value_number(void) {
    static uint64_t last;

    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

void fi_value_init(fi_value_t *r, fi_net_t *net, const char *word, uint32_t kind, const char *name) {
    *r = (fi_value_t){.net = net, .word = word, .kind = kind};
    snprintf(r->name, sizeof r->name, "%s", name);
    fi_net_subject(net, r->subject, FI_VALUE_KIND, name);
    pthread_mutex_init(&r->lock, NULL);
}

void fi_value_done(fi_value_t *r) {
    fi_lease_free(&r->state);
    pthread_mutex_destroy(&r->lock);
}

void fi_value_look(fi_value_t *r, void (*look)(const fi_lease_state_t *s, void *arg), void *arg) {
    pthread_mutex_lock(&r->lock);
    look(&r->state, arg);
    pthread_mutex_unlock(&r->lock);
}

/* ---- joining ---- */

static void adopt(fi_value_t *r, const char *stream, const fi_lease_state_t *s, uint64_t seq) {
    pthread_mutex_lock(&r->lock);
    if (strcmp(stream, r->stream) != 0 || seq > r->seq) {
        snprintf(r->stream, sizeof r->stream, "%s", stream);
        r->seq = fi_lease_copy(&r->state, s) ? seq : 0;
    }
    pthread_mutex_unlock(&r->lock);
}

/* A new stream: its first value. FI_DONE: it is ours; FI_RACE_LOST, FI_STREAM_GONE, FI_UNKNOWN. */
static int begin(fi_value_t *r, const char *stream, uint64_t base, const fi_term_t *p) {
    fi_lease_state_t s;
    uint64_t seq = 0;

    fi_lease_init(&s, r->kind, r->options, r->count, base);
    int how = fi_lease_add_opener(&s, r->net->node->id);
    how =
        how < 0 ? fi_fail(how, "no memory for the %s \"%s\"", r->word, r->name) : fi_stream_put(r, stream, &s, p, &seq);
    if (how == FI_DONE) {
        adopt(r, stream, &s, seq);
    }
    fi_lease_free(&s);
    return how;
}

/* Does one of those live who have it open? Looks for as long as it takes to be sure that none does. */
static int anybody_lives(const fi_value_t *r, const fi_lease_state_t *s, const fi_term_t *p) {
    int64_t since = fi_now_ns();
    int64_t patience = fi_net_patience(r->net, PING_NS);
    uint32_t times_up = fi_load_relaxed32(&r->net->times_up);

    do {
        for (uint32_t i = 0; i < s->head.openers; i++) {
            int there = s->openers[i] == r->net->node->id ? 1 : fi_net_is_there(r->net, s->openers[i], patience);
            if (there == 1 || there == -EACCES) {
                return there;
            }
        }
        patience = fi_net_patience(r->net, 5 * PING_NS); /* its line may be longer than ours */
        int e = s->head.openers ? fi_value_pause(r->net, PING_NS, p) : 0;
        if (e < 0) {
            return e;
        }
        if (!fi_net_is_up(r->net) || times_up != fi_load_relaxed32(&r->net->times_up)) {
            times_up = fi_load_relaxed32(&r->net->times_up);
            since = fi_now_ns();
        }
    } while (s->head.openers && fi_now_ns() - since < FI_NET_DEAD_NS);
    return 0;
}

static const char *word_of(uint32_t kind) {
    return kind == 'm'   ? "mutex"
           : kind == 'w' ? "reader-writer lock"
           : kind == 's' ? "semaphore"
           : kind == 'b' ? "barrier"
                         : "event";
}

int fi_value_compare(const fi_value_t *r, uint32_t kind, uint32_t options, uint32_t count) {
    if (kind != r->kind) {
        return fi_fail(-EPROTOTYPE, "\"%s\" is the name of a %s, not of a %s", r->name, word_of(r->kind),
                       word_of(kind));
    }
    if (options != r->options) {
        return fi_fail(-EPROTOTYPE, "the %s \"%s\" was opened by others %s: all openers choose alike", r->word, r->name,
                       r->kind == 's' ? (r->options ? "with owned units" : "with plain units, not owned ones")
                                      : (r->options ? "as auto-reset" : "without auto-reset"));
    }
    if ((kind == 's' || kind == 'b') && count != FI_COUNT_ANY && count != r->count) {
        return fi_fail(-EPROTOTYPE, "the %s \"%s\" was opened by others with %u, not %u", r->word, r->name, r->count,
                       count);
    }
    return 0;
}

static int compare(const fi_value_t *r, const fi_lease_head_t *h) {
    fi_value_t there = {.kind = h->kind, .options = h->options, .count = h->count, .word = r->word};

    memcpy(there.name, r->name, sizeof there.name);
    return fi_value_compare(&there, r->kind, r->options, r->count);
}

/* The value is there: this node joins those who have it open. FI_DONE, FI_RACE_LOST, FI_STREAM_GONE, FI_UNKNOWN,
 * error. `*known_to_live`: one of them has answered, and is not asked again. */
static int join_once(fi_value_t *r, const char *stream, fi_lease_state_t *s, uint64_t seq, const fi_term_t *p,
                     bool *known_to_live) {
    if (s->head.flags & FI_LEASE_GONE) {
        fi_stream_delete(r, stream, p);
        return FI_STREAM_GONE;
    }
    int lives = *known_to_live ? 1 : anybody_lives(r, s, p);
    if (lives < 0) {
        return lives;
    }
    *known_to_live = lives == 1;
    if (!lives && (r->must_exist || r->count == FI_COUNT_ANY) && (r->kind == 's' || r->kind == 'b')) {
        return -ENOENT;
    }
    if (!lives && s->head.kind != r->kind) {
        s->head.flags |= FI_LEASE_GONE;
        int how = fi_stream_put(r, stream, s, p, &seq);
        return how == FI_DONE ? FI_STREAM_GONE : how;
    }
    int e = lives ? compare(r, &s->head) : 0;
    if (e < 0) {
        return e;
    }
    if (!lives) {
        fi_lease_renew(s, r->options, r->count, r->net->node->id);
    }
    e = fi_lease_add_opener(s, r->net->node->id);
    if (e < 0) {
        return fi_fail(e, "%u nodes have the %s \"%s\" open already", FI_LEASE_OPENERS, r->word, r->name);
    }
    int how = fi_stream_put(r, stream, s, p, &seq);
    if (how == FI_DONE) {
        adopt(r, stream, s, seq);
        r->options = s->head.options;
        r->count = s->head.count;
    }
    return how;
}

/* Where others change it all the time, who begins anew after each lost race comes too late each time. */
static int join(fi_value_t *r, const char *stream, fi_lease_state_t *s, uint64_t seq, const fi_term_t *p) {
    fi_turn_t turn = {.tried = seq};
    bool known_to_live = false;
    int how = join_once(r, stream, s, seq, p, &known_to_live);

    while (how == FI_RACE_LOST && known_to_live) {
        how = fi_turn_read(r, stream, p, &turn, s, &seq);
        how = how == FI_DONE ? join_once(r, stream, s, seq, p, &known_to_live) : how;
    }
    return how == FI_EMPTY ? FI_STREAM_GONE : how;
}

/*
 * Which stream is it? Usually there is one. In a cluster two that are made in the same moment are both listed, until the
 * server takes the one back that came second, since the first has its subject: that one is never made. Others may not
 * have seen it, and use the first already. So what holds a value counts, then what is made, and what was made earlier;
 * and while nothing holds one, it is waited for what becomes of the others.
 */
typedef struct fi_choice {
    const char *stream; /* NULL: none */
    int how;            /* FI_DONE: it holds a value; FI_EMPTY: it is made */
    uint64_t base;
    bool undecided; /* another may still be made */
    bool own_is_spare;
} fi_choice_t;

typedef struct fi_attaching {
    char own[FI_SUBJECT_MAX]; /* the name of what this node makes */
    int64_t undecided_since;  /* ns; 0: it is not */
} fi_attaching_t;

static bool is_better(int how, uint64_t base, const fi_choice_t *than) {
    if (how != FI_DONE && how != FI_EMPTY) {
        return false;
    }
    return !than->stream || (how == than->how ? base < than->base : how == FI_DONE);
}

/* 0 or an error. */
static int choose(const fi_value_t *r, const fi_found_t *found, const char *own, const fi_term_t *p, fi_choice_t *c) {
    *c = (fi_choice_t){.how = FI_STREAM_GONE};
    for (unsigned i = 0; i < found->count; i++) {
        uint64_t base;
        int how = fi_stream_look(r, found->names[i], p, &base);
        if (how < 0) {
            return how;
        }
        if (is_better(how, base, c)) {
            c->stream = found->names[i];
            c->how = how;
            c->base = base;
        }
        c->undecided |= how == FI_UNKNOWN;
        c->own_is_spare |= how != FI_DONE && strcmp(found->names[i], own) == 0;
    }
    return 0;
}

/* The server may forget to take one back. */
static bool is_settled(const fi_choice_t *c, fi_attaching_t *a) {
    int64_t now = fi_now_ns();

    if (!c->undecided || c->how == FI_DONE) {
        a->undecided_since = 0;
        return true;
    }
    a->undecided_since = a->undecided_since ? a->undecided_since : now;
    return c->stream && now - a->undecided_since > UNDECIDED_NS;
}

static int enter(fi_value_t *r, const fi_choice_t *c, bool may_create, const fi_term_t *p) {
    fi_lease_state_t s = {.changed = false};
    uint64_t seq = 0;

    int how = c->how == FI_DONE ? fi_stream_read(r, c->stream, p, &s, &seq) : c->how;
    if (how == FI_EMPTY) {
        how = may_create ? begin(r, c->stream, c->base, p) : -ENOENT;
    } else if (how == FI_DONE) {
        how = join(r, c->stream, &s, seq, p);
    }
    fi_lease_free(&s);
    return how;
}

/* One try. FI_DONE, or what else there is, or an error. */
static int attach_once(fi_value_t *r, fi_attaching_t *a, const fi_term_t *p) {
    bool may_create = !r->must_exist && !((r->kind == 's' || r->kind == 'b') && r->count == FI_COUNT_ANY);
    fi_found_t found;
    fi_choice_t c;

    int how = fi_stream_find(r, p, &found);
    if (how != FI_DONE) {
        return how;
    }
    if (found.count == 0) {
        if (!may_create) {
            return -ENOENT;
        }
        how = fi_stream_make(r, a->own, p);
        return how == FI_DONE ? FI_RACE_LOST : how; /* look again: somebody may have been as fast */
    }
    how = choose(r, &found, a->own, p, &c);
    if (how < 0) {
        return how;
    }
    if (!is_settled(&c, a)) {
        return FI_UNKNOWN;
    }
    if (c.how == FI_DONE && c.own_is_spare) {
        fi_stream_delete(r, a->own, p);
    }
    return enter(r, &c, may_create, p);
}

static void name_own(const fi_value_t *r, fi_attaching_t *a) {
    char base[FI_SUBJECT_MAX];

    fi_net_stream(r->net, base, FI_VALUE_KIND, r->name);
    snprintf(a->own, sizeof a->own, "%.200s_%016" PRIx64, base, fi_random64());
}

int fi_value_attach(fi_value_t *r, const fi_term_t *p) {
    fi_attaching_t a = {.undecided_since = 0};
    int how;

    if (!r->net->js) {
        return fi_net_stream_check(r->net, "locks and events");
    }
    name_own(r, &a);
    while ((how = attach_once(r, &a, p)) > 0) {
        int e = how == FI_UNKNOWN ? fi_value_pause(r->net, PAUSE_NS, p) : 0;
        if (e < 0) {
            return fi_fail(e, "cannot open the %s \"%s\": %s", r->word, r->name, fi_error_text());
        }
        if (how == FI_STREAM_GONE) {
            name_own(r, &a);
        }
    }
    if (how == -ENOENT) {
        return fi_fail(how, "nobody has the %s \"%s\" open, so it has no count yet: say one, or open it there first",
                       r->word, r->name);
    }
    return how;
}

/* ---- changing ---- */

typedef struct fi_changing {
    fi_value_t *r;
    const fi_term_t *p;
    char stream[FI_SUBJECT_MAX];
    fi_lease_state_t s;
    uint64_t seq;
    fi_turn_t turn;
    bool fresh;  /* read during this call */
    bool placed; /* the change is in place */
} fi_changing_t;

static int copy_known(fi_changing_t *c) {
    pthread_mutex_lock(&c->r->lock);
    memcpy(c->stream, c->r->stream, strlen(c->r->stream) + 1);
    c->seq = c->r->seq;
    bool good = fi_lease_copy(&c->s, &c->r->state);
    pthread_mutex_unlock(&c->r->lock);
    return good ? 0 : fi_fail(-ENOMEM, "no memory for the %s \"%s\"", c->r->word, c->r->name);
}

/* The value as it is now. 0, FI_UNKNOWN, or an error. */
static int read_anew(fi_changing_t *c) {
    int how = fi_turn_read(c->r, c->stream, c->p, &c->turn, &c->s, &c->seq);

    if (how == FI_STREAM_GONE || how == FI_EMPTY || (how == FI_DONE && (c->s.head.flags & FI_LEASE_GONE))) {
        /* We were taken for dead, and the others have closed it. */
        how = fi_value_attach(c->r, c->p);
        how = how == 0 ? copy_known(c) : how;
        c->turn.tried = 0; /* another stream has numbers of its own */
    } else if (how == FI_DONE) {
        adopt(c->r, c->stream, &c->s, c->seq);
    }
    c->fresh = how == FI_DONE;
    return how;
}

/* Publishes what has been changed, unless it is others' turn. FI_DONE: it is in place. */
static int put(fi_changing_t *c, uint64_t number) {
    fi_value_t *r = c->r;
    uint64_t seq = c->seq;

    int how = fi_turn_give_way(r, c->p, &c->turn);
    if (how != FI_DONE) {
        return how;
    }
    how = fi_lease_add_opener(&c->s, r->net->node->id);
    if (how < 0) {
        return fi_fail(how, "%u nodes have the %s \"%s\" open already", FI_LEASE_OPENERS, r->word, r->name);
    }
    fi_lease_sign(&c->s, r->net->node->id, number);
    how = fi_stream_put(r, c->stream, &c->s, c->p, &seq);
    if (how == FI_DONE) {
        c->seq = seq;
        adopt(r, c->stream, &c->s, seq);
        c->placed = true;
    }
    return how;
}

/* What happened is not known, or somebody was faster: the value as it is now. 0 or an error. */
static int look_again(fi_changing_t *c, int how) {
    do {
        how = how == FI_UNKNOWN ? fi_value_pause(c->r->net, PAUSE_NS, c->p) : 0;
        how = how == 0 ? read_anew(c) : how;
    } while (how == FI_UNKNOWN);
    return how;
}

/* A count says nothing of who changed it: if it is not certain that ours was not, once more could be twice. */
static bool may_be_counted_already(const fi_changing_t *c, uint64_t tried_as) {
    bool counts = c->r->kind == 'e' || (c->r->kind == 's' && !c->r->options);

    return counts && c->seq >= tried_as + FI_LEASE_RECENT;
}

static int make_change(fi_changing_t *c, uint64_t number, fi_change_fn *change, void *arg) {
    int tried = 0;         /* a try had no answer; it would have had this result, */
    uint64_t tried_as = 0; /* and this number */
    bool unknown = false;

    for (;;) {
        int how = FI_DONE;
        if (unknown && c->fresh && fi_lease_is_signed(&c->s, c->r->net->node->id, number)) {
            c->placed = true;
            return tried;
        }
        if (unknown && c->fresh && may_be_counted_already(c, tried_as)) {
            return fi_fail(
                -ENOTCONN,
                "the connection was lost while the %s \"%s\" was changed, and others have changed it too often "
                "since to tell whether this change was made",
                c->r->word, c->r->name);
        }
        if (c->seq != 0) {
            int result = change(&c->s, arg);
            if (c->s.short_of_memory) {
                return fi_fail(-ENOMEM, "no memory for the %s \"%s\"", c->r->word, c->r->name);
            }
            if (!c->s.changed && c->fresh) {
                return result;
            }
            how = c->s.changed ? put(c, number) : FI_RACE_LOST;
            if (how == FI_DONE) {
                return result;
            }
            if (how == FI_UNKNOWN) { /* the next look shall show whether it is in place, before others hide it */
                unknown = true;
                c->turn.tried = c->turn.passed = 0;
            }
            tried = how == FI_UNKNOWN ? result : tried;
            tried_as = how == FI_UNKNOWN ? c->seq + 1 : tried_as;
        }
        how = how >= 0 ? look_again(c, how) : how;
        if (how < 0) {
            return how;
        }
    }
}

int fi_value_change(fi_value_t *r, uint64_t number, fi_change_fn *change, void *arg, const fi_term_t *p,
                    uint64_t *token) {
    fi_changing_t c = {.r = r, .p = p};

    int how = copy_known(&c);
    how = how == 0 ? make_change(&c, number, change, arg) : how;
    if (token) {
        *token = c.s.head.base + c.seq;
    }
    if (c.placed) {
        r->changed(r, &c.s);
    }
    fi_lease_free(&c.s);
    return how;
}

static int part(fi_lease_state_t *s, void *node) {
    fi_lease_part(s, *(const uint64_t *)node);
    return (s->head.flags & FI_LEASE_GONE) != 0;
}

void fi_value_part(fi_value_t *r) {
    fi_term_t p = {.deadline = fi_deadline((int64_t)FI_NET_ASK_MS * 1000000), .stubborn = true};
    fi_changing_t c = {.r = r, .p = &p};
    uint64_t node = r->net->node->id;

    /* Like fi_value_change, but it must not add us again. */
    int how = copy_known(&c);
    while (how >= 0) {
        int last = part(&c.s, &node);
        uint64_t seq = c.seq;
        how = c.seq ? fi_stream_put(r, c.stream, &c.s, &p, &seq) : FI_UNKNOWN;
        if (how == FI_DONE && last) {
            fi_stream_delete(r, c.stream, &p);
        }
        if (how == FI_DONE || how == FI_STREAM_GONE) {
            break;
        }
        how = how == FI_UNKNOWN ? fi_value_pause(r->net, PAUSE_NS, &p) : how;
        how = how >= 0 ? fi_turn_read(r, c.stream, &p, &c.turn, &c.s, &c.seq) : how;
        if (how == FI_STREAM_GONE || how == FI_EMPTY || (how == FI_DONE && !fi_lease_has_opener(&c.s, node))) {
            if (how == FI_DONE && (c.s.head.flags & FI_LEASE_GONE)) {
                fi_stream_delete(r, c.stream, &p);
            }
            break;
        }
    }
    fi_lease_free(&c.s);
}
