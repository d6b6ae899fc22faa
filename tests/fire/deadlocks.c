/* SPDX-License-Identifier: MIT
 *
 * deadlocks.c - thousands of deadlocks made on purpose: circles of two to eight threads of three processes, over
 * mutexes, reader-writer locks, owned semaphores and full queues. Each must be found, by one member and by no other;
 * and threads that keep to an order must never be told of one.
 */
#include "deadlocks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define LOOK_AFTER (2 * MILLISECOND)
/* However slow the machine, but for one on which much more is asked for: a round takes 10 ms where nothing else runs,
 * and 60 beside a load of twenty. */
#define LIMIT (100 * SECOND)
#define LIMIT_FOR_EACH (100 * MILLISECOND)
/* For what others must do first, two dozen threads of three processes: beside programs of a higher priority they may
 * get no processor for seconds, one after the other. */
#define LONG_PATIENCE (4 * PATIENCE)

/* ---- places ---- */

/* What one member holds and the one before it wants. The queue is held by its only receiver, which takes nothing. */
typedef struct place {
    const char *name;
    bool is_queue;
    kind_t held, wanted;
    unsigned units;
} place_t;

static const place_t places[] = {
    {"mutex-a", false, MUTEX, MUTEX, 1},   {"mutex-b", false, MUTEX, MUTEX, 1},  {"mutex-c", false, MUTEX, MUTEX, 1},
    {"read-a", false, READER, WRITER, 1},  {"read-b", false, READER, WRITER, 1}, {"write-a", false, WRITER, READER, 1},
    {"write-b", false, WRITER, WRITER, 1}, {"unit-a", false, OWNED, OWNED, 1},   {"unit-b", false, OWNED, OWNED, 1},
    {"units-a", false, OWNED, OWNED, 2},   {"units-b", false, OWNED, OWNED, 2},  {"queue", true, 0, 0, 1},
};
#define PLACES (sizeof places / sizeof places[0])
#define QUEUE (PLACES - 1)

/* A thread at its seat, with all that it has open. */
typedef struct member {
    table_t *table;
    ferry_t *node;
    unsigned seat;
    dice_t dice; /* the table's */
    object_t locks[PLACES];
    ferry_receiver_t *rx;
    ferry_sender_t *tx;
} member_t;

static void name_of(const table_t *table, unsigned place, char name[32]) {
    snprintf(name, 32, "%u-%s", table->number, places[place].name);
}

static void open_place(member_t *m, unsigned place) {
    ferry_sync_options_t options = {.deadlock_after = LOOK_AFTER, .owned = 1};
    const place_t *p = &places[place];
    char name[32];
    name_of(m->table, place, name);
    if (p->is_queue)
        return; /* its ends are opened for a round */
    if (p->held != OWNED) {
        m->locks[place] = object_open(m->node, p->held, name, &options);
        return;
    }
    m->locks[place] = (object_t){.kind = OWNED};
    check_is(ferry_semaphore_open(m->node, name, p->units, &options, &m->locks[place].semaphore), 0);
}

static void hold(member_t *m, unsigned place) {
    char name[32];
    name_of(m->table, place, name);
    if (places[place].is_queue) {
        m->rx = open_receiver(m->node, name, FERRY_QUEUE, NULL);
        return;
    }
    m->locks[place].kind = places[place].held;
    for (unsigned i = 0; i < places[place].units; i++)
        check_is(object_take(&m->locks[place], PATIENCE), 0);
}

/* Of a queue, both messages: then its sender goes on, and finds all delivered. */
static void let_go(member_t *m, unsigned place) {
    if (places[place].is_queue) {
        check_is(receive_number(m->rx), 1);
        check_is(receive_number(m->rx), 2);
        close_receiver(m->rx);
        return;
    }
    m->locks[place].kind = places[place].held;
    for (unsigned i = 0; i < places[place].units; i++)
        check_is(object_give(&m->locks[place]), 0);
}

