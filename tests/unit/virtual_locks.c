/* SPDX-License-Identifier: MIT
 *
 * virtual_locks.c - hours of many threads that take and give locks at random, by a clock that is only a number.
 *
 * The threads, their locks and their clock are a model; what looks for deadlocks is the library's own: a wait that
 * takes long is listed (waits.c), tells who holds what it waits for (deadlock.c), and asks node after node (gather.c,
 * judge.c), whose answers are put together (picture.c, circles.c).  The hooks are where it asks: while it does, between
 * any two frames of an answer, the others go on, and now and then a node answers too late, or in part.  So no picture
 * shows a moment that ever was.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "lock/deadlock.h"
#include "node/look.h"

#define PROCESSES 3u
#define SPACES 2u /* each process has a node in each of them */
#define NODES (SPACES * PROCESSES)
#define THREADS 12u
#define LOCKS 9u
#define UNITS 2u

#define US INT64_C(1000)
#define MS (1000 * US)
#define S (1000 * MS)
#define HOUR (3600 * S)
#define TOO_LONG (100 * S) /* for a wait, with somebody who looks */

enum { MUTEX, RWLOCK, UNIT, KINDS };

/* One lock, as it stands in memory that all share. */
typedef union memory {
    fi_mutex_t mutex;
    fi_rwlock_t rwlock;
    uint64_t unit[1 + UNITS];
} memory_t;

typedef struct virtual_thread {
    uint32_t number;
    uint32_t process;
    fi_lock_t lock[LOCKS];
    uint8_t plan[LOCKS]; /* which to take, one after the other */
    uint32_t planned, taken;
    bool waits;
    bool reads[LOCKS];
    uint32_t looks; /* inside one */
    int64_t next;   /* when it does something */
    int64_t grace;
    int64_t deadline;
    fi_pace_t pace;
} virtual_thread_t;

static struct world {
    int64_t now;
    uint64_t seed;
    bool in_order;   /* all take them in one order */
    uint32_t deep;   /* looks inside looks */
    fi_node_t *told; /* its steward answers: the lists of waits of its process may be locked */
    fi_node_t *node[SPACES][PROCESSES];
    memory_t *memory;
    fi_shared_t shared[LOCKS];
    fi_object_t object[PROCESSES][LOCKS];
    virtual_thread_t thread[THREADS];
    virtual_thread_t *asking;
    fi_answer_fn *each;
    void *arg;
    uint32_t left; /* frames that still come through */
    uint64_t taken, looks, found;
} world;

static uint64_t below(uint64_t n) {
    return unit_random(&world.seed) % n;
}

/* ---- locks ---- */

static bool is_free(uint64_t word) {
    return (word & FI_OWNER) == 0;
}

static bool has_readers(const fi_rwlock_t *rw) {
    for (uint32_t i = 0; i < THREADS; i++) {
        if (rw->slot[i]) {
            return true;
        }
    }
    return false;
}

static bool take_unit(uint64_t *unit, uint64_t me) {
    for (uint32_t i = 0; i < UNITS; i++) {
        if (unit[i] == 0) {
            unit[i] = me;
            return true;
        }
    }
    return false;
}

/* A writer stands in the gate while he waits for readers. */
static bool try_to_write(fi_rwlock_t *rw, uint64_t me) {
    if (is_free(rw->gate.word)) {
        rw->gate.word = me | FI_ENTERING;
    }
    if ((rw->gate.word & FI_OWNER) != me || has_readers(rw)) {
        return false;
    }
    rw->gate.word = me;
    return true;
}

static bool try_to_take(virtual_thread_t *t, uint32_t at) {
    memory_t *m = &world.memory[at];
    uint64_t me = t->lock[at].handle.me;

    switch (at % KINDS) {
    case MUTEX:
        return is_free(m->mutex.word) && (m->mutex.word = me);
    case UNIT:
        return take_unit(&m->unit[1], me);
    default:
        if (!t->reads[at]) {
            return try_to_write(&m->rwlock, me);
        }
        return is_free(m->rwlock.gate.word) && (m->rwlock.slot[t->number] = me);
    }
}

/* Until somebody runs who could: mostly soon. */
static int64_t some_delay(void) {
    return (int64_t)below((uint64_t)(below(4) ? 200 * US : 30 * MS));
}

/* Who waits for it looks then. */
static void wake_all(uint32_t at) {
    for (uint32_t i = 0; i < THREADS; i++) {
        virtual_thread_t *t = &world.thread[i];
        if (t->waits && t->plan[t->taken] == at && t->looks == 0) {
            int64_t soon = world.now + some_delay();
            t->next = soon < t->next ? soon : t->next;
        }
    }
}

static void drop(uint64_t *word, uint64_t me) {
    if ((*word & FI_OWNER) == me) {
        *word = 0;
    }
}

