/* SPDX-License-Identifier: MIT
 *
 * ghost.c - a receiver whose connection is lost while its process lives: what it holds stays as it is.
 */
#include "harness.h"
#include "published.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL 40u
#define LARGE 65536u
#define UNREAD 5u
#define LATER 2000u
#define REGION_BYTES 65536u

typedef struct scene {
    ferry_kind_t kind;
    bool stops;
    bool may_lose;
    unsigned retain;
    bool closes; /* the reader closes its receiver instead of releasing what it holds first */
    uint64_t node;
    atomic_uint taken;
    atomic_uint others_done;
    atomic_uint released;
    atomic_uint done;
} scene_t;

static void kick(uint64_t node) {
    check_is(ferry_kick("test", NULL, node, NULL), 0);
}

/* Sent one after the other: each has its number as its pattern, and every tenth is large. */
static size_t size_of(uint64_t number) {
    return number % 10 == 1 ? LARGE : SMALL;
}

static void send_pattern(ferry_sender_t *tx, uint64_t number) {
    static unsigned char bytes[LARGE];
    fill(bytes, size_of(number), number);
    check_is(ferry_send(tx, bytes, size_of(number), PATIENCE), 0);
}

static void check_pattern(const ferry_msg_t *m, uint64_t number) {
    check_is(ferry_msg_size(m), size_of(number));
    check(filled(ferry_msg_data(m), ferry_msg_size(m), number));
}

/* Until it learns that it was expelled, what it had been given before may still come, in order and whole. */
static void take_the_rest(ferry_receiver_t *rx, const scene_t *scene) {
    uint64_t next = 2;
    int r;
    ferry_msg_t *m = NULL;
    while ((r = ferry_recv(rx, PATIENCE, &m)) == 0) {
        uint64_t number = info_of(m).sequence - 1;
        check(scene->may_lose ? number >= next : number == next);
        check_pattern(m, number);
        next = number + 1;
        (void)ferry_msg_release(m);
    }
    check_error(r, -ESHUTDOWN, "expelled");
}

/* Of a queue, others have it. */
static void release_what_was_held(ferry_msg_t *m, const scene_t *scene) {
    check_is(ferry_msg_release(m), scene->kind == FERRY_QUEUE ? -ESHUTDOWN : 0);
}

static void hold_two(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.senders = 2, .may_lose = scene->may_lose};
    ferry_receiver_t *rx = open_receiver(node, "c", scene->kind, &options);
    ferry_msg_t *small = receive(rx), *large = receive(rx);
    scene->node = ferry_node_id(node);
    atomic_store(&scene->taken, 1);
    await(&scene->others_done, 1);
    check_pattern(small, 0);
    check_pattern(large, 1);
    take_the_rest(rx, scene);
    check_pattern(small, 0);
    check_pattern(large, 1);
    if (scene->closes) {
        check_is(ferry_receiver_close(rx), 2);
        check_pattern(large, 1);
    }
    release_what_was_held(small, scene);
    release_what_was_held(large, scene);
    atomic_store(&scene->released, 1);
    await(&scene->done, 1);
    if (!scene->closes)
        close_receiver(rx);
    close_node(node);
}

static void expel(const scene_t *scene, pid_t reader) {
    if (scene->stops) {
        check_is(kill(reader, SIGSTOP), 0);
        check_is(waitpid(reader, NULL, WUNTRACED), reader);
    }
    kick(scene->node);
}

/* Who comes late gets what is retained; then others take its place. */
static void check_history(ferry_t *node, const scene_t *scene, ferry_sender_t *tx, ferry_receiver_t *other) {
    ferry_receiver_t *late = open_receiver(node, "c", scene->kind, NULL);
    for (uint64_t i = LATER - scene->retain; i < LATER; i++) {
        ferry_msg_t *m = receive(late);
        check_pattern(m, i);
        check_is(info_of(m).sequence, i + 1);
        release(m);
    }
    for (unsigned i = 0; i < scene->retain; i++) {
        send_pattern(tx, 0);
        release(receive(late));
        release(receive(other));
    }
    close_receiver(late);
}

