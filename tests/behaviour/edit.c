/* SPDX-License-Identifier: MIT
 *
 * edit.c - a message is copied only when someone changes it: 0 copies after release, exactly 1 before it.
 *
 * Shown by memory: both sides tell the inode and offset of what they look at, the pool grows by exactly one block, and
 * the receiver's bytes stay as they were sent while the editor writes.
 */
#include "harness.h"

#include <string.h>

#define BEFORE 1 /* pattern as sent */
#define AFTER 2  /* pattern written by the editor */

/* The receiver's steps and what it saw; the editor sets `may`, the receiver answers with `did`. */
typedef struct steps {
    size_t size;
    atomic_uint may;
    atomic_uint did;
    ferry_msg_place_t seen;
} steps_t;

enum { RECEIVE = 1, LOOK_AGAIN, RELEASE, RECEIVE_NEXT };

static void let(steps_t *steps, unsigned step) {
    atomic_store(&steps->may, step);
    await(&steps->did, step);
}

static void obey(steps_t *steps, unsigned step) {
    await(&steps->may, step);
}

static void done(steps_t *steps, unsigned step) {
    atomic_store(&steps->did, step);
}

static ferry_msg_place_t place_of(const ferry_msg_t *m) {
    ferry_msg_place_t place = {.size = sizeof place};
    check_is(ferry_msg_place(m, &place), 0);
    return place;
}

static bool same_place(ferry_msg_place_t a, ferry_msg_place_t b) {
    return a.inode == b.inode && a.offset == b.offset;
}

static void read_along(ferry_t *node, void *arg) {
    steps_t *steps = arg;
    ferry_receiver_t *rx = open_receiver(node, "doc", FERRY_QUEUE, NULL);
    obey(steps, RECEIVE);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_size(m), steps->size);
    check(filled(ferry_msg_data(m), steps->size, BEFORE));
    steps->seen = place_of(m);
    done(steps, RECEIVE);
    obey(steps, LOOK_AGAIN);
    check(filled(ferry_msg_data(m), steps->size, BEFORE));
    check(same_place(place_of(m), steps->seen));
    done(steps, LOOK_AGAIN);
    obey(steps, RELEASE);
    release(m);
    done(steps, RELEASE);
    obey(steps, RECEIVE_NEXT);
    m = receive(rx);
    check_is(ferry_msg_size(m), steps->size);
    check(filled(ferry_msg_data(m), steps->size, AFTER));
    release(m);
    check_is(receiver_stats(rx).copies_made, 0);
    check_is(receiver_stats(rx).copies_avoided, 2);
    check_is(receiver_stats(rx).avoided_bytes, 2 * steps->size);
    done(steps, RECEIVE_NEXT);
    close_receiver(rx);
}

typedef struct editor {
    crew_t *crew;
    steps_t *steps;
    ferry_sender_t *tx;
    ferry_msg_t *m;
    const void *first;
    ferry_msg_place_t place;
} editor_t;

static editor_t begin(where_t where, size_t size) {
    editor_t e = {.steps = share(sizeof *e.steps)};
    void *data = NULL;
    e.steps->size = size;
    e.crew = crew_begin(where);
    crew_add(e.crew, read_along, e.steps);
    e.tx = open_sender(crew_node(e.crew), "doc", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(e.tx, 1, PATIENCE), 1);
    check_is(ferry_msg_new(e.tx, size, PATIENCE, &data, &e.m), 0);
    fill(data, size, BEFORE);
    check_is(ferry_send_msg(e.tx, e.m, PATIENCE), 0);
    e.first = ferry_msg_data(e.m);
    e.place = place_of(e.m);
    check(e.place.inode != 0);
    check_is(sender_stats(e.tx).pool_blocks, 1);
    check_is(sender_stats(e.tx).copies_made, 0);
    return e;
}

