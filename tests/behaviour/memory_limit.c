/* SPDX-License-Identifier: MIT
 *
 * memory_limit.c - participants in a control group with little memory, as containers have it: what they are charged
 * for, and what becomes of the others when the kernel kills one because it needs more.
 */
#include "groups.h"
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)
#define LIMIT (32 * MIB)
#define MOST 128u /* messages of a MiB: four times the limit */
#define LATER 200u

typedef struct scene {
    atomic_uint sent;  /* how many calls of the doomed sender have returned */
    atomic_uint ready; /* how many are linked, or have what they shall have */
    atomic_uint go;
} scene_t;

static const ferry_contract_t roomy = {.quota = 4 * MOST * MIB};

/* In memory of the caller's own. */
static int send_pattern(ferry_sender_t *tx, uint64_t number) {
    static unsigned char bytes[MIB];
    fill(bytes, sizeof bytes, number);
    return ferry_send(tx, bytes, sizeof bytes, PATIENCE);
}

static void check_pattern(const ferry_msg_t *m, uint64_t number) {
    check_is(ferry_msg_size(m), MIB);
    check(filled(ferry_msg_data(m), MIB, number));
}

/* Of a child that was started to be killed by the kernel. */
static void check_killed(int status) {
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    check_is(group_kills(), 1);
}

/* ---- a sender ---- */

static void send_until_killed(void *arg) {
    scene_t *scene = arg;
    group_enter();
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    atomic_fetch_add(&scene->ready, 1);
    await(&scene->ready, 2);
    for (unsigned i = 0; i < MOST; i++) {
        check_is(send_pattern(tx, i), 0);
        atomic_store(&scene->sent, i + 1);
    }
}

/* Numbers from 0; the last ones when the other has died. */
static void send_on(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    atomic_fetch_add(&scene->ready, 1);
    uint64_t next = 0;
    while (!atomic_load(&scene->go)) {
        send_number(tx, next++);
        nap(MILLISECOND / 10);
    }
    for (unsigned i = 0; i < LATER; i++)
        send_number(tx, next++);
    send_number(tx, UINT64_MAX);
    close_sender(tx);
    close_node(node);
}

/* What a receiver outside has of both. */
typedef struct harvest {
    ferry_msg_t *held[MOST]; /* of the doomed one: as long as they are held, they take memory */
    unsigned count;
    uint64_t next; /* number of the other one */
    bool complete;
} harvest_t;

static void take_one(ferry_receiver_t *rx, harvest_t *h) {
    ferry_msg_t *m = receive(rx);
    if (ferry_msg_size(m) == MIB) {
        check(h->count < MOST);
        check_pattern(m, h->count);
        h->held[h->count++] = m;
        return;
    }
    uint64_t number = number_in(m);
    h->complete = number == UINT64_MAX;
    check(h->complete || number == h->next++);
    release(m);
}

/* A call that had not returned when it was killed may have sent its message, or not. */
static void check_harvest(ferry_receiver_t *rx, harvest_t *h, unsigned sent) {
    ferry_msg_t *m = NULL;
    check(h->count == sent || h->count == sent + 1);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "all senders ended");
    for (unsigned i = 0; i < h->count; i++) {
        check_pattern(h->held[i], i);
        release(h->held[i]);
    }
}

static void what_a_sender_had_sent_before_its_group_ran_out_of_memory_arrives(void) {
    scene_t *scene = share(sizeof *scene);
    harvest_t h = {.count = 0};
    group_make(LIMIT);
    pid_t doomed = child_start(send_until_killed, scene), other = child_start(send_on, scene);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    int status = 0;
    while (waitpid(doomed, &status, WNOHANG) == 0)
        take_one(rx, &h);
    check_killed(status);
    unsigned sent = atomic_load(&scene->sent);
    check(sent > 4);
    atomic_store(&scene->go, 1);
    while (!h.complete || h.count < sent)
        take_one(rx, &h);
    child_join(other);
    check(h.next > LATER);
    check_harvest(rx, &h, sent);
    close_receiver(rx);
    close_node(node);
    group_remove();
}

/* Each needs memory of its own, which the receiver must be told of, and all of them have room in a ring that has not
 * grown. */
#define PIECE (320 * (size_t)1024)

static void send_pieces_until_killed(void *arg) {
    static unsigned char bytes[PIECE];
    scene_t *scene = arg;
    group_enter();
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    atomic_store(&scene->ready, 1);
    await(&scene->go, 1);
    for (unsigned i = 0; i < LIMIT / PIECE; i++) {
        fill(bytes, sizeof bytes, i);
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
        atomic_store(&scene->sent, i + 1);
    }
}

/* Nothing of this process runs while the other one sends: it hears of each message's memory, and of the death, at once. */
static void stop_and_receive_pieces(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    unsigned count = 0;
    int r;
    await(&scene->ready, 1);
    check_is(raise(SIGSTOP), 0);
    for (; (r = ferry_recv(rx, PATIENCE, &m)) == 0; count++) {
        check_is(ferry_msg_size(m), PIECE);
        check(filled(ferry_msg_data(m), PIECE, count));
        release(m);
    }
    check_error(r, -EPIPE, "all senders ended");
    unsigned sent = atomic_load(&scene->sent);
    check(sent > 70); /* more than one turn of reading takes in */
    check(count == sent || count == sent + 1);
    close_receiver(rx);
    close_node(node);
}

