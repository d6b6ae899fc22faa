/* SPDX-License-Identifier: MIT
 *
 * semaphore.c - semaphores: as many holders as units, and what all openers must agree on.
 */
#include "objects.h"

/* ---- as many holders as units ---- */

#define MEMBERS 5
#define UNITS 3
#define ROUNDS 2000

typedef struct room {
    uint32_t owned;
    atomic_uint inside;
    atomic_uint most;
    atomic_uint taken;
    atomic_uint go;
} room_t;

static ferry_semaphore_t *open_room(ferry_t *node, const room_t *room, uint32_t count) {
    return room->owned ? open_owned_semaphore(node, "room", count) : open_semaphore(node, "room", count);
}

static void note_inside(room_t *room, unsigned inside) {
    unsigned most = atomic_load(&room->most);
    check(inside <= UNITS);
    while (inside > most && !atomic_compare_exchange_weak(&room->most, &most, inside)) {
    }
}

static void go_in_and_out(ferry_t *node, void *arg) {
    room_t *room = arg;
    ferry_semaphore_t *semaphore = open_room(node, room, UNITS);
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_is(ferry_semaphore_acquire(semaphore, PATIENCE), 0);
        note_inside(room, atomic_fetch_add(&room->inside, 1) + 1);
        if (i == 0)
            await(&room->most, UNITS); /* the first ones stay until the room is full */
        else if (i % 200 == 0)
            nap(MILLISECOND); /* long enough for the rest to fall asleep */
        atomic_fetch_sub(&room->inside, 1);
        check_is(ferry_semaphore_release(semaphore), 0);
    }
    check_is(ferry_semaphore_close(semaphore), 0);
}

static void fill_room(where_t where, uint32_t owned) {
    room_t *room = share(sizeof *room);
    room->owned = owned;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, go_in_and_out, room);
    ferry_semaphore_t *semaphore = open_room(crew_node(crew), room, UNITS);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_join(crew, i);
    check_is(ferry_semaphore_value(semaphore), UNITS);
    check_is(atomic_load(&room->most), UNITS);
    check_is(ferry_semaphore_close(semaphore), 0);
    crew_end(crew);
}

static void as_many_hold_a_plain_semaphore_as_it_has_units(where_t where) {
    fill_room(where, 0);
}

static void as_many_hold_an_owned_semaphore_as_it_has_units(where_t where) {
    fill_room(where, 1);
}

/* ---- plain: from one to another ---- */

#define GOODS 5000

static void consume(ferry_t *node, void *arg) {
    room_t *room = arg;
    ferry_semaphore_t *semaphore = open_room(node, room, 0);
    for (unsigned i = 0; i < GOODS / 2; i++)
        check_is(ferry_semaphore_acquire(semaphore, PATIENCE), 0);
    atomic_fetch_add(&room->taken, GOODS / 2);
    check_is(ferry_semaphore_close(semaphore), 0);
}

static void what_one_releases_another_acquires(where_t where) {
    room_t *room = share(sizeof *room);
    crew_t *crew = crew_begin(where);
    crew_add(crew, consume, room);
    crew_add(crew, consume, room);
    ferry_semaphore_t *semaphore = open_room(crew_node(crew), room, 0);
    for (unsigned i = 0; i < GOODS; i++) {
        check_is(ferry_semaphore_release(semaphore), 0);
        if (i % 500 == 0)
            nap(MILLISECOND); /* lets them fall asleep now and then */
    }
    await(&room->taken, GOODS);
    check_is(ferry_semaphore_value(semaphore), 0);
    check_is(ferry_semaphore_close(semaphore), 0);
    crew_end(crew);
}

static void acquire_on_sight(ferry_t *node, void *arg) {
    room_t *room = arg;
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    ferry_semaphore_t *semaphore = NULL;
    check_is(ferry_semaphore_open(node, "room", 0, &options, &semaphore), 0);
    await(&room->go, 1);
    check_is(ferry_semaphore_acquire(semaphore, PATIENCE), 0);
    atomic_fetch_add(&room->taken, 1);
    check_is(ferry_semaphore_close(semaphore), 0);
}