static void end(editor_t *e) {
    check_is(ferry_send_msg(e->tx, e->m, PATIENCE), 0);
    let(e->steps, RECEIVE_NEXT);
    release(e->m);
    close_sender(e->tx);
    crew_end(e->crew);
}

/* The edit that must copy: one block more, another place, and the first place still as it was sent. */
static void edit_with_one_copy(editor_t *e) {
    void *data = NULL;
    size_t size = e->steps->size;
    check_is(ferry_msg_edit(e->m, &data), 1);
    ferry_sender_stats_t stats = sender_stats(e->tx);
    check_is(stats.pool_blocks, 2);
    check_is(stats.copies_made, 1);
    check_is(stats.copied_bytes, size);
    check(data != e->first && data == ferry_msg_data(e->m));
    check(!same_place(place_of(e->m), e->place));
    check_is(ferry_msg_size(e->m), size);
    check(filled(data, size, BEFORE)); /* the copy starts as what was sent */
    fill(data, size, AFTER);
    check(filled(e->first, size, BEFORE));
    void *again = NULL;
    check_is(ferry_msg_edit(e->m, &again), 0); /* it is the editor's own now */
    check(again == data);
    check(filled(data, size, AFTER));
}

static void an_edit_after_release_copies_nothing(where_t where, size_t size) {
    editor_t e = begin(where, size);
    void *data = NULL;
    let(e.steps, RECEIVE);
    check(same_place(e.steps->seen, e.place)); /* one memory, two processes */
    let(e.steps, LOOK_AGAIN);
    let(e.steps, RELEASE);
    check_is(ferry_msg_edit(e.m, &data), 0);
    check(data == e.first);
    check(same_place(place_of(e.m), e.place));
    check_is(sender_stats(e.tx).pool_blocks, 1);
    check_is(sender_stats(e.tx).copies_made, 0);
    check(filled(data, size, BEFORE));
    fill(data, size, AFTER);
    end(&e);
}

static void an_edit_after_acceptance_copies_once(where_t where, size_t size) {
    editor_t e = begin(where, size);
    let(e.steps, RECEIVE);
    check(same_place(e.steps->seen, e.place));
    edit_with_one_copy(&e);
    let(e.steps, LOOK_AGAIN);
    let(e.steps, RELEASE);
    check_is(sender_stats(e.tx).pool_blocks, 1); /* the version as sent is gone with its last holder */
    end(&e);
}

static void an_edit_before_acceptance_copies_once(where_t where, size_t size) {
    editor_t e = begin(where, size);
    edit_with_one_copy(&e);
    let(e.steps, RECEIVE);
    check(same_place(e.steps->seen, e.place));
    let(e.steps, LOOK_AGAIN);
    let(e.steps, RELEASE);
    check_is(sender_stats(e.tx).pool_blocks, 1);
    end(&e);
}

static void a_page_edited_after_release_is_not_copied(where_t where) {
    an_edit_after_release_copies_nothing(where, 4096);
}

static void a_page_edited_after_acceptance_is_copied_once(where_t where) {
    an_edit_after_acceptance_copies_once(where, 4096);
}

static void a_page_edited_before_acceptance_is_copied_once(where_t where) {
    an_edit_before_acceptance_copies_once(where, 4096);
}

static void a_mebibyte_edited_after_release_is_not_copied(where_t where) {
    an_edit_after_release_copies_nothing(where, 1 << 20);
}

static void a_mebibyte_edited_after_acceptance_is_copied_once(where_t where) {
    an_edit_after_acceptance_copies_once(where, 1 << 20);
}

static void a_mebibyte_edited_before_acceptance_is_copied_once(where_t where) {
    an_edit_before_acceptance_copies_once(where, 1 << 20);
}

/* ---- in one thread ---- */

static ferry_msg_t *new_filled(ferry_sender_t *tx, size_t size, uint64_t seed) {
    void *data = NULL;
    ferry_msg_t *m = NULL;
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    fill(data, size, seed);
    return m;
}