static bool has_no_blocks(void *tx) {
    return sender_stats(tx).pool_blocks == 0;
}

/* The reader is expelled with two messages held; the sender goes on with others for long. */
static void expel_a_holder(scene_t scene_is) {
    scene_t *scene = share(sizeof *scene);
    *scene = scene_is;
    pid_t reader = child_start(hold_two, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", scene->kind, &(ferry_contract_t){.retain = scene->retain});
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 2 + UNREAD; i++)
        send_pattern(tx, i);
    await(&scene->taken, 1);
    expel(scene, reader);
    ferry_receiver_options_t from_now_on = {.no_history = scene->retain > 0};
    ferry_receiver_t *other = open_receiver(node, "c", scene->kind, &from_now_on);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; scene->kind == FERRY_QUEUE && i < 2 + UNREAD; i++) {
        ferry_msg_t *m = receive(other);
        check_pattern(m, i);
        check_is(info_of(m).attempt, i < 2 ? 2 : 1);
        release(m);
    }
    for (uint64_t i = 2 + UNREAD; i < LATER; i++) {
        send_pattern(tx, i);
        ferry_msg_t *m = receive(other);
        check_pattern(m, i);
        release(m);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0); /* who was expelled is not waited for */
    check_is(sender_stats(tx).receivers, 1);
    if (scene->retain > 0)
        check_history(node, scene, tx, other);
    check(sender_stats(tx).pool_blocks > 0); /* but it still holds what it held */
    if (scene->stops)
        check_is(kill(reader, SIGCONT), 0);
    atomic_store(&scene->others_done, 1);
    await(&scene->released, 1);
    await_that(has_no_blocks, tx, "what an expelled receiver has released is the sender's again");
    atomic_store(&scene->done, 1);
    child_join(reader);
    close_sender(tx);
    close_receiver(other);
    close_node(node);
}

static void what_an_expelled_receiver_of_a_queue_holds_does_not_change(void) {
    expel_a_holder((scene_t){.kind = FERRY_QUEUE});
}

static void what_a_stopped_one_of_a_queue_holds_does_not_change(void) {
    expel_a_holder((scene_t){.kind = FERRY_QUEUE, .stops = true, .closes = true});
}

static void what_an_expelled_receiver_of_a_topic_holds_does_not_change(void) {
    expel_a_holder((scene_t){.kind = FERRY_TOPIC, .closes = true});
}

static void what_a_stopped_one_of_a_topic_holds_does_not_change(void) {
    expel_a_holder((scene_t){.kind = FERRY_TOPIC, .stops = true});
}

static void nor_does_it_stop_a_topic_that_has_a_history(void) {
    expel_a_holder((scene_t){.kind = FERRY_TOPIC, .retain = 10});
}

static void what_one_that_may_lose_messages_holds_does_not_change(void) {
    expel_a_holder((scene_t){.kind = FERRY_TOPIC, .may_lose = true});
}

/* ---- its end ---- */

static void hold_for_ever(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "c", scene->kind, NULL);
    (void)receive(rx);
    (void)receive(rx);
    scene->node = ferry_node_id(node);
    atomic_fetch_add(&scene->taken, 1);
    for (;;)
        nap(SECOND);
}

