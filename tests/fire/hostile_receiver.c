/* SPDX-License-Identifier: MIT
 *
 * hostile_receiver.c - receivers that lie about what they have read, to a sender whose memory they can only read.
 */
#include "raw.h"
#include "scene.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* Enough that a queue's next message goes to the liar, too: the one with the least before it is chosen, in turn. */
static void let_some_come(raw_in_t *in) {
    int64_t end = clock_ns() + PATIENCE;
    while (raw_first_word(in) == 0) {
        check(clock_ns() < end);
        nap(MILLISECOND / 4);
    }
    nap(5 * MILLISECOND);
}

/* ---- lies that stand ---- */

typedef struct lie {
    const char *what;
    uint64_t cursor, taken; /* from the start of the link */
} lie_t;

/* Lines 1 to 5 of a record are payload: each looks like the header of a record of 2 GiB. */
static const lie_t lies[] = {
    {"a cursor inside a record", 1, 0},
    {"a cursor inside the second record", 8, 0},
    {"a cursor and a mark inside records", 3, 5},
    {"a cursor ahead of everything", 100000, 0},
    {"the largest cursor", UINT64_MAX / 2, UINT64_MAX / 2},
    {"a mark ahead of everything", 0, UINT64_MAX / 2},
    {"a cursor before the start", UINT64_MAX - 60, 0},
};

static void a_lying_cursor_does_not_lead_the_sender_astray(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(lies); i++) {
        raw_t raw;
        raw_in_t in;
        raw_meet(&raw, scene.node);
        raw_in_open(&raw, &in, 88, "answers", FERRY_QUEUE, 0);
        let_some_come(&in);
        printf("# %s\n", lies[i].what);
        fflush(stdout);
        __atomic_store_n(&in.ctl->taken, in.start + lies[i].taken, __ATOMIC_RELEASE);
        __atomic_store_n(&in.ctl->cursor, in.start + lies[i].cursor, __ATOMIC_RELEASE);
        scene_expect_service(&scene); /* the friend checks every answer */
        raw_close(&raw);              /* what we did not release goes to the friend */
        raw_in_close(&in);
        scene_expect_service(&scene);
    }
    scene_end(&scene);
}

static void a_lying_cursor_on_a_topic_harms_no_other_reader(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 2 * COUNT(lies); i++) {
        raw_t raw;
        raw_in_t in;
        raw_meet(&raw, scene.node);
        raw_in_open(&raw, &in, 88, "news", FERRY_TOPIC, i % 2 ? FI_MEET_MAY_LOSE : 0);
        let_some_come(&in);
        __atomic_store_n(&in.ctl->taken, in.start + lies[i / 2].taken, __ATOMIC_RELEASE);
        __atomic_store_n(&in.ctl->cursor, in.start + lies[i / 2].cursor, __ATOMIC_RELEASE);
        scene_expect_service(&scene);
        raw_close(&raw);
        raw_in_close(&in);
    }
    scene_end(&scene);
}

static void a_control_area_whose_head_lies_is_not_used(void) {
    static const struct fi_ident idents[] = {
        {0, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 126, 0, {0}},
        {FI_CTL_MAGIC, 9, FI_LAYOUT_FINGERPRINT, 126, 0, {0}},
        {FI_CTL_MAGIC, FI_LAYOUT_VERSION, 0, 126, 0, {0}},
        {FI_CTL_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 4, 0, {0}},
        {FI_CTL_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, UINT32_MAX, 0, {0}},
    };
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(idents) + 1; i++) {
        raw_t raw;
        raw_mail_t mail;
        void *map;
        struct fi_receiver_page_copy *page;
        raw_meet(&raw, scene.node);
        int memory = raw_good_page(&page);
        fi_frame_t f = raw_frame(FI_MEET_RECEIVER, 0, 88);
        f.kind = FERRY_QUEUE;
        strcpy(f.text, "answers");
        check(raw_send(&raw, &f, (int[]){memory, raw.bell_wr}, 2));
        close(memory);
        raw_await(&raw, FI_OFFER, &mail);
        bool small = i == COUNT(idents); /* the head of it, and nothing behind */
        int ctl = raw_memory(small ? sizeof(struct fi_ctl_head) : 8192, true, RAW_SEALS, &map);
        struct fi_ident good = {FI_CTL_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 126, 0, {0}};
        memcpy(map, small ? &good : &idents[i], sizeof good);
        f = raw_frame(FI_ACCEPT, mail.frame.tx, 88);
        raw_drop(&mail);
        check(raw_send(&raw, &f, &ctl, 1));
        close(ctl);
        raw_await(&raw, FI_END, &mail);
        munmap(map, small ? sizeof(struct fi_ctl_head) : 8192);
        raw_page_drop(page);
        raw_close(&raw);
        scene_expect_service(&scene);
    }
    scene_end(&scene);
}