static void small_messages_stay_as_sent_while_the_editor_writes(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (size_t size = 1; size <= 2048; size *= 2) {
        void *data = NULL;
        ferry_msg_t *m = new_filled(tx, size, BEFORE);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        check(ferry_msg_edit(m, &data) >= 0);
        memset(data, 0xee, size);
        ferry_msg_t *got = receive(rx);
        check(filled(ferry_msg_data(got), size, BEFORE));
        check(ferry_msg_edit(m, &data) >= 0);
        memset(data, 0xdd, size);
        check(filled(ferry_msg_data(got), size, BEFORE));
        release(got);
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_message_that_was_never_sent_is_edited_in_place(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    check_is(ferry_msg_edit(m, &data), 0);
    check(data == ferry_msg_data(m));
    release(m);
    check_is(sender_stats(tx).pool_blocks, 0);
    close_sender(tx);
    close_node(node);
}

/* Of what was asked for only a part was used at first: all of it may be, whoever holds the message meanwhile. */
static void a_copy_has_room_for_what_was_asked_for(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    check_is(ferry_msg_set_size(m, 100), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check_is(ferry_msg_edit(m, &data), 1);
    check_is(ferry_msg_size(m), 100);
    check_error(ferry_msg_set_size(m, 5001), -EINVAL, "5001 5000");
    check_is(ferry_msg_set_size(m, 5000), 0);
    fill(data, 5000, AFTER);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
    ferry_msg_t *got = receive(rx);
    check_is(ferry_msg_size(got), 100);
    check(filled(ferry_msg_data(got), 100, BEFORE));
    release(got);
    got = receive(rx);
    check_is(ferry_msg_size(got), 5000);
    check(filled(ferry_msg_data(got), 5000, AFTER));
    release(got);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_message_that_waits_for_a_receiver_is_copied_once(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check_is(ferry_msg_edit(m, &data), 1);
    fill(data, 5000, AFTER);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (uint64_t version = BEFORE; version <= AFTER; version++) {
        ferry_msg_t *got = receive(rx);
        check(filled(ferry_msg_data(got), 5000, version));
        release(got);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_topics_message_is_copied_until_its_last_receiver_has_released_it(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *a = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *b = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    ferry_msg_t *at_a = receive(a), *at_b = receive(b);
    check(same_place(place_of(at_a), place_of(at_b)));
    release(at_a);
    check_is(ferry_msg_edit(m, &data), 1);
    fill(data, 5000, AFTER);
    check(filled(ferry_msg_data(at_b), 5000, BEFORE));
    release(at_b);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    at_a = receive(a);
    at_b = receive(b);
    check(filled(ferry_msg_data(at_a), 5000, AFTER) && filled(ferry_msg_data(at_b), 5000, AFTER));
    release(at_a);
    release(at_b);
    check_is(ferry_msg_edit(m, &data), 0);
    check_is(sender_stats(tx).copies_made, 1);
    release(m);
    close_sender(tx);
    close_receiver(a);
    close_receiver(b);
    close_node(node);
}

static void a_retained_message_is_copied_so_that_history_stays_as_sent(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 1};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    check_is(ferry_msg_edit(m, &data), 1);
    fill(data, 5000, AFTER);
    ferry_receiver_t *late = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_msg_t *got = receive(late);
    check(filled(ferry_msg_data(got), 5000, BEFORE));
    release(got);
    release(m);
    close_receiver(late);
    drop_sender(tx);
    close_node(node);
}

static void an_edit_that_the_quota_forbids_leaves_the_message_as_it_was(void) {
    enum { LARGE = 1 << 20 };
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = LARGE + LARGE / 2};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = new_filled(tx, LARGE, BEFORE);
    check_is(ferry_msg_set_tag(m, 11), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    ferry_msg_t *got = receive(rx);
    const void *before = ferry_msg_data(m);
    ferry_msg_place_t place = place_of(m);
    void *data = NULL;
    check_error(ferry_msg_edit(m, &data), -EDQUOT, "quota");
    check(data == NULL);
    check(ferry_msg_data(m) == before && same_place(place_of(m), place));
    check_is(ferry_msg_size(m), LARGE);
    check(filled(ferry_msg_data(m), LARGE, BEFORE));
    check_is(sender_stats(tx).copies_made, 0);
    check_is(sender_stats(tx).pool_blocks, 1);
    release(got);
    check_is(ferry_msg_edit(m, &data), 0); /* now it may */
    fill(data, LARGE, AFTER);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    got = receive(rx);
    check(filled(ferry_msg_data(got), LARGE, AFTER));
    check_is(info_of(got).tag, 11);
    release(got);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_receiver_that_edits_gets_its_own_copy(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *a = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *b = open_receiver(node, "t", FERRY_TOPIC, NULL);
    static unsigned char bytes[5000];
    for (size_t size = 50; size <= sizeof bytes; size *= 100) {
        void *data = NULL;
        fill(bytes, size, BEFORE);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
        ferry_msg_t *at_a = receive(a), *at_b = receive(b);
        uint64_t made = receiver_stats(a).copies_made;
        check_is(ferry_msg_edit(at_a, &data), 1);
        check_is(receiver_stats(a).copies_made, made + 1);
        check(filled(data, size, BEFORE));
        fill(data, size, AFTER);
        check(ferry_msg_data(at_a) == data);
        check(filled(ferry_msg_data(at_b), size, BEFORE));
        check_is(ferry_msg_edit(at_a, &data), 0);
        check_is(info_of(at_a).attempt, 1);
        release(at_a);
        release(at_b);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(a);
    close_receiver(b);
    close_node(node);
}

static void a_private_view_is_made_once_and_does_not_change(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    static unsigned char bytes[5000];
    fill(bytes, sizeof bytes, BEFORE);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    ferry_msg_t *m = receive(rx);
    const void *first = NULL, *second = NULL;
    check_is(ferry_msg_private(m, &first), 0);
    check_is(ferry_msg_private(m, &second), 0);
    check(first == second);
    check(filled(first, sizeof bytes, BEFORE));
    check_is(receiver_stats(rx).copies_made, 1);
    check_is(receiver_stats(rx).copied_bytes, sizeof bytes);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void stale_handles_are_known(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = new_filled(tx, 5000, BEFORE);
    void *data = NULL;
    close_sender(tx);
    check_error(ferry_msg_edit(m, &data), -EBADF, "");
    check(ferry_msg_data(m) == NULL);
    check_error(ferry_msg_release(m), -EBADF, "");
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(a_page_edited_after_release_is_not_copied),
        TEST_BOTH(a_page_edited_after_acceptance_is_copied_once),
        TEST_BOTH(a_page_edited_before_acceptance_is_copied_once),
        TEST_BOTH(a_mebibyte_edited_after_release_is_not_copied),
        TEST_BOTH(a_mebibyte_edited_after_acceptance_is_copied_once),
        TEST_BOTH(a_mebibyte_edited_before_acceptance_is_copied_once),
        TEST(small_messages_stay_as_sent_while_the_editor_writes),
        TEST(a_message_that_was_never_sent_is_edited_in_place),
        TEST(a_copy_has_room_for_what_was_asked_for),
        TEST(a_message_that_waits_for_a_receiver_is_copied_once),
        TEST(a_topics_message_is_copied_until_its_last_receiver_has_released_it),
        TEST(a_retained_message_is_copied_so_that_history_stays_as_sent),
        TEST(an_edit_that_the_quota_forbids_leaves_the_message_as_it_was),
        TEST(a_receiver_that_edits_gets_its_own_copy),
        TEST(a_private_view_is_made_once_and_does_not_change),
        TEST(stale_handles_are_known),
    };
    return run_suite("edit", tests, sizeof tests / sizeof tests[0], argc, argv);
}