static void give(virtual_thread_t *t, uint32_t at) {
    memory_t *m = &world.memory[at];
    uint64_t me = t->lock[at].handle.me;

    fi_set_held(&t->lock[at].handle, 0);
    if (at % KINDS == RWLOCK) {
        drop(&m->rwlock.gate.word, me);
        drop(&m->rwlock.slot[t->number], me);
    } else {
        for (uint32_t i = 0; i < 1 + UNITS; i++) {
            drop(&m->unit[i], me);
        }
    }
    wake_all(at);
}

/* ---- threads ---- */

static int64_t some_time(void) {
    return (int64_t)(below(8) ? below(2 * MS) : below(300 * MS));
}

static void plan(virtual_thread_t *t) {
    t->planned = t->taken = 0;
    for (uint32_t at = 0; at < LOCKS; at++) {
        t->reads[at] = below(2);
        if (below(3) == 0) {
            t->plan[t->planned++] = (uint8_t)at;
        }
    }
    for (uint32_t i = 1; i < t->planned && !world.in_order; i++) {
        uint32_t other = (uint32_t)below(i + 1);
        uint8_t at = t->plan[i];
        t->plan[i] = t->plan[other];
        t->plan[other] = at;
    }
    t->next = world.now + some_time();
}

static void give_all(virtual_thread_t *t) {
    while (t->taken > 0) {
        give(t, t->plan[--t->taken]);
    }
    plan(t);
}

static fi_lock_t *wanted(virtual_thread_t *t) {
    return &t->lock[t->plan[t->taken]];
}

static bool may_strike(const virtual_thread_t *t) {
    for (uint32_t space = 0; space < SPACES; space++) {
        if (world.told == world.node[space][t->process]) {
            return false;
        }
    }
    return true;
}

static void end_wait(virtual_thread_t *t) {
    fi_lock_t *l = wanted(t);

    if (t->waits) {
        fi_lock_waited(l);
        l->handle.busy = 0;
        t->waits = false;
    }
}

static void has_taken(virtual_thread_t *t) {
    fi_set_held(&wanted(t)->handle, 1);
    world.taken++;
    t->taken++;
    t->next = world.now + some_time();
}

static void begin_wait(virtual_thread_t *t) {
    fi_lock_t *l = wanted(t);
    uint32_t at = t->plan[t->taken];

    t->waits = true;
    l->handle.busy = 1;
    l->what = at % KINDS == MUTEX  ? FERRY_FOR_MUTEX
              : at % KINDS == UNIT ? FERRY_FOR_UNIT
              : t->reads[at]       ? FERRY_FOR_READ
                                   : FERRY_FOR_WRITE;
    t->pace = (fi_pace_t){.since = world.now, .check = world.now + t->grace, .interval = t->grace};
    /* Only where nothing can be stuck may a wait end by itself: else who has been told had perhaps just been helped. */
    t->deadline = world.in_order && below(2) ? world.now + (int64_t)below(200 * MS) : FI_NEVER;
}

static void give_up(virtual_thread_t *t) {
    uint32_t at = t->plan[t->taken];

    end_wait(t);
    give(t, at); /* he may have stood in the gate */
    give_all(t);
}

/* ---- the truth ---- */

static bool can_end(const virtual_thread_t *t, uint64_t owner, const bool *stuck) {
    for (uint32_t i = 0; i < THREADS; i++) {
        for (uint32_t at = 0; at < LOCKS; at++) {
            if (world.thread[i].lock[at].handle.me == (owner & FI_OWNER)) {
                return &world.thread[i] != t && !stuck[i];
            }
        }
    }
    return true;
}

static bool can_go_on(const virtual_thread_t *t, const bool *stuck) {
    uint32_t at = t->plan[t->taken];
    const memory_t *m = &world.memory[at];
    uint64_t me = t->lock[at].handle.me;

    if (at % KINDS == MUTEX) {
        return is_free(m->mutex.word) || can_end(t, m->mutex.word, stuck);
    }
    if (at % KINDS == UNIT) {
        bool able = false;
        for (uint32_t i = 1; i <= UNITS; i++) {
            able |= m->unit[i] == 0 || can_end(t, m->unit[i], stuck);
        }
        return able;
    }
    if ((m->rwlock.gate.word & FI_OWNER) != me) {
        return is_free(m->rwlock.gate.word) || can_end(t, m->rwlock.gate.word, stuck);
    }
    bool able = true;
    for (uint32_t i = 0; i < THREADS; i++) {
        able &= m->rwlock.slot[i] == 0 || can_end(t, m->rwlock.slot[i], stuck);
    }
    return able;
}

