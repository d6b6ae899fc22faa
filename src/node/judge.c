/* SPDX-License-Identifier: MIT
 *
 * Has a long wait become a deadlock?
 *
 * The waiting thread asks its own node what it waits for and who holds that, then the holders' nodes what those threads
 * wait for, and so on: only nodes that it leads to (gather.h).  If it finds itself in a circle it asks everybody once
 * more.  A wait that has the same number both times went on without a break in between, and a thread that waits
 * releases nothing; so every link of the circle existed at the moment between the two questions: all of them at once,
 * which is a deadlock.
 *
 * What a thread waits for may have come although it still waits: it was woken, and had no processor yet, for as long as
 * that may take.  Whoever let it come did so before its own wait began, so the second answer knows: of a lock, who
 * holds it is looked up when it is asked for; a thread that sleeps on a bell has been rung (fi_end_ops_t.stirs), and
 * counts as free.  Who asks sleeps in this sense: he can be rung, too.
 *
 * Of those in a circle the one that began to wait last is told, so that exactly one is.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "node/gather.h"
#include "node/node.h"
#include "platform/cancel.h"
#include "platform/clock.h"

#define TRIES 3u

struct look {
    fi_gathering_t gathering;
    fi_picture_t picture;
};

/* Asks on and on, until nobody new is named. */
static void look(struct look *l, fi_node_t *n, const fi_space_t *home, int64_t deadline) {
    l->gathering = (fi_gathering_t){.node = n, .picture = &l->picture, .deadline = deadline};
    fi_gather_begin(&l->gathering, home, false);
    fi_gather_ask(&l->gathering, n->id);
    fi_gather_on(&l->gathering);
    fi_picture_solve(&l->picture);
}

static void end_look(struct look *l) {
    fi_gather_end(&l->gathering);
    fi_picture_free(&l->picture);
}

static bool is_later(const fi_seen_wait_t *a, const fi_seen_wait_t *b) {
    if (a->since != b->since) {
        return a->since > b->since;
    }
    return a->shown.node != b->shown.node ? a->shown.node > b->shown.node : a->number > b->number;
}

/* Our wait, if it is in a circle and the last of those that may be told. */
static const fi_seen_wait_t *judged(const struct look *l, const fi_blocked_t *b) {
    const fi_picture_t *p = &l->picture;
    const fi_seen_wait_t *mine = fi_picture_find(p, l->gathering.node->id, b->number);
    if (!mine || !mine->shown.circle) {
        return NULL;
    }
    for (size_t i = 0; i < p->wait_count; i++) {
        const fi_seen_wait_t *w = &p->waits[i];
        if (w != mine && w->shown.circle == mine->shown.circle && w->detects && is_later(w, mine)) {
            return NULL;
        }
    }
    return mine;
}

/* Are all who are in the circle now also in that of the second look? */
static bool is_same(const struct look *first, uint32_t circle, const struct look *second, uint32_t again) {
    size_t count[2] = {0, 0};

    for (size_t i = 0; i < first->picture.wait_count; i++) {
        const fi_seen_wait_t *w = &first->picture.waits[i];
        if (w->shown.circle != circle) {
            continue;
        }
        const fi_seen_wait_t *same = fi_picture_find(&second->picture, w->shown.node, w->number);
        if (!same || same->shown.circle != again) {
            return false;
        }
        count[0]++;
    }
    for (size_t i = 0; i < second->picture.wait_count; i++) {
        count[1] += second->picture.waits[i].shown.circle == again;
    }
    return count[0] == count[1];
}

/* ---- in words ---- */

struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...) {
    va_list args;

    va_start(args, format);
    int n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < t->left ? (size_t)n : t->left - 1;
    t->at += used;
    t->left -= used;
}

static void say_namespace(struct text *t, uint64_t inode) {
    if (inode) {
        say(t, " in PID namespace %" PRIu64, inode);
    } else {
        say(t, " in another PID namespace");
    }
}

static void say_who(struct text *t, const fi_picture_t *p, const fi_seen_wait_t *w) {
    const fi_seen_node_t *n = fi_picture_node(p, w->shown.node);
    bool elsewhere = n && n->own_pid && n->own_pid != n->pid; /* in another PID namespace */

    say(t, "%s[", n ? n->name : "?");
    if (elsewhere && n->pid) {
        say(t, "%d = ", n->pid);
    }
    say(t, "%d/%d", elsewhere ? n->own_pid : n ? n->pid : 0, w->shown.tid);
    if (n && strcmp(n->name, w->shown.thread) != 0) {
        say(t, " %s", w->shown.thread);
    }
    if (elsewhere) {
        say_namespace(t, n->pids_in);
    }
    say(t, "]");
}

static const char *const object_word[] = {
    [FERRY_FOR_MUTEX] = "mutex",
    [FERRY_FOR_READ] = "reader-writer lock (to read)",
    [FERRY_FOR_WRITE] = "reader-writer lock (to write)",
    [FERRY_FOR_UNIT] = "semaphore",
    [FERRY_FOR_BARRIER] = "barrier",
    [FERRY_FOR_EVENT] = "event",
    [FERRY_FOR_ROOM] = "room in",
    [FERRY_FOR_REGION] = "its turn in the allocator of region",
    [FERRY_FOR_CELL] = "cell",
    [FERRY_FOR_BUFFER] = "buffer",
    [FERRY_FOR_REPLY] = "the answer to",
};

