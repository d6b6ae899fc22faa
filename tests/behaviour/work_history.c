/* SPDX-License-Identifier: MIT
 *
 * work_history.c - random histories of a work queue over several processes, against an oracle: what was accepted is
 * released exactly once or is in the dead-letter queue, every attempt has its own number, none is left out, and first
 * attempts come in their sender's order while nobody dies.
 *
 * A worker notes what it has received before it does anything else, and dies by its own hand, so what it did is known.
 */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SENDERS 2u
#define WORKERS 3u
#define EACH 120u
#define ATTEMPTS 4u
#define WITHIN (15 * MILLISECOND)

typedef struct letter {
    atomic_uint attempts; /* bits: those that were seen */
    atomic_uint released;
    atomic_uint dead;
} letter_t;

typedef struct history {
    bool wild; /* workers die, close and hold for too long */
    uint64_t seed;
    atomic_uint senders_done;
    atomic_uint over;
    atomic_uint deaths, rejections, losses; /* what has happened at all */
    letter_t letters[SENDERS][EACH];
} history_t;

typedef struct body {
    uint32_t sender, place;
    unsigned char bytes[200];
} body_t;

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

typedef struct actor {
    history_t *history;
    unsigned number;
    uint64_t random;
} actor_t;

/* ---- senders ---- */

static void send_all(void *arg) {
    actor_t *self = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    for (uint32_t place = 0; place < EACH; place++) {
        body_t body = {.sender = self->number, .place = place};
        size_t size = place % 4 == 0 ? sizeof body : 8 + place % 60;
        fill(body.bytes, size - 8, place);
        check_is(ferry_send(tx, &body, size, PATIENCE), 0);
        if (next_random(&self->random) % 8 == 0)
            nap(MILLISECOND);
    }
    uint64_t left = 1;
    check_is(ferry_sender_close(tx, 3 * PATIENCE, &left), 0);
    check_is(left, 0);
    atomic_fetch_add(&self->history->senders_done, 1);
    close_node(node);
}

/* ---- workers ---- */

static letter_t *letter_of(history_t *h, const ferry_msg_t *m, uint32_t *sender, uint32_t *place) {
    body_t body;
    size_t size = ferry_msg_size(m);
    check(size >= 8 && size <= sizeof body);
    memcpy(&body, ferry_msg_data(m), size);
    check(body.sender < SENDERS && body.place < EACH);
    check(filled(body.bytes, size - 8, body.place));
    *sender = body.sender;
    *place = body.place;
    return &h->letters[body.sender][body.place];
}

static void note_attempt(const history_t *h, letter_t *letter, const ferry_msg_t *m, int64_t *last, uint32_t sender,
                         uint32_t place) {
    uint32_t attempt = info_of(m).attempt;
    check(attempt >= 1 && attempt <= ATTEMPTS);
    check((atomic_fetch_or(&letter->attempts, 1u << attempt) & 1u << attempt) == 0); /* each once */
    if (!h->wild && attempt == 1) {
        check((int64_t)place > last[sender]);
        last[sender] = place;
    }
}

/* Releases it; too late is no harm, since somebody else has it. */
static void let_go(history_t *h, letter_t *letter, ferry_msg_t *m) {
    int answer = ferry_msg_release(m);
    check(answer == 0 || answer == -ESTALE);
    atomic_fetch_add(answer == 0 ? &letter->released : &h->losses, 1);
}

static void hand_back(history_t *h, ferry_msg_t *m, uint64_t chance) {
    int answer = ferry_msg_reject(m, (int64_t)(chance % 3) * MILLISECOND);
    check(answer == 0 || answer == -ESTALE);
    atomic_fetch_add(answer == 0 ? &h->rejections : &h->losses, 1);
}

static void act(actor_t *self, ferry_msg_t *m, int64_t *last) {
    history_t *h = self->history;
    uint32_t sender, place;
    letter_t *letter = letter_of(h, m, &sender, &place);
    note_attempt(h, letter, m, last, sender, place);
    uint64_t chance = next_random(&self->random) % 100;
    bool cursed = place % 30 == 7; /* never done */
    if (h->wild && chance < 3) {
        atomic_fetch_add(&h->deaths, 1);
        kill(getpid(), SIGKILL);
    }
    if (h->wild && chance < 8)
        nap(WITHIN * 2);
    else if (chance < 15)
        nap(MILLISECOND);
    if (chance >= 15 && chance < 20)
        (void)ferry_msg_progress(m);
    if (cursed || chance < 30)
        hand_back(h, m, chance);
    else
        let_go(h, letter, m);
}