/* A queue must be full before it is waited for. */
static void prepare_to_want(member_t *m, unsigned place) {
    ferry_contract_t contract = {.capacity = 1};
    char name[32];
    if (!places[place].is_queue)
        return;
    name_of(m->table, place, name);
    m->tx = open_sender(m->node, name, FERRY_QUEUE, &contract);
    check_is(ferry_sender_wait(m->tx, 1, PATIENCE), 1);
    send_number(m->tx, 1);
}

static int want(member_t *m, unsigned place) {
    uint64_t second = 2;
    if (places[place].is_queue)
        return ferry_send(m->tx, &second, sizeof second, LONG_PATIENCE);
    m->locks[place].kind = places[place].wanted;
    return object_take(&m->locks[place], LONG_PATIENCE);
}

static void have_had(member_t *m, unsigned place) {
    if (places[place].is_queue) {
        close_sender(m->tx);
        return;
    }
    m->locks[place].kind = places[place].wanted;
    check_is(object_give(&m->locks[place]), 0);
}

/* ---- rounds ---- */

/* A circle: player i holds place i and wants the next one's. */
typedef struct circle {
    unsigned size;
    unsigned players[SEATS];
    unsigned at[SEATS]; /* places */
    int64_t delays[SEATS];
} circle_t;

static void shuffle(dice_t *dice, unsigned *all, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        all[i] = i;
    for (unsigned i = 0; i < count; i++) {
        unsigned k = i + (unsigned)dice_below(dice, count - i), other = all[k];
        all[k] = all[i];
        all[i] = other;
    }
}

/* In half of the rounds some come late, when others have looked already. A queue's sender looks after 50 ms only, so
 * few rounds have the queue. */
static circle_t deal(dice_t *dice) {
    circle_t c = {.size = 2 + (unsigned)dice_below(dice, SEATS - 1)};
    unsigned all[PLACES];
    bool late = dice_below(dice, 2);
    shuffle(dice, c.players, SEATS);
    shuffle(dice, all, PLACES - (dice_below(dice, 8) > 0));
    for (unsigned i = 0; i < c.size; i++) {
        c.at[i] = all[i];
        c.delays[i] = (int64_t)dice_below(dice, 6) * MILLISECOND * late;
    }
    return c;
}

static void note_later(atomic_llong *at, int64_t time) {
    long long seen = atomic_load(at);
    while (time > seen && !atomic_compare_exchange_weak(at, &seen, time)) {
    }
}

static void is_told(table_t *table) {
    check_is(atomic_fetch_add(&table->told, 1), 0);
    note_later(&table->slowest, clock_ns() - atomic_load(&table->last_want));
    snprintf(table->sentence, sizeof table->sentence, "%s", ferry_last_error());
}

static void play(member_t *m, const circle_t *c, unsigned i) {
    unsigned held = c->at[i], wanted = c->at[(i + 1) % c->size];
    nap(c->delays[i]);
    note_later(&m->table->last_want, clock_ns());
    int answer = want(m, wanted);
    check(answer == 0 || answer == -EDEADLK);
    if (answer == -EDEADLK)
        is_told(m->table);
    else
        have_had(m, wanted);
    let_go(m, held);
    if (answer == -EDEADLK) {
        check_is(want(m, wanted), 0); /* this time it is to be had */
        have_had(m, wanted);
    }
}

static void expect_that_one_was_told_all(const table_t *table, const circle_t *c) {
    check_is(atomic_load(&table->told), 1);
    for (unsigned i = 0; i < c->size; i++) {
        char name[32], quoted[40];
        name_of(table, c->at[i], name);
        snprintf(quoted, sizeof quoted, "\"%s\"", name);
        if (strstr(table->sentence, quoted))
            continue;
        fprintf(stderr, "# %s is not named: %s\n", quoted, table->sentence);
        check_failed("the sentence names all locks of the circle", __FILE__, __LINE__);
    }
}