static void every_unit_lets_one_waiter_through(where_t where) {
    room_t *room = share(sizeof *room);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 3; i++)
        crew_add(crew, acquire_on_sight, room);
    ferry_semaphore_t *semaphore = open_room(crew_node(crew), room, 0);
    atomic_store(&room->go, 1);
    await_waits(3);
    check_is(ferry_semaphore_release(semaphore), 0);
    check_is(ferry_semaphore_release(semaphore), 0);
    await(&room->taken, 2);
    nap(5 * MILLISECOND);
    check_is(atomic_load(&room->taken), 2);
    check_is(ferry_semaphore_release(semaphore), 0);
    await(&room->taken, 3);
    check_is(ferry_semaphore_value(semaphore), 0);
    check_is(ferry_semaphore_close(semaphore), 0);
    crew_end(crew);
}

/* ---- what all must agree on ---- */

static void refuse(ferry_t *node, uint32_t count, uint32_t owned, int error, const char *words) {
    ferry_semaphore_t *semaphore = NULL;
    ferry_sync_options_t options = {.owned = owned};
    check_error(ferry_semaphore_open(node, "room", count, &options, &semaphore), error, words);
    check(semaphore == NULL);
}

static void impossible_counts_are_refused(void) {
    ferry_t *node = open_node("test");
    refuse(node, FERRY_MAX_COUNT + 1, 0, -EINVAL, "1073741824");
    refuse(node, FERRY_ANY - 1, 0, -EINVAL, "4294967294");
    refuse(node, 0, 1, -EINVAL, "4096");
    refuse(node, FERRY_MAX_UNITS + 1, 1, -EINVAL, "4097");
    refuse(node, FERRY_ANY, 0, -ENOENT, "room");
    refuse(node, FERRY_ANY, 1, -ENOENT, "room");
    ferry_semaphore_t *semaphore = open_semaphore(node, "room", 0);
    check_is(ferry_semaphore_value(semaphore), 0);
    check_is(ferry_semaphore_close(semaphore), 0);
    semaphore = open_semaphore(node, "room", FERRY_MAX_COUNT);
    check_is(ferry_semaphore_value(semaphore), FERRY_MAX_COUNT);
    check_is(ferry_semaphore_close(semaphore), 0);
    close_node(node);
}

static void keep_three_units(ferry_t *node, void *arg) {
    room_t *room = arg;
    ferry_semaphore_t *semaphore = open_room(node, room, 3);
    check_is(ferry_semaphore_acquire(semaphore, FERRY_NOW), 0);
    atomic_store(&room->taken, 1);
    await(&room->go, 1);
    check_is(ferry_semaphore_release(semaphore), 0);
    check_is(ferry_semaphore_close(semaphore), 0);
}

static void meet_three_units(where_t where, uint32_t owned) {
    room_t *room = share(sizeof *room);
    room->owned = owned;
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_three_units, room);
    await(&room->taken, 1);
    ferry_t *node = crew_node(crew);
    refuse(node, 5, owned, -EPROTOTYPE, "room 3 5");
    refuse(node, 2, owned, -EPROTOTYPE, "room 3 2"); /* not even what is free at the moment */
    refuse(node, 3, !owned, -EPROTOTYPE, "room owned plain");
    refuse(node, FERRY_ANY, !owned, -EPROTOTYPE, "room owned plain");
    ferry_semaphore_t *any = open_room(node, room, FERRY_ANY);
    check_is(ferry_semaphore_value(any), 2);
    ferry_semaphore_t *same = open_room(node, room, 3);
    check_is(ferry_semaphore_value(same), 2);
    atomic_store(&room->go, 1);
    crew_join(crew, 0);
    check_is(ferry_semaphore_value(any), 3);
    check_is(ferry_semaphore_close(same), 0);
    refuse(node, 5, owned, -EPROTOTYPE, "room 3 5"); /* the one who said three is gone, the semaphore is not */
    check_is(ferry_semaphore_close(any), 0);
    crew_end(crew);
}

static void all_openers_of_a_plain_semaphore_agree(where_t where) {
    meet_three_units(where, 0);
}

static void all_openers_of_an_owned_semaphore_agree(where_t where) {
    meet_three_units(where, 1);
}

/* ---- one handle ---- */