static void work(void *arg) {
    actor_t *self = arg;
    history_t *h = self->history;
    int64_t last[SENDERS] = {-1, -1};
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.ack_within = h->wild ? WITHIN : 0,
                                        .prefetch =
                                            (uint32_t)(next_random(&self->random) % 4), /* 0: no limit of its own */
                                        .max_attempts = ATTEMPTS,
                                        .dead_letter = "work.dead",
                                        .senders = UINT32_MAX};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &options);
    while (atomic_load(&h->over) == 0) {
        ferry_msg_t *m;
        int answer = ferry_recv(rx, 5 * MILLISECOND, &m);
        check(answer == 0 || answer == -ETIMEDOUT);
        if (answer == 0)
            act(self, m, last);
        if (h->wild && next_random(&self->random) % 200 == 0) { /* goes away, with what lies ready for it */
            close_receiver(rx);
            rx = open_receiver(node, "work", FERRY_QUEUE, &options);
        }
    }
    close_receiver(rx);
    close_node(node);
}

static void read_dead(void *arg) {
    actor_t *self = arg;
    history_t *h = self->history;
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.senders = UINT32_MAX};
    ferry_receiver_t *rx = open_receiver(node, "work.dead", FERRY_QUEUE, &options);
    while (atomic_load(&h->over) == 0) {
        ferry_msg_t *m;
        if (ferry_recv(rx, 5 * MILLISECOND, &m) != 0)
            continue;
        uint32_t sender, place;
        letter_t *letter = letter_of(h, m, &sender, &place);
        ferry_msg_origin_t origin = {.size = sizeof origin};
        check_is(ferry_msg_origin(m, &origin), 0);
        check(strcmp(origin.queue, "work") == 0 && origin.attempts >= ATTEMPTS && origin.sequence == place + 1);
        atomic_fetch_add(&letter->dead, 1);
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

/* ---- the whole ---- */

static void check_letters(const history_t *h) {
    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < EACH; i++) {
            const letter_t *letter = &h->letters[s][i];
            unsigned seen = letter->attempts >> 1;
            check(seen != 0 && (seen & (seen + 1)) == 0); /* 1, 2, ... without a gap */
            if (letter->dead == 0) {
                check_is(letter->released, 1);
            } else {
                check_is(letter->released, 0);
                check_is(seen, (1u << ATTEMPTS) - 1);
                check(h->wild || letter->dead == 1);
            }
            check(i % 30 != 7 || letter->dead > 0 || h->wild);
        }
    }
}

/* Whoever has died is followed by another one. */
static void tend(pid_t *workers, actor_t *actors, history_t *h) {
    int64_t end = monotonic() + 3 * PATIENCE;
    while (atomic_load(&h->senders_done) < SENDERS) {
        check(monotonic() < end);
        for (unsigned i = 0; i < WORKERS; i++) {
            int status;
            if (waitpid(workers[i], &status, WNOHANG) != workers[i])
                continue;
            check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            (void)next_random(&actors[i].random);
            workers[i] = child_start(work, &actors[i]);
        }
        nap(2 * MILLISECOND);
    }
}

static void run_history(bool wild, uint64_t seed) {
    history_t *h = share(sizeof *h);
    h->wild = wild;
    h->seed = seed;
    actor_t actors[WORKERS + SENDERS + 1];
    pid_t pids[WORKERS + SENDERS + 1];
    for (unsigned i = 0; i < WORKERS + SENDERS + 1; i++)
        actors[i] = (actor_t){.history = h, .number = i < WORKERS ? i : i - WORKERS, .random = seed * 1000 + i};
    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = child_start(work, &actors[i]);
    for (unsigned i = WORKERS; i < WORKERS + SENDERS; i++)
        pids[i] = child_start(send_all, &actors[i]);
    pids[WORKERS + SENDERS] = child_start(read_dead, &actors[WORKERS + SENDERS]);
    tend(pids, actors, h);
    atomic_store(&h->over, 1);
    for (unsigned i = 0; i < WORKERS + SENDERS + 1; i++) {
        int status = child_wait(pids[i]);
        check(status == 0 || (i < WORKERS && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    }
    check_letters(h);
    check(atomic_load(&h->rejections) > 0);
}

static void while_nobody_dies_each_message_is_done_once_and_first_attempts_come_in_order(void) {
    for (uint64_t seed = 1; seed <= 2; seed++)
        run_history(false, seed);
}

static void whoever_dies_closes_or_overstays_nothing_is_lost_or_done_twice(void) {
    for (uint64_t seed = 1; seed <= 2; seed++)
        run_history(true, seed);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(while_nobody_dies_each_message_is_done_once_and_first_attempts_come_in_order),
        TEST(whoever_dies_closes_or_overstays_nothing_is_lost_or_done_twice),
    };
    return run_suite("work_history", tests, sizeof tests / sizeof *tests, argc, argv);
}