/* ---- lies that change all the time ---- */

typedef struct liar {
    raw_in_t *in;
    atomic_uint stop;
    dice_t dice;
} liar_t;

static void *lie_for_ever(void *arg) {
    liar_t *liar = arg;
    raw_in_t *in = liar->in;
    uint32_t *released = (uint32_t *)(void *)(in->ctl + 1);
    while (!atomic_load_explicit(&liar->stop, memory_order_relaxed)) {
        uint64_t r = dice_roll(&liar->dice);
        uint64_t pos = in->start + (r >> 40) % 3000;
        switch (r % 6) {
        case 0:
            __atomic_store_n(&in->ctl->cursor, r & 64 ? pos : r, __ATOMIC_RELAXED);
            break;
        case 1:
            __atomic_store_n(&in->ctl->taken, r & 64 ? pos : r, __ATOMIC_RELAXED);
            break;
        case 2:
            __atomic_store_n(&in->ctl->held[(r >> 8) % FI_HELD_SLOTS], r & 64 ? pos : 0, __ATOMIC_RELAXED);
            break;
        case 3:
            __atomic_store_n(&in->page->sleep, (uint32_t)(r >> 32), __ATOMIC_RELAXED);
            break;
        default:
            __atomic_store_n(&released[(r >> 8) % in->lines], (uint32_t)(pos / in->lines), __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void lie_on(const char *channel, ferry_kind_t kind, unsigned flags) {
    scene_t scene = {0};
    unsigned links = 0;
    scene_begin(&scene);
    for (int64_t end = clock_ns() + (FIRE_SLOW ? 2 : 1) * SECOND; clock_ns() < end; links++) {
        raw_t raw;
        raw_in_t in;
        pthread_t thread;
        raw_meet(&raw, scene.node);
        raw_in_open(&raw, &in, 88, channel, kind, flags);
        liar_t liar = {.in = &in, .dice = {links + 1}};
        check_is(pthread_create(&thread, NULL, lie_for_ever, &liar), 0);
        for (unsigned i = 0; i < 3; i++)
            scene_expect_service(&scene);
        atomic_store(&liar.stop, 1);
        pthread_join(thread, NULL);
        raw_close(&raw); /* while some of it may still say: not released */
        raw_in_close(&in);
    }
    printf("# %u links\n", links);
    scene_end(&scene);
}

static void a_queue_reader_may_lie_all_the_time(void) {
    lie_on("answers", FERRY_QUEUE, 0);
}

static void a_topic_reader_may_lie_all_the_time(void) {
    lie_on("news", FERRY_TOPIC, 0);
}

/* ---- greed ---- */

static void who_never_releases_keeps_nobody_else_from_being_served(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_in_t queue, topic;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_in_open(&raw, &queue, 88, "answers", FERRY_QUEUE, 0);
    raw_in_open(&raw, &topic, 89, "news", FERRY_TOPIC, 0);
    for (unsigned i = 0; i < 200; i++)
        scene_expect_service(&scene);
    raw_close(&raw);
    raw_in_close(&queue);
    raw_in_close(&topic);
    scene_end(&scene);
}

/* Its process lives, and says of nothing that it does not read it any more: the sender keeps it, but only so often. */
static void who_comes_again_and_never_lets_go_costs_a_sender_only_so_much(void) {
    enum { VISITS = 100, LIMIT = 70 };
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < VISITS; i++) {
        raw_t raw;
        raw_in_t in;
        if (!raw_try_to_meet(&raw, scene.node))
            break; /* not this process, for now */
        raw_in_open(&raw, &in, 88, "news", FERRY_TOPIC, 0);
        raw_vanish(&raw);
        raw_in_close(&in);
    }
    scene_expect_service(&scene);
    holdings_t now = holdings_of(scene.victim);
    holdings_print("the victim", &now);
    check(now.sockets <= scene.before.sockets + LIMIT);
    check(now.peer_maps <= scene.before.peer_maps + 2 * LIMIT);
    scene_leave(&scene);
}

static void a_page_that_is_not_where_it_says_is_refused(void) {
    static const struct fi_page_place_copy places[] = {
        {0, 64, {0}},
        {RAW_PAGE_MAGIC + 1, 64, {0}},
        {RAW_PAGE_MAGIC, 0, {0}},
        {RAW_PAGE_MAGIC, 65, {0}},
        {RAW_PAGE_MAGIC, RAW_PAGE_MEMORY - 64, {0}},
        {RAW_PAGE_MAGIC, RAW_PAGE_MEMORY, {0}},
        {RAW_PAGE_MAGIC, UINT64_MAX - 63, {0}},
    };
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(places); i++) {
        raw_t raw;
        struct fi_receiver_page_copy *page;
        raw_meet(&raw, scene.node);
        int memory = raw_page(&places[i], &page);
        fi_frame_t f = raw_frame(FI_MEET_RECEIVER, 0, 88);
        f.kind = FERRY_QUEUE;
        strcpy(f.text, "answers");
        check(raw_send(&raw, &f, (int[]){memory, raw.bell_wr}, 2));
        check(raw_hung_up(&raw, PATIENCE));
        close(memory);
        raw_page_drop(page);
        raw_close(&raw);
    }
    scene_end(&scene);
}

/* Invents receivers: each costs the sender a ring, so there must be a limit. */
static void invented_receivers_cost_a_sender_only_so_much(void) {
    enum { INVENTED = 3000, LIMIT = 64 };
    scene_t scene = {.options = {.max_links_per_peer = LIMIT}};
    raw_t raw;
    struct fi_receiver_page_copy *page;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    int memory = raw_good_page(&page);
    for (unsigned i = 0; i < INVENTED; i++) {
        raw_mail_t mail;
        fi_frame_t f = raw_frame(FI_MEET_RECEIVER, 0, 1000 + i);
        f.kind = FERRY_QUEUE;
        strcpy(f.text, "answers");
        if (!raw_send(&raw, &f, (int[]){memory, raw.bell_wr}, 2))
            break;
        while (raw_receive(&raw, &mail, 0) == 1)
            raw_drop(&mail);
    }
    scene_expect_service(&scene);
    holdings_t now = holdings_of(scene.victim);
    holdings_print("the victim", &now);
    check(now.memfds <= scene.before.memfds + LIMIT + 4);
    check(now.own_maps <= scene.before.own_maps + LIMIT + 4);
    close(memory);
    raw_page_drop(page);
    raw_close(&raw);
    scene_end(&scene);
}

/* ---- bells ---- */

static void fill_pipe(int wr) {
    char byte = 0;
    while (write(wr, &byte, 1) == 1) {
    }
}

static void set_blocking(int fd) {
    check(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0);
}

/* The flag belongs to the pipe's end, which both sides share: it may be taken away after it was checked. */
static void a_bell_that_turns_to_blocking_blocks_nobody(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_in_t in;
    raw_out_t out;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_in_open(&raw, &in, 88, "news", FERRY_TOPIC, 0);
    raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, 62, 0);
    fill_pipe(raw.bell_wr);
    fill_pipe(in.bell_wr);
    set_blocking(raw.bell_wr);
    set_blocking(in.bell_wr);
    for (unsigned i = 1; i <= 200; i++) {
        in.page->sleep = i << 2 | 1; /* asleep, each time anew: ring */
        out.ring->shared.want = i;
        if (i % 8 == 0 && i < 400)
            raw_say(&out, "wake me", 7);
        scene_expect_service(&scene);
    }
    raw_close(&raw);
    raw_in_close(&in);
    raw_out_close(&out);
    scene_end(&scene);
}

static void a_bell_whose_reader_has_gone_kills_nobody(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_in_t in;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_in_open(&raw, &in, 88, "news", FERRY_TOPIC, 0);
    close(raw.bell_rd);
    close(in.bell_rd);
    raw.bell_rd = in.bell_rd = -1;
    for (unsigned i = 1; i <= 50; i++) {
        in.page->sleep = i << 2 | 1;
        scene_expect_service(&scene);
    }
    raw_close(&raw);
    in.bell_rd = dup(2);
    raw_in_close(&in);
    scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_lying_cursor_does_not_lead_the_sender_astray),
        TEST(a_lying_cursor_on_a_topic_harms_no_other_reader),
        TEST(a_control_area_whose_head_lies_is_not_used),
        TEST(a_queue_reader_may_lie_all_the_time),
        TEST(a_topic_reader_may_lie_all_the_time),
        TEST(who_never_releases_keeps_nobody_else_from_being_served),
        TEST(who_comes_again_and_never_lets_go_costs_a_sender_only_so_much),
        TEST(a_page_that_is_not_where_it_says_is_refused),
        TEST(invented_receivers_cost_a_sender_only_so_much),
        TEST(a_bell_that_turns_to_blocking_blocks_nobody),
        TEST(a_bell_whose_reader_has_gone_kills_nobody),
    };
    return run_suite("hostile receiver", tests, sizeof tests / sizeof tests[0], argc, argv);
}