/* A sender of so small a quota that what one receiver holds uses it up. */
static void fill_up(ferry_kind_t kind) {
    scene_t *scene = share(sizeof *scene);
    scene->kind = kind;
    pid_t reader = child_start(hold_for_ever, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", kind, &(ferry_contract_t){.quota = 3 * LARGE + LARGE / 2});
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (int i = 0; i < 2; i++) {
        check_is(ferry_msg_new(tx, LARGE, PATIENCE, &data, &m), 0);
        fill(data, LARGE, 1);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
    }
    await(&scene->taken, 1);
    kick(scene->node);
    check_is(ferry_sender_wait(tx, 0, FERRY_NOW), 0);
    check_is(ferry_msg_new(tx, LARGE, PATIENCE, &data, &m), 0);
    ferry_msg_t *none = NULL;
    check_error(ferry_msg_new(tx, LARGE, 20 * MILLISECOND, &data, &none), -ETIMEDOUT, "");
    release(m);
    child_kill(reader);
    ferry_receiver_t *other = open_receiver(node, "c", kind, NULL);
    for (int i = 0; kind == FERRY_QUEUE && i < 2; i++) {
        m = receive(other);
        check(filled(ferry_msg_data(m), LARGE, 1));
        release(m);
    }
    await_that(has_no_blocks, tx, "what a dead one held is the sender's again");
    close_receiver(other);
    close_sender(tx);
    close_node(node);
}

static void what_it_holds_counts_against_the_quota_of_a_queue_until_it_dies(void) {
    fill_up(FERRY_QUEUE);
}

static void what_it_holds_counts_against_the_quota_of_a_topic_until_it_dies(void) {
    fill_up(FERRY_TOPIC);
}

#define HOLDERS 8u

/* One after the other is expelled, each with what stands in a ring. */
static void have_many_holders(unsigned retain) {
    scene_t *scene = share(sizeof *scene);
    pid_t readers[HOLDERS];
    scene->kind = FERRY_TOPIC;
    for (unsigned i = 0; i < HOLDERS; i++)
        readers[i] = child_start(hold_for_ever, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", FERRY_TOPIC, &(ferry_contract_t){.retain = retain});
    check_is(ferry_sender_wait(tx, HOLDERS, PATIENCE), HOLDERS);
    ferry_receiver_t *other = open_receiver(node, "c", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(tx, HOLDERS + 1, PATIENCE), HOLDERS + 1);
    uint64_t sent = 0;
    for (; sent < 2; sent++) {
        send_number(tx, sent);
        check_is(receive_number(other), sent);
    }
    await(&scene->taken, HOLDERS);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        const ferry_look_node_t *seen = ferry_look_node(look, i);
        if (seen->id == ferry_node_id(node))
            continue;
        kick(seen->id);
        for (int k = 0; k < 500; k++, sent++) {
            send_number(tx, sent);
            check_is(receive_number(other), sent);
        }
    }
    ferry_look_close(look);
    check_is(sender_stats(tx).receivers, 1);
    for (unsigned i = 0; i < HOLDERS; i++)
        child_kill(readers[i]);
    close_sender(tx);
    close_receiver(other);
    close_node(node);
}

static void many_holders_of_a_topic_do_not_stop_its_sender(void) {
    have_many_holders(0);
}

static void nor_do_they_stop_one_that_has_a_history(void) {
    have_many_holders(1500);
}

#define RINGS 4u /* that a reader has places for */

typedef struct turns {
    atomic_uint turn;
    atomic_uint taken;
    uint64_t nodes[RINGS - 1];
} turns_t;

typedef struct holder {
    turns_t *turns;
    unsigned number;
} holder_t;

static void hold_in_turn(void *arg) {
    const holder_t *me = arg;
    await(&me->turns->turn, me->number);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "c", FERRY_TOPIC, NULL);
    me->turns->nodes[me->number - 1] = ferry_node_id(node);
    (void)receive(rx);
    atomic_store(&me->turns->taken, me->number);
    for (;;)
        nap(SECOND);
}

/* Sends until there is no room, or as much as no ring has room for. */
static void send_some(ferry_sender_t *tx, uint64_t *sent) {
    int r = 0;
    for (int k = 0; k < 6000 && r == 0; k++) {
        r = ferry_send(tx, sent, sizeof *sent, FERRY_NOW);
        *sent += r == 0;
    }
    check(r == 0 || r == -EAGAIN);
}