static void what_it_had_sent_arrives_where_nobody_looked_before_it_was_dead(void) {
    scene_t *scene = share(sizeof *scene);
    group_make(LIMIT);
    pid_t receiver = child_start(stop_and_receive_pieces, scene);
    pid_t doomed = child_start(send_pieces_until_killed, scene);
    int status = 0;
    check(waitpid(receiver, &status, WUNTRACED) == receiver && WIFSTOPPED(status));
    atomic_store(&scene->go, 1);
    check_killed(child_wait(doomed));
    check_is(kill(receiver, SIGCONT), 0);
    child_join(receiver);
    group_remove();
}

/* A region that would grow beyond what the group may have. What it holds stays, up to its last byte. */
static void grow_in_vain(ferry_t *node, uint32_t huge_pages) {
    ferry_region_options_t options = {.limit = 4 * LIMIT, .huge_pages = huge_pages};
    ferry_region_info_t info = {0};
    ferry_region_t *region = NULL;
    ferry_ref_t all = 0, more = 0;
    check_is(ferry_region_open(node, "r", MIB, &options, &region), 0);
    check_is(ferry_region_info(region, &info), 0);
    check_is(ferry_region_alloc(region, info.largest_free, &all), 0);
    fill(ferry_region_at(region, all), info.largest_free, huge_pages);
    check_error(ferry_region_alloc(region, 2 * LIMIT, &more), -ENOMEM, "memory");
    check(filled(ferry_region_at(region, all), info.largest_free, huge_pages));
    check_is(ferry_region_alloc(region, MIB, &more), 0);
    check_is(ferry_region_check(region), 2);
    check_is(ferry_region_close(region), 0);
}

static void ask_for_too_much(ferry_t *node, ferry_sender_t *tx) {
    void *data = NULL;
    ferry_msg_t *large = NULL;
    check_error(ferry_msg_new(tx, 2 * LIMIT, PATIENCE, &data, &large), -ENOMEM, "memory control group quota");
    grow_in_vain(node, 0);
    grow_in_vain(node, 1);
}

/* Where the kernel finds nobody to kill it says so, and so does the call. What it had got until then must be given back:
 * without room, the process would stand still wherever it touches memory of its own. */
static void be_refused_and_go_on(void *arg) {
    (void)arg;
    bool spared = group_enter_spared();
    if (!spared)
        fprintf(stderr, "# no process can be spared by the kernel here: refused memory was not tried\n");
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned i = 0; i < 8; i++) {
        if (spared)
            ask_for_too_much(node, tx);
        check_is(send_pattern(tx, i), 0);
    }
    close_sender(tx);
    close_node(node);
    check_is(group_kills(), 0);
}

static void who_may_not_be_killed_is_told_and_goes_on(void) {
    group_make(LIMIT);
    pid_t sender = child_start(be_refused_and_go_on, NULL);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 8; i++) {
        ferry_msg_t *m = receive(rx);
        check_pattern(m, i);
        release(m);
    }
    child_join(sender);
    close_receiver(rx);
    close_node(node);
    group_remove();
}

/* ---- a receiver ---- */

static void hold_more_than_the_limit(void *arg) {
    scene_t *scene = arg;
    static ferry_msg_t *held[MOST];
    group_enter();
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < MOST; i++)
        check_pattern(held[i] = receive(rx), i);
    atomic_store(&scene->ready, 1);
    await(&scene->go, 1);
    for (unsigned i = 0; i < MOST; i++)
        release(held[i]);
    close_receiver(rx);
    close_node(node);
}

static void a_receiver_is_not_charged_for_what_it_reads_and_holds(void) {
    scene_t *scene = share(sizeof *scene);
    group_make(LIMIT);
    pid_t receiver = child_start(hold_more_than_the_limit, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    for (unsigned i = 0; i < MOST; i++)
        check_is(send_pattern(tx, i), 0);
    await(&scene->ready, 1);
    check_is(group_kills(), 0);
    atomic_store(&scene->go, 1);
    child_join(receiver);
    close_sender(tx);
    close_node(node);
    group_remove();
}

static void hold_two_until_killed(void *arg) {
    scene_t *scene = arg;
    group_enter();
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 2; i++)
        check_pattern(receive(rx), i);
    atomic_store(&scene->ready, 1);
    await(&scene->go, 1);
    unsigned char *own = mmap(NULL, 4 * LIMIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(own != MAP_FAILED);
    memset(own, 1, 4 * LIMIT);
}

static void what_a_receiver_held_when_its_group_ran_out_of_memory_goes_to_others(void) {
    scene_t *scene = share(sizeof *scene);
    group_make(LIMIT);
    pid_t doomed = child_start(hold_two_until_killed, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &roomy);
    for (unsigned i = 0; i < 5; i++)
        check_is(send_pattern(tx, i), 0);
    await(&scene->ready, 1);
    atomic_store(&scene->go, 1);
    check_killed(child_wait(doomed));
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(rx);
        check_pattern(m, i);
        check_is(info_of(m).attempt, i < 2 ? 2 : 1);
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    group_remove();
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_a_sender_had_sent_before_its_group_ran_out_of_memory_arrives),
        TEST(what_it_had_sent_arrives_where_nobody_looked_before_it_was_dead),
        TEST(who_may_not_be_killed_is_told_and_goes_on),
        TEST(a_receiver_is_not_charged_for_what_it_reads_and_holds),
        TEST(what_a_receiver_held_when_its_group_ran_out_of_memory_goes_to_others),
    };
    const char *why_not = groups_begin();
    if (why_not) {
        printf("1..0 # SKIP %s\n", why_not);
        return 0;
    }
    return run_suite("memory_limit", tests, sizeof tests / sizeof tests[0], argc, argv);
}