/* Is it in a circle, or behind one, at this moment? */
static bool is_stuck(const virtual_thread_t *t) {
    bool stuck[THREADS];
    bool changed = true;

    for (uint32_t i = 0; i < THREADS; i++) {
        stuck[i] = world.thread[i].waits;
    }
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < THREADS; i++) {
            if (stuck[i] && can_go_on(&world.thread[i], stuck)) {
                stuck[i] = false;
                changed = true;
            }
        }
    }
    return stuck[t->number];
}

/* ---- looking ---- */

static void look(virtual_thread_t *t) {
    fi_lock_t *l = wanted(t);

    world.looks++;
    world.deep++;
    t->looks++;
    world.asking = t;
    int r = fi_lock_stalled(&l->waiter, t->pace.since, FI_NEVER);
    t->looks--;
    world.deep--;
    if (r == 0) {
        return;
    }
    assert_int_equal(r, -EDEADLK);
    world.found++;
    if (world.in_order || !is_stuck(t)) {
        fail_msg("after %.3f s thread %u was told of a deadlock that there is not: %s", (double)world.now / (double)S,
                 t->number, ferry_last_error());
    }
    give_up(t);
}

/* It waits, and its time has come. */
static void wait_on(virtual_thread_t *t) {
    if (!may_strike(t)) {
        t->next = world.now + US;
        return;
    }
    if (try_to_take(t, t->plan[t->taken])) {
        end_wait(t);
        has_taken(t);
        return;
    }
    if (world.now >= t->deadline) {
        give_up(t);
        return;
    }
    assert_true(world.now - t->pace.since < TOO_LONG);
    t->next = t->pace.check < t->deadline ? t->pace.check : t->deadline;
    if (world.now < t->pace.check) {
        return;
    }
    if (world.told || world.deep > 1) {
        t->next = world.now + MS; /* it is late */
        return;
    }
    (void)fi_pace_is_due(&t->pace, world.now);
    t->next = world.now; /* and then it tries again */
    look(t);
}

static void act(virtual_thread_t *t) {
    if (t->waits) {
        wait_on(t);
    } else if (t->taken == t->planned) {
        give_all(t);
    } else if (try_to_take(t, t->plan[t->taken])) {
        has_taken(t);
    } else {
        begin_wait(t);
        t->next = world.now;
        wait_on(t);
    }
}

static void go_on(int64_t until) {
    for (;;) {
        virtual_thread_t *next = NULL;
        for (uint32_t i = 0; i < THREADS; i++) {
            virtual_thread_t *t = &world.thread[i];
            if (t->looks == 0 && (!next || t->next < next->next)) {
                next = t;
            }
        }
        if (!next || next->next > until) {
            break;
        }
        world.now = next->next > world.now ? next->next : world.now;
        act(next);
    }
    world.now = until > world.now ? until : world.now;
}

static void let_some_time_pass(int64_t most) {
    go_on(world.now + (int64_t)below((uint64_t)most));
}

/* ---- hooks: where the library asks ---- */

pid_t virtual_gettid(void) {
    return (pid_t)(1 + world.asking->number);
}

/* The lock that guards what is listed is each process's own, and here one thread plays all: may_strike() keeps them
 * off. */
int virtual_lock(pthread_mutex_t *lock) {
    (void)lock;
    return 0;
}

int virtual_unlock(pthread_mutex_t *lock) {
    (void)lock;
    return 0;
}

static const char *const directory[SPACES] = {"/", "/proc"}; /* any that are there */

int virtual_open_path(const char *path, struct stat *st) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fstat(fd, st) == 0 ? fd : -1;
}

int virtual_each_node(fi_space_t *s, int (*each)(uint64_t node, void *arg), void *arg) {
    uint32_t space = strcmp(s->path, directory[0]) != 0;
    int r = 0;

    for (uint32_t i = 0; i < PROCESSES && r == 0; i++) {
        r = each(world.node[space][i]->id, arg);
    }
    return r;
}

int virtual_peer_send(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    (void)p;
    (void)cargo;
    if (world.left > 0) {
        world.left--;
        world.each(f, world.arg);
    }
    let_some_time_pass(below(8) ? 2 * US : 300 * US);
    return 0;
}

int virtual_look_ask(int dirfd, uint64_t id, uint32_t flags, int64_t patience, pid_t *pid, uid_t *uid,
                     fi_answer_fn *each, void *arg) {
    fi_node_t *n = NULL;
    uint32_t process = 0;

    (void)dirfd;
    (void)patience;
    *pid = 1;
    *uid = geteuid();
    for (uint32_t i = 0; i < NODES; i++) {
        if (world.node[i / PROCESSES][i % PROCESSES]->id == id) {
            process = i % PROCESSES;
            n = world.node[i / PROCESSES][process];
        }
    }
    assert_non_null(n);
    go_on(world.now + some_delay());
    bool in_part = below(200) == 0;
    fi_frame_t f = fi_frame(FI_LOOK_NODE, 0, 0);
    f.figures[0] = process + 1;
    f.figures[FI_NODE_NOW] = (uint64_t)world.now;
    each(&f, arg);
    world.each = each;
    world.arg = arg;
    world.left = in_part ? (uint32_t)below(4) : UINT32_MAX;
    world.told = n;
    fi_waits_tell(n, NULL, flags & FI_LOOK_WITH_BESIDE);
    world.told = NULL;
    return !in_part;
}