/* What a peer says it waits for may be anything. */
static const char *word_of(uint32_t what) {
    const char *word = what < sizeof object_word / sizeof *object_word ? object_word[what] : NULL;

    return word ? word : "?";
}

/* In which space, if not in ours. */
static void say_where(struct text *t, const fi_gathering_t *g, const fi_seen_wait_t *w) {
    const char *path = w->place ? g->place[w->place].space.path : NULL;
    const char *slash = path ? strrchr(path, '/') : NULL;

    if (path) {
        say(t, " in space \"%s\"", slash ? slash + 1 : path);
    }
}

static void say_what(struct text *t, const fi_gathering_t *g, const fi_seen_wait_t *w) {
    uint32_t what = w->shown.what;

    if (what == FERRY_FOR_PROCESS) {
        say(t, "waits for its child process %d", w->shown.pid);
    } else {
        say(t, "waits for %s \"%s\"", word_of(what), w->shown.name);
        say_where(t, g, w);
    }
    say(t, " (since %.3f s%s%s)", (double)w->shown.age_ns / 1e9, w->shown.where[0] ? ", " : "", w->shown.where);
}

/* The next one in the circle that has not been named yet; NULL: we are round. */
static const fi_seen_wait_t *next_of(const fi_picture_t *p, const fi_seen_wait_t *w, bool *named) {
    for (uint32_t i = 0; i < w->shown.holders; i++) {
        int32_t next = w->holders[i].wait;
        if (next >= 0 && p->waits[next].shown.circle == w->shown.circle && !named[next]) {
            named[next] = true;
            return &p->waits[next];
        }
    }
    return NULL;
}

/* What leads from a wait to those who could end it. */
static const char *link_word(const fi_seen_wait_t *w) {
    switch (w->shown.what) {
    case FERRY_FOR_ROOM:
        return ", kept full by";
    case FERRY_FOR_REPLY:
        return ", which is up to";
    case FERRY_FOR_PROCESS:
        return ", in whose family is";
    default:
        return ", held by";
    }
}

static int explain(const struct look *l, const fi_seen_wait_t *mine) {
    const fi_picture_t *p = &l->picture;
    char words[FI_ERROR_TEXT_MAX];
    struct text t = {.at = words, .left = sizeof words};
    bool *named = calloc(p->wait_count, sizeof *named);
    const fi_seen_wait_t *w = mine;

    if (!named) {
        return fi_fail(-EDEADLK, "deadlock: a circle of threads that wait for each other; `ferry why` shows it");
    }
    named[mine - p->waits] = true;
    while (w) {
        say_who(&t, p, w);
        say(&t, w == mine ? " " : ", which ");
        say_what(&t, &l->gathering, w);
        say(&t, "%s ", link_word(w));
        w = next_of(p, w, named);
    }
    say_who(&t, p, mine);
    free(named);
    return fi_fail(-EDEADLK,
                   "deadlock: %s. Give back what you hold and try again, or take them in one order everywhere", words);
}

/* 0: no circle; -EAGAIN: there was one when we asked first, and something about it was another when we asked again. */
static int look_twice(fi_node_t *n, const fi_space_t *home, const fi_blocked_t *b, int64_t deadline) {
    struct look first = {.picture = {0}};
    struct look second = {.picture = {0}};
    int r = 0;

    look(&first, n, home, deadline);
    const fi_seen_wait_t *mine = judged(&first, b);
    if (mine) {
        look(&second, n, home, deadline);
        const fi_seen_wait_t *again = judged(&second, b);
        bool same = again && is_same(&first, mine->shown.circle, &second, again->shown.circle);
        r = same ? explain(&second, again) : -EAGAIN;
        end_look(&second);
    }
    end_look(&first);
    return r;
}

/* Others of the circle that began together with us look together with us, too, and are awake for that moment. */
static int judge(fi_node_t *n, const fi_blocked_t *b, int64_t deadline) {
    fi_space_t home = {.path = n->space.path};
    int r = -EAGAIN;

    pthread_mutex_lock(&n->lock);
    home.dirfd = fcntl(n->space.dirfd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&n->lock);
    if (home.dirfd < 0) {
        return 0; /* no descriptors: later */
    }
    for (unsigned i = 0; r == -EAGAIN && i < TRIES; i++) {
        r = look_twice(n, &home, b, deadline);
    }
    close(home.dirfd);
    return r == -EAGAIN ? 0 : r;
}

int fi_waits_judge(fi_node_t *n, const fi_blocked_t *b, int64_t deadline) {
    int cancel = fi_cancel_off();
    sigset_t all;
    sigset_t before;

    /* A handler may end the thread, or jump out of it: what the judge has open would stay so. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = judge(n, b, deadline);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    fi_cancel_restore(cancel);
    return r;
}