static void a_plain_semaphore_grows_up_to_its_limit(void) {
    ferry_t *node = open_node("test");
    ferry_semaphore_t *semaphore = open_semaphore(node, "room", FERRY_MAX_COUNT);
    check_error(ferry_semaphore_release(semaphore), -EOVERFLOW, "room");
    check_is(ferry_semaphore_acquire(semaphore, FERRY_NOW), 0);
    check_is(ferry_semaphore_release(semaphore), 0);
    check_error(ferry_semaphore_release(semaphore), -EOVERFLOW, "room");
    check_is(ferry_semaphore_value(semaphore), FERRY_MAX_COUNT);
    check_is(ferry_semaphore_close(semaphore), 0);
    semaphore = open_semaphore(node, "room", 1);
    for (int i = 2; i < 10; i++) {
        check_is(ferry_semaphore_release(semaphore), 0);
        check_is(ferry_semaphore_value(semaphore), i);
    }
    check_is(ferry_semaphore_close(semaphore), 0);
    close_node(node);
}

static void an_owned_semaphore_takes_back_what_the_handle_holds(void) {
    ferry_t *node = open_node("test");
    ferry_semaphore_t *one = open_owned_semaphore(node, "room", 3), *other = open_owned_semaphore(node, "room", 3);
    check_error(ferry_semaphore_release(one), -EPERM, "room");
    check_is(ferry_semaphore_acquire(one, FERRY_NOW), 0);
    check_is(ferry_semaphore_acquire(one, FERRY_NOW), 0);
    check_error(ferry_semaphore_release(other), -EPERM, "room");
    check_is(ferry_semaphore_acquire(other, FERRY_NOW), 0);
    check_error(ferry_semaphore_acquire(other, FERRY_NOW), -EAGAIN, "");
    check_is(ferry_semaphore_value(other), 0);
    check_error(ferry_semaphore_close(one), -EBUSY, "room");
    check_is(ferry_semaphore_release(one), 0);
    check_error(ferry_semaphore_close(one), -EBUSY, "room");
    check_is(ferry_semaphore_release(one), 0);
    check_error(ferry_semaphore_release(one), -EPERM, "room");
    check_is(ferry_semaphore_value(other), 2);
    check_is(ferry_semaphore_release(other), 0);
    check_is(ferry_semaphore_close(one), 0);
    check_is(ferry_semaphore_close(other), 0);
    close_node(node);
}

static void one_handle_may_hold_all_units_there_can_be(void) {
    ferry_t *node = open_node("test");
    ferry_semaphore_t *one = open_owned_semaphore(node, "room", FERRY_MAX_UNITS);
    ferry_semaphore_t *other = open_owned_semaphore(node, "room", FERRY_ANY);
    for (unsigned i = 0; i < FERRY_MAX_UNITS; i++)
        check_is(ferry_semaphore_acquire(one, FERRY_NOW), 0);
    check_is(ferry_semaphore_acquire(one, FERRY_NOW), -EAGAIN);
    check_is(ferry_semaphore_acquire(other, FERRY_NOW), -EAGAIN);
    for (unsigned i = 0; i < FERRY_MAX_UNITS; i++)
        check_is(ferry_semaphore_release(one), 0);
    check_is(ferry_semaphore_release(one), -EPERM);
    check_is(ferry_semaphore_value(other), FERRY_MAX_UNITS);
    check_is(ferry_semaphore_close(one), 0);
    check_is(ferry_semaphore_close(other), 0);
    close_node(node);
}

static void closing_a_plain_semaphore_gives_nothing_back(void) {
    ferry_t *node = open_node("test");
    ferry_semaphore_t *one = open_semaphore(node, "room", 2), *other = open_semaphore(node, "room", 2);
    check_is(ferry_semaphore_acquire(one, FERRY_NOW), 0);
    check_is(ferry_semaphore_close(one), 0);
    check_is(ferry_semaphore_value(other), 1);
    check_is(ferry_semaphore_close(other), 0);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(as_many_hold_a_plain_semaphore_as_it_has_units),
        TEST_ALL(as_many_hold_an_owned_semaphore_as_it_has_units),
        TEST_ALL(what_one_releases_another_acquires),
        TEST_ALL(every_unit_lets_one_waiter_through),
        TEST(impossible_counts_are_refused),
        TEST_ALL(all_openers_of_a_plain_semaphore_agree),
        TEST_ALL(all_openers_of_an_owned_semaphore_agree),
        TEST(a_plain_semaphore_grows_up_to_its_limit),
        TEST(an_owned_semaphore_takes_back_what_the_handle_holds),
        TEST(one_handle_may_hold_all_units_there_can_be),
        TEST(closing_a_plain_semaphore_gives_nothing_back),
    };
    return run_suite("semaphore", tests, sizeof tests / sizeof tests[0], argc, argv);
}