/* The first seat looks at what has come of the round, while the others wait for the next one. */
static void judge(table_t *table, const circle_t *c) {
    expect_that_one_was_told_all(table, c);
    unsigned played = 0;
    atomic_fetch_add(&table->circles[c->size], 1);
    for (unsigned size = 2; size <= SEATS; size++)
        played += atomic_load(&table->circles[size]);
    atomic_store(&table->over, played >= table->rounds || clock_ns() >= table->end);
    atomic_store(&table->told, 0);
    atomic_store(&table->last_want, 0);
}

static void play_round(member_t *m) {
    table_t *table = m->table;
    circle_t c = deal(&m->dice);
    unsigned i = 0;
    while (i < c.size && c.players[i] != m->seat)
        i++;
    bool plays = i < c.size;
    if (plays)
        hold(m, c.at[i]);
    pthread_barrier_wait(&table->meet);
    if (plays)
        prepare_to_want(m, c.at[(i + 1) % c.size]);
    pthread_barrier_wait(&table->meet);
    if (plays)
        play(m, &c, i);
    pthread_barrier_wait(&table->meet);
    if (m->seat == 0)
        judge(table, &c);
    pthread_barrier_wait(&table->meet);
}

void table_set(table_t *table, unsigned number, uint64_t seed, unsigned rounds, int64_t end) {
    pthread_barrierattr_t shared;
    table->number = number;
    table->seed = seed;
    table->rounds = rounds;
    table->end = end;
    check(pthread_barrierattr_init(&shared) == 0 && pthread_barrierattr_setpshared(&shared, 1) == 0);
    check(pthread_barrier_init(&table->meet, &shared, SEATS) == 0);
}

void table_sit(table_t *table, ferry_t *node, unsigned seat) {
    member_t m = {.table = table, .node = node, .seat = seat, .dice = {table->seed}};
    for (unsigned place = 0; place < PLACES; place++)
        open_place(&m, place);
    pthread_barrier_wait(&table->meet);
    while (!atomic_load(&table->over))
        play_round(&m);
    for (unsigned place = 0; place < PLACES; place++)
        if (!places[place].is_queue)
            object_close(&m.locks[place]);
}

/* ---- processes ---- */

#define TABLES 3

typedef struct hall {
    table_t tables[TABLES];
    unsigned table_count;
    order_t order;
    bool is_ordered; /* there are threads that keep to the order, too */
} hall_t;

typedef struct guest {
    hall_t *hall;
    ferry_t *node;
    table_t *table; /* NULL: keeps to the order */
    unsigned seat;
    pthread_t thread;
} guest_t;

static void *be_guest(void *arg) {
    guest_t *g = arg;
    ferry_t *own = g->seat >= SEATS - 2 ? open_node("test") : NULL; /* some have a node of their own */
    if (g->table)
        table_sit(g->table, own ? own : g->node, g->seat);
    else
        order_keep(&g->hall->order, own ? own : g->node, g->seat);
    if (own)
        close_node(own);
    return NULL;
}

typedef struct house {
    hall_t *hall;
    unsigned number;
} house_t;

/* Of each table some seats are in this process. */
static void be_house(void *arg) {
    const house_t *house = arg;
    static guest_t guests[(TABLES + 1) * SEATS];
    unsigned count = 0;
    ferry_t *node = open_node("test");
    for (unsigned t = 0; t < house->hall->table_count + house->hall->is_ordered; t++)
        for (unsigned seat = house->number; seat < SEATS; seat += PROCESSES)
            guests[count++] =
                (guest_t){house->hall, node, t < house->hall->table_count ? &house->hall->tables[t] : NULL, seat, 0};
    for (unsigned i = 0; i < count; i++)
        check(pthread_create(&guests[i].thread, NULL, be_guest, &guests[i]) == 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(guests[i].thread, NULL);
    close_node(node);
}

/* Stops one process for some milliseconds. What it had seen before is not true any more when it goes on. */
static void hold_up(pid_t pid, dice_t *dice) {
    check(kill(pid, SIGSTOP) == 0);
    nap((int64_t)(2 + dice_below(dice, 4)) * MILLISECOND);
    check(kill(pid, SIGCONT) == 0);
}

/* One that fails leaves the others waiting for it: then all end. True: a process has ended. */
static bool one_has_ended(void) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0 && status != 0) {
        fprintf(stderr, "# process %d of those at the tables has ended (status %#x)\n", (int)pid, (unsigned)status);
        exit(1);
    }
    return pid > 0;
}