/* Each time the sender goes on in another ring: more of them than a reader that takes nothing has a place for. */
static void a_reader_that_may_lose_messages_and_lags_by_many_rings_stops_nobody_for_ever(void) {
    turns_t *turns = share(sizeof *turns);
    pid_t readers[RINGS - 1];
    for (unsigned i = 0; i < RINGS - 1; i++) {
        holder_t holder = {turns, i + 1};
        readers[i] = child_start(hold_in_turn, &holder);
    }
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", FERRY_TOPIC, NULL);
    ferry_receiver_t *slow = open_receiver(node, "c", FERRY_TOPIC, &(ferry_receiver_options_t){.may_lose = 1});
    uint64_t sent = 0;
    for (unsigned i = 1; i < RINGS; i++) {
        atomic_store(&turns->turn, i);
        check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
        send_number(tx, sent++);
        await(&turns->taken, i);
        kick(turns->nodes[i - 1]);
        send_some(tx, &sent);
    }
    send_number(tx, sent);
    while (receive_number(slow) != sent) {
    }
    for (uint64_t end = sent + 5000; sent < end;) {
        send_number(tx, ++sent);
        check_is(receive_number(slow), sent);
    }
    for (unsigned i = 0; i < RINGS - 1; i++)
        child_kill(readers[i]);
    close_sender(tx);
    close_receiver(slow);
    close_node(node);
}

#define TAGS 20u
#define LEFT 3u /* rings */

static void publish_with_tag(ferry_sender_t *tx, uint64_t tag) {
    void *data;
    ferry_msg_t *m;
    check_is(ferry_msg_new(tx, LARGE, PATIENCE, &data, &m), 0);
    fill(data, LARGE, tag);
    check_is(ferry_msg_set_tag(m, tag), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

/* Takes all there is, and counts the large ones, of which there is one with each tag. The rings come by and by: nothing
 * for a moment is not the end as long as some lack. */
static unsigned take_tags(ferry_receiver_t *rx) {
    bool seen[TAGS + 1] = {false};
    unsigned count = 0;
    ferry_msg_t *m = NULL;
    int r;
    while ((r = ferry_recv(rx, count < TAGS ? PATIENCE : 100 * MILLISECOND, &m)) == 0) {
        uint64_t tag = info_of(m).tag;
        if (tag > 0) {
            check(tag <= TAGS && !seen[tag]);
            check(filled(ferry_msg_data(m), LARGE, tag));
            seen[tag] = true;
            count++;
        }
        release(m);
    }
    check_error(r, -ETIMEDOUT, "c");
    return count;
}

/* The ring in which they stand is left to somebody who was expelled, and the sender goes on in another one. */
static void a_reader_of_the_newest_with_each_tag_loses_none_when_a_ring_is_left(void) {
    turns_t *turns = share(sizeof *turns);
    pid_t readers[LEFT];
    for (unsigned i = 0; i < LEFT; i++) {
        holder_t holder = {turns, i + 1};
        readers[i] = child_start(hold_in_turn, &holder);
    }
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", FERRY_TOPIC, NULL);
    ferry_receiver_t *slow =
        open_receiver(node, "c", FERRY_TOPIC, &(ferry_receiver_options_t){.newest = FERRY_NEWEST_PER_TAG});
    uint64_t sent = 0;
    for (uint64_t tag = 1; tag <= TAGS; tag++)
        publish_with_tag(tx, tag);
    for (unsigned i = 1; i <= LEFT; i++) {
        atomic_store(&turns->turn, i);
        check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
        send_number(tx, sent++);
        await(&turns->taken, i);
        kick(turns->nodes[i - 1]);
        send_some(tx, &sent);
    }
    check_is(take_tags(slow), TAGS);
    for (unsigned i = 0; i < LEFT; i++)
        child_kill(readers[i]);
    close_sender(tx);
    close_receiver(slow);
    close_node(node);
}

/* ---- closed, without memory for what is held ---- */

#define HUGE (4u << 20)

/* No sanitizer bears it; there, the message is copied as usual. */
static void leave_no_memory(void) {
    char text[64];
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    check(f && fgets(text, sizeof text, f) && sscanf(text, "%lu", &pages) == 1);
    check_is(fclose(f), 0);
    rlim_t left = pages * (rlim_t)sysconf(_SC_PAGESIZE) + HUGE / 4;
    if (!UNDER_SANITIZER)
        check_is(setrlimit(RLIMIT_AS, &(struct rlimit){left, left}), 0);
}

static void close_with_one_held(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "c", scene->kind, NULL);
    ferry_msg_t *m = receive(rx);
    leave_no_memory();
    check_is(ferry_receiver_close(rx), 1);
    atomic_store(&scene->taken, 1);
    await(&scene->others_done, 1);
    check_is(ferry_msg_size(m), HUGE);
    check(filled(ferry_msg_data(m), HUGE, 1));
    check_is(ferry_msg_release(m), 0);
    atomic_store(&scene->released, 1);
    close_node(node);
}

static void send_huge(ferry_sender_t *tx, uint64_t number) {
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, HUGE, PATIENCE, &data, &m), 0);
    fill(data, HUGE, number);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