/* ---- tests ---- */

static fi_node_t *make_node(uint32_t space, uint32_t process) {
    fi_node_t *n = calloc(1, sizeof *n);

    assert_non_null(n);
    n->id = (space * PROCESSES + process + 1) * UINT64_C(0x1234567) << 8;
    n->space.dirfd = open(directory[space], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    n->space.path = (char *)(uintptr_t)directory[space];
    pthread_mutex_init(&n->lock, NULL);
    fi_list_init(&n->ends);
    fi_list_init(&n->peers);
    fi_list_init(&n->objects);
    fi_list_init(&n->waits);
    fi_waits_add_node(n);
    return n;
}

static void free_node(fi_node_t *n) {
    fi_waits_remove_node(n);
    close(n->space.dirfd);
    free(n);
}

/* Three of a kind lie in each space in turn. */
static fi_node_t *node_of(uint32_t process, uint32_t at) {
    return world.node[at / KINDS % SPACES][process];
}

static void make_objects(uint32_t process) {
    for (uint32_t at = 0; at < LOCKS; at++) {
        fi_object_t *o = &world.object[process][at];
        *o = (fi_object_t){.node = node_of(process, at), .memory = &world.shared[at]};
        snprintf(o->spec.name, sizeof o->spec.name, "lock-%u", at);
        o->spec.flags = at % KINDS == UNIT;
        o->spec.count = at % KINDS == UNIT ? UNITS : 0;
        fi_list_init(&o->handles);
        fi_list_add_tail(&o->node->objects, &o->link);
    }
}

static void make_thread(uint32_t number) {
    virtual_thread_t *t = &world.thread[number];

    *t =
        (virtual_thread_t){.number = number, .process = number % PROCESSES, .grace = number % 2 ? FI_GRACE_NS : 2 * MS};
    for (uint32_t at = 0; at < LOCKS; at++) {
        fi_lock_t *l = &t->lock[at];
        fi_owned_init(&l->handle.own, node_of(t->process, at));
        l->handle.own.tid = (int32_t)(1 + number);
        l->handle.object = &world.object[t->process][at];
        l->handle.me = fi_owner(node_of(t->process, at)->id, number * LOCKS + at + 1);
        l->detects = true;
        fi_list_add_tail(&l->handle.object->handles, &l->handle.link);
    }
    plan(t);
}

static void set_up(bool in_order, uint64_t seed) {
    memset(&world, 0, sizeof world);
    world.in_order = in_order;
    world.seed = seed;
    world.memory = calloc(LOCKS, sizeof *world.memory);
    assert_non_null(world.memory);
    for (uint32_t at = 0; at < LOCKS; at++) {
        world.shared[at].map = &world.memory[at];
    }
    for (uint32_t i = 0; i < PROCESSES; i++) {
        for (uint32_t space = 0; space < SPACES; space++) {
            world.node[space][i] = make_node(space, i);
        }
        make_objects(i);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        make_thread(i);
    }
}

static void run_for(int64_t time, const char *what) {
    go_on(time);
    printf("# %.1f hours of %u threads that take %s: %llu taken, %llu looks, %llu deadlocks\n",
           (double)time / (double)HOUR, THREADS, what, (unsigned long long)world.taken, (unsigned long long)world.looks,
           (unsigned long long)world.found);
    for (uint32_t i = 0; i < THREADS; i++) {
        end_wait(&world.thread[i]);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        free_node(world.node[i / PROCESSES][i % PROCESSES]);
    }
    free(world.memory);
}

static void whoever_keeps_to_an_order_is_never_told_of_a_deadlock(void **state) {
    (void)state;
    set_up(true, 1);
    run_for(VIRTUAL_MINUTES * 60 * S, "locks in order");
    assert_int_equal(world.found, 0);
    assert_true(world.looks > 500 * VIRTUAL_MINUTES);
}

/* And every deadlock is found: no wait lasts. */
static void every_deadlock_is_found_and_none_that_is_not(void **state) {
    (void)state;
    set_up(false, 2);
    run_for(VIRTUAL_MINUTES * 60 * S / 4, "locks in any order");
    assert_true(world.found > 10 * VIRTUAL_MINUTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_keeps_to_an_order_is_never_told_of_a_deadlock),
        cmocka_unit_test(every_deadlock_is_found_and_none_that_is_not),
    };
    return cmocka_run_group_tests_name("virtual-locks", tests, NULL, NULL);
}