/*
 * `dice`: hold one up now and then, until the time `busy_until`.  Not when it may be ending: the leak sanitizer stops a
 * process then, too, and waits for ever if it goes on for our signal.
 */
static void join_all(const pid_t *pids, dice_t *dice, int64_t busy_until) {
    for (unsigned ended = 0; ended < PROCESSES;) {
        if (one_has_ended())
            ended++;
        else if (dice && clock_ns() < busy_until)
            hold_up(pids[dice_below(dice, PROCESSES)], dice);
        nap(4 * MILLISECOND);
    }
}

static unsigned print_circles(const hall_t *hall) {
    unsigned count = 0;
    printf("# circles of");
    for (unsigned size = 2; size <= SEATS; size++) {
        unsigned circles = 0;
        for (unsigned t = 0; t < hall->table_count; t++)
            circles += atomic_load(&hall->tables[t].circles[size]);
        printf(" %u: %u%s", size, circles, size < SEATS ? "," : "");
        count += circles;
    }
    int64_t slowest = 0;
    for (unsigned t = 0; t < hall->table_count; t++)
        if (atomic_load(&hall->tables[t].slowest) > slowest)
            slowest = atomic_load(&hall->tables[t].slowest);
    printf("; %u in all, each found once; the slowest %.1f ms after it was closed\n", count, (double)slowest / 1e6);
    fflush(stdout);
    return count;
}

/* Returns how many circles there were. */
static unsigned run_hall(hall_t *hall, dice_t *dice, int64_t busy_until) {
    pid_t pids[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        house_t house = {hall, i};
        pids[i] = child_start(be_house, &house);
    }
    join_all(pids, dice, busy_until);
    return print_circles(hall);
}

/* ---- tests ---- */

static void every_circle_is_found_by_one_of_its_members(void) {
    hall_t *hall = share(sizeof *hall);
    unsigned circles = fire_count("FERRY_FIRE_CIRCLES", "circles", 1200, 120);
    dice_t dice = dice_new("the circles");
    int64_t limit = circles * LIMIT_FOR_EACH;
    int64_t end = clock_ns() + (limit > LIMIT ? limit : LIMIT);
    hall->table_count = TABLES;
    for (unsigned t = 0; t < TABLES; t++)
        table_set(&hall->tables[t], t, dice_roll(&dice), (circles + TABLES - 1) / TABLES, end);
    check(run_hall(hall, NULL, 0) >= circles / 8); /* more, unless this machine is very slow */
}

static void who_keeps_to_an_order_is_never_told_of_a_deadlock(void) {
    hall_t *hall = share(sizeof *hall);
    unsigned seconds = fire_count("FERRY_FIRE_SECONDS", "seconds", 6, 2);
    dice_t dice = dice_new("the orderly ones");
    int64_t end = clock_ns() + (int64_t)seconds * SECOND;
    hall->table_count = 1; /* real ones, beside it */
    hall->is_ordered = true;
    table_set(&hall->tables[0], 0, dice_roll(&dice), UINT32_MAX, end);
    order_set(&hall->order, dice_roll(&dice), end);
    check(run_hall(hall, &dice, end - SECOND / 4) > 0);
    printf("# in order: %llu locks taken, %llu after a wait of more than a millisecond; %u chains of %u\n",
           (unsigned long long)atomic_load(&hall->order.taken), (unsigned long long)atomic_load(&hall->order.waited),
           atomic_load(&hall->order.chains), SEATS);
    fflush(stdout);
    check(atomic_load(&hall->order.waited) > 0 && atomic_load(&hall->order.chains) > 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(every_circle_is_found_by_one_of_its_members),
        TEST(who_keeps_to_an_order_is_never_told_of_a_deadlock),
    };
    return run_suite("deadlocks", tests, sizeof tests / sizeof tests[0], argc, argv);
}