static void close_without_memory(ferry_kind_t kind) {
    scene_t *scene = share(sizeof *scene);
    scene->kind = kind;
    pid_t reader = child_start(close_with_one_held, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "c", kind, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_huge(tx, 1);
    await(&scene->taken, 1);
    ferry_receiver_t *other = open_receiver(node, "c", kind, NULL);
    if (kind == FERRY_QUEUE)
        release(receive(other));
    for (unsigned i = 2; i < 12; i++) {
        send_huge(tx, i);
        release(receive(other));
    }
    atomic_store(&scene->others_done, 1);
    await(&scene->released, 1);
    await_that(has_no_blocks, tx, "what a closed receiver's program has released is the sender's again");
    child_join(reader);
    close_sender(tx);
    close_receiver(other);
    close_node(node);
}

static void what_a_closed_receiver_of_a_queue_cannot_copy_does_not_change(void) {
    close_without_memory(FERRY_QUEUE);
}

static void what_a_closed_receiver_of_a_topic_cannot_copy_does_not_change(void) {
    close_without_memory(FERRY_TOPIC);
}

/* ---- published regions ---- */

static void hold_a_view(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    ferry_region_view_t *view = view_newest(reader);
    check(stamped(view, 1));
    scene->node = ferry_node_id(node);
    atomic_store(&scene->taken, 1);
    await(&scene->others_done, 1);
    check(stamped(view, 1));
    stop_viewing(view);
    close_reader(reader);
    close_node(node);
}

static void a_view_of_an_expelled_reader_does_not_change(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t reader = child_start(hold_a_view, scene);
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, "map", REGION_BYTES, NULL);
    stamp(writer, REGION_BYTES, 1);
    check_is(publish(writer), 1);
    await(&scene->taken, 1);
    expel(scene, reader);
    for (uint64_t v = 2; v < 200; v++) {
        stamp(writer, REGION_BYTES, v);
        check_is(publish(writer), v);
    }
    atomic_store(&scene->others_done, 1);
    child_join(reader);
    close_writer(writer);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_an_expelled_receiver_of_a_queue_holds_does_not_change),
        TEST(what_a_stopped_one_of_a_queue_holds_does_not_change),
        TEST(what_an_expelled_receiver_of_a_topic_holds_does_not_change),
        TEST(what_a_stopped_one_of_a_topic_holds_does_not_change),
        TEST(nor_does_it_stop_a_topic_that_has_a_history),
        TEST(what_one_that_may_lose_messages_holds_does_not_change),
        TEST(what_it_holds_counts_against_the_quota_of_a_queue_until_it_dies),
        TEST(what_it_holds_counts_against_the_quota_of_a_topic_until_it_dies),
        TEST(many_holders_of_a_topic_do_not_stop_its_sender),
        TEST(nor_do_they_stop_one_that_has_a_history),
        TEST(a_reader_that_may_lose_messages_and_lags_by_many_rings_stops_nobody_for_ever),
        TEST(a_reader_of_the_newest_with_each_tag_loses_none_when_a_ring_is_left),
        TEST(what_a_closed_receiver_of_a_queue_cannot_copy_does_not_change),
        TEST(what_a_closed_receiver_of_a_topic_cannot_copy_does_not_change),
        TEST(a_view_of_an_expelled_reader_does_not_change),
    };
    return run_suite("ghost", tests, sizeof tests / sizeof tests[0], argc, argv);
}
