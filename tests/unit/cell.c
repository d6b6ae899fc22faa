/* SPDX-License-Identifier: MIT
 *
 * cell.c - cells in plain memory, by one thread: versions, what an unfinished put leaves, and nonsense in the memory.
 * What several threads do at once is in interleave_cell.c.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "store/cell.h"

#define ME fi_owner(0x100, 1)
#define OTHER fi_owner(0x101, 1)
#define GUARD 256u /* bytes around what may be written */
#define MILLISECOND INT64_C(1000000)

typedef struct fixture {
    fi_cells_t cells;
    unsigned char *memory;
    uint64_t bytes;
} fixture_t;

static fixture_t make(uint32_t count, uint64_t max_bytes) {
    fixture_t f = {.bytes = fi_cells_bytes(count, max_bytes)};
    assert_int_equal(f.bytes % FI_CACHE_LINE, 0);
    f.memory = aligned_alloc(FI_CACHE_LINE, f.bytes);
    assert_non_null(f.memory);
    memset(f.memory, 0, f.bytes);
    fi_cells_find(&f.cells, f.memory, count, max_bytes);
    return f;
}

static void drop(fixture_t *f) {
    free(f->memory);
}

static int get_within(const fixture_t *f, uint32_t index, void *buf, uint64_t cap, uint64_t *len, uint64_t *version,
                      int64_t timeout) {
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, timeout);
    fi_cell_look_t l;
    int r = fi_cell_get(&f->cells, index, ME, &w, buf, cap, &l);
    if (r == 0 || r == -EMSGSIZE)
        *len = l.len;
    if (r == 0)
        *version = l.version;
    return r;
}

static int get(const fixture_t *f, uint32_t index, void *buf, uint64_t cap, uint64_t *len, uint64_t *version) {
    return get_within(f, index, buf, cap, len, version, FERRY_NOW);
}

static uint64_t put(const fixture_t *f, uint32_t index, const void *data, uint64_t len) {
    assert_true(fi_cell_try_turn(&f->cells, index, ME));
    uint64_t version = fi_cell_publish(&f->cells, index, data, len);
    fi_cell_end_turn(&f->cells, index, ME);
    return version;
}

static int wait_for(const fixture_t *f, uint32_t index, uint64_t after) {
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
    return fi_cell_wait(&f->cells, index, after, &w);
}

/* The newest value of the cell is this number. */
static void expect_number(const fixture_t *f, uint32_t index, uint64_t number, uint64_t version) {
    uint64_t value = 0, len = 0, seen = 0;
    assert_int_equal(get(f, index, &value, sizeof value, &len, &seen), 0);
    assert_int_equal(len, sizeof value);
    assert_int_equal(value, number);
    assert_int_equal(seen, version);
    assert_int_equal(fi_cell_version(&f->cells, index), version);
}

/* As if so many puts had gone before. */
static void age(const fixture_t *f, uint32_t index, uint64_t version) {
    f->cells.control[index].word = version << 32;
    f->cells.control[index].version = version;
    f->cells.control[index].length[version % FI_CELL_BUFFERS] = 1;
}

/* ---- values and versions ---- */

static void nothing_is_there_before_the_first_put(void **state) {
    (void)state;
    fixture_t f = make(3, 40);
    uint64_t value, len = 77, version = 78;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(get(&f, i, &value, sizeof value, &len, &version), -ENODATA);
        assert_int_equal(fi_cell_version(&f.cells, i), 0);
        assert_int_equal(wait_for(&f, i, 0), -EAGAIN);
    }
    assert_int_equal(len, 77);
    assert_int_equal(version, 78);
    drop(&f);
}

static void values_of_every_size_come_back_as_they_were(void **state) {
    (void)state;
    enum { MAX = 700 };
    unsigned char in[MAX], out[MAX + 1];
    uint64_t seed = 3, version = 0;
    fixture_t f = make(2, MAX);
    for (unsigned size = 0; size <= MAX; size++) {
        uint64_t len = 0, seen = 0;
        for (unsigned i = 0; i < size; i++)
            in[i] = (unsigned char)unit_random(&seed);
        memset(out, 0x5a, sizeof out);
        assert_int_equal(put(&f, 1, in, size), ++version);
        assert_int_equal(get(&f, 1, out, MAX, &len, &seen), 0);
        assert_int_equal(len, size);
        assert_int_equal(seen, version);
        assert_memory_equal(in, out, size);
        assert_int_equal(out[size], 0x5a);
    }
    assert_int_equal(fi_cell_version(&f.cells, 0), 0);
    drop(&f);
}

static void a_place_that_is_too_small_is_not_written_to(void **state) {
    (void)state;
    unsigned char in[100] = {1}, out[100] = {2};
    uint64_t len = 0, version = 9;
    fixture_t f = make(1, sizeof in);
    put(&f, 0, in, sizeof in);
    assert_int_equal(get(&f, 0, out, sizeof in - 1, &len, &version), -EMSGSIZE);
    assert_int_equal(len, sizeof in);
    assert_int_equal(version, 9);
    assert_int_equal(out[0], 2);
    assert_int_equal(get(&f, 0, NULL, 0, &len, &version), -EMSGSIZE);
    put(&f, 0, NULL, 0);
    assert_int_equal(get(&f, 0, NULL, 0, &len, &version), 0);
    assert_int_equal(len, 0);
    assert_int_equal(version, 2);
    drop(&f);
}

static void cells_under_one_name_do_not_touch_each_other(void **state) {
    (void)state;
    enum { COUNT = 50 };
    uint64_t versions[COUNT] = {0}, last[COUNT] = {0}, seed = 8;
    fixture_t f = make(COUNT, 8);
    for (unsigned round = 0; round < 5000; round++) {
        uint32_t i = (uint32_t)(unit_random(&seed) % COUNT);
        last[i] = unit_random(&seed);
        assert_int_equal(put(&f, i, &last[i], 8), ++versions[i]);
        i = (uint32_t)(unit_random(&seed) % COUNT);
        if (versions[i] > 0)
            expect_number(&f, i, last[i], versions[i]);
    }
    drop(&f);
}

/* The word counts to 2^32 only. */
static void versions_go_on_where_their_lower_half_ends(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    for (uint64_t upper = 1; upper < 4; upper++) {
        uint64_t version = (upper << 32) - 6;
        age(&f, 0, version);
        for (unsigned i = 0; i < 12; i++) {
            uint64_t seen[1] = {version};
            uint32_t changed[1];
            assert_int_equal(wait_for(&f, 0, version), -EAGAIN);
            assert_int_equal(fi_cells_scan(&f.cells, seen, changed, 1, 0), 0);
            assert_int_equal(put(&f, 0, &version, 8), version + 1);
            assert_int_equal(wait_for(&f, 0, version), 0);
            assert_int_equal(fi_cells_scan(&f.cells, seen, changed, 1, 0), 1);
            expect_number(&f, 0, version, version + 1);
            version++;
            assert_int_equal(seen[0], version);
        }
    }
    drop(&f);
}

/* Same lower half, same buffer, another version: only all 64 bits tell them apart. */
static void versions_with_the_same_lower_half_differ(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    uint64_t old = (UINT64_C(1) << 32) + 5, value = 1, seen[1] = {old};
    uint32_t changed[1];
    age(&f, 0, old + (UINT64_C(1) << 32) - 1);
    put(&f, 0, &value, 8);
    assert_int_equal(f.cells.control[0].word >> 32, (uint32_t)old);
    assert_int_equal(wait_for(&f, 0, old), 0);
    assert_int_equal(fi_cells_scan(&f.cells, seen, changed, 1, 0), 1);
    assert_int_equal(seen[0], old + (UINT64_C(1) << 32));
    drop(&f);
}

static void a_wait_for_a_version_far_ahead_goes_on(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    uint64_t value = 0;
    for (uint64_t version = 1; version <= 5; version++) {
        put(&f, 0, &value, 8);
        assert_int_equal(wait_for(&f, 0, 5), -EAGAIN);
        assert_int_equal(wait_for(&f, 0, UINT64_MAX), -EAGAIN);
    }
    put(&f, 0, &value, 8);
    assert_int_equal(wait_for(&f, 0, 5), 0);
    drop(&f);
}

/* ---- any of them ---- */

static void every_change_is_found_once_and_no_cell_is_passed_over(void **state) {
    (void)state;
    enum { COUNT = 40 };
    fixture_t f = make(COUNT, 8);
    uint64_t seen[COUNT] = {0}, versions[COUNT] = {0}, seed = 5;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t changed[COUNT], from = (uint32_t)(unit_random(&seed) % COUNT);
        uint32_t max = 1 + (uint32_t)(unit_random(&seed) % COUNT), expected = 0;
        for (uint64_t n = unit_random(&seed) % 20; n > 0; n--) {
            uint32_t at = (uint32_t)(unit_random(&seed) % COUNT);
            versions[at] = put(&f, at, &seed, 8);
        }
        for (uint32_t i = 0; i < COUNT; i++)
            expected += seen[i] != versions[i];
        uint32_t found = fi_cells_scan(&f.cells, seen, changed, max, from);
        assert_int_equal(found, fi_min(expected, max));
        for (uint32_t i = 0; i < found; i++) {
            assert_int_equal(seen[changed[i]], versions[changed[i]]);
            /* They come in the order of a walk round from there. */
            assert_true(i == 0 || (changed[i - 1] + COUNT - from) % COUNT < (changed[i] + COUNT - from) % COUNT);
        }
    }
    drop(&f);
}

static void only_who_wants_to_be_told_of_a_put_is_told(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    uint64_t value = 0;
    put(&f, 0, &value, 8);
    assert_int_equal(fi_cells_take_wanted(&f.cells), 0);
    fi_cells_want(&f.cells, FI_CELLS_WATCHED);
    fi_cells_want(&f.cells, FI_CELLS_POLLED);
    assert_int_equal(fi_cells_take_wanted(&f.cells), FI_CELLS_WATCHED | FI_CELLS_POLLED);
    assert_int_equal(fi_cells_take_wanted(&f.cells), 0);
    drop(&f);
}

/* ---- deaths ---- */

/* Up to where the one has come who died in his turn. */
enum stage { NOTHING, HALF_WRITTEN, WRITTEN, ANNOUNCED, STAGES };

static void die_in_a_put(const fixture_t *f, enum stage stage, uint64_t version) {
    assert_true(fi_cell_try_turn(&f->cells, 0, OTHER));
    if (stage >= HALF_WRITTEN)
        memset(fi_cell_buffer(&f->cells, 0, version), 0xee, 4);
    if (stage >= WRITTEN)
        f->cells.control[0].length[version % FI_CELL_BUFFERS] = 5;
    if (stage >= ANNOUNCED)
        f->cells.control[0].version = version;
}

static bool other_is_dead(uint64_t owner, void *arg) {
    (void)arg;
    return owner == OTHER;
}

static bool nobody_is_dead(uint64_t owner, void *arg) {
    (void)owner;
    (void)arg;
    return false;
}

static void an_unfinished_put_leaves_the_version_before(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    uint64_t number = 1000, version = 0;
    for (unsigned round = 0; round < 5 * STAGES; round++) {
        fi_wait_t w = fi_wait_begin(&who, FERRY_NOW);
        number++;
        assert_int_equal(put(&f, 0, &number, 8), ++version);
        die_in_a_put(&f, round % STAGES, version + 1);
        expect_number(&f, 0, number, version);
        assert_int_equal(wait_for(&f, 0, version), -EAGAIN);
        assert_false(fi_cell_try_turn(&f.cells, 0, ME));
        fi_cells_bury(&f.cells, nobody_is_dead, NULL);
        assert_int_equal(fi_cell_take_turn(&f.cells, 0, ME, &w), -EAGAIN);
        fi_cells_bury(&f.cells, other_is_dead, NULL);
        expect_number(&f, 0, number, version);
        w = fi_wait_begin(&who, FERRY_NOW);
        assert_int_equal(fi_cell_take_turn(&f.cells, 0, ME, &w), FI_TAKEN_FROM_DEAD);
        number++;
        assert_int_equal(fi_cell_publish(&f.cells, 0, &number, 8), ++version);
        fi_cell_end_turn(&f.cells, 0, ME);
        expect_number(&f, 0, number, version);
    }
    drop(&f);
}

static void a_death_lets_watchers_look_again(void **state) {
    (void)state;
    fixture_t f = make(2, 8);
    fi_event_t e = fi_cells_event(&f.cells);
    uint32_t count = fi_event_count(&e);
    fi_cells_bury(&f.cells, other_is_dead, NULL);
    assert_int_not_equal(fi_event_count(&e), count);
    drop(&f);
}

/* ---- getting under puts ---- */

/* It can be read only in a turn, and who has that does not give it up. */
static void a_get_that_cannot_have_its_turn_ends_in_time(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    uint64_t value = 7, len, version;
    put(&f, 0, &value, 8);
    f.cells.control[0].version = 5;
    assert_true(fi_cell_try_turn(&f.cells, 0, OTHER));
    assert_int_equal(get_within(&f, 0, &value, 8, &len, &version, 2 * MILLISECOND), -ETIMEDOUT);
    fi_cell_end_turn(&f.cells, 0, OTHER);
    assert_int_equal(get_within(&f, 0, &value, 8, &len, &version, 2 * MILLISECOND), -EPROTO);
    assert_true(fi_cell_try_turn(&f.cells, 0, OTHER)); /* nobody has kept it */
    fi_cell_end_turn(&f.cells, 0, OTHER);
    drop(&f);
}

/* Many threads may get by one handle, and so by one name. */
static void a_turn_of_another_thread_by_the_same_name_is_waited_for(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, 2 * MILLISECOND);
    uint64_t value = 7, len, version;
    put(&f, 0, &value, 8);
    assert_true(fi_cell_try_turn(&f.cells, 0, ME));
    assert_int_equal(fi_cell_take_turn(&f.cells, 0, ME, &w), -ETIMEDOUT);
    expect_number(&f, 0, 7, 1);
    f.cells.control[0].version = 5;
    assert_int_equal(get_within(&f, 0, &value, 8, &len, &version, 2 * MILLISECOND), -ETIMEDOUT);
    fi_cell_end_turn(&f.cells, 0, ME);
    drop(&f);
}

/* ---- nonsense ---- */

enum { CELLS = 4, MOST = 100 };

/* Somebody writes whatever he likes, until he is told to stop. */
typedef struct vandal {
    fixture_t f;
    uint32_t stop;
} vandal_t;

static void spoil(const fixture_t *f, uint64_t *seed) {
    uint64_t *words = (uint64_t *)(void *)f->memory, at = unit_random(seed) % (f->bytes / 8);
    uint64_t nonsense = unit_random(seed) % 3 ? unit_random(seed) : unit_random(seed) % 8;
    fi_store_relaxed64(&words[at], nonsense);
}

static void *spoil_all(void *arg) {
    vandal_t *v = arg;
    uint64_t seed = 77;
    while (!fi_load_relaxed32(&v->stop))
        spoil(&v->f, &seed);
    return NULL;
}

static void expect_one_of(int r, const int *expected) {
    while (*expected != 0 && *expected != r)
        expected++;
    assert_int_equal(r, *expected);
}

static void get_nonsense(const fixture_t *f, uint32_t index, uint64_t cap) {
    unsigned char place[GUARD + MOST + 50 + GUARD];
    uint64_t len = 0, version = 0;
    memset(place, 0x5a, sizeof place);
    int r = get_within(f, index, place + GUARD, cap, &len, &version, MILLISECOND / 10);
    expect_one_of(r, (const int[]){-ENODATA, -EMSGSIZE, -EPROTO, -ETIMEDOUT, 0});
    assert_true(r != 0 || (len <= cap && len <= MOST));
    assert_true(r != -EMSGSIZE || (len > cap && len <= MOST));
    for (size_t i = 0; i < sizeof place; i++)
        assert_true((i >= GUARD && i < GUARD + cap) || place[i] == 0x5a);
}

static void put_into_nonsense(const fixture_t *f, uint32_t index, uint64_t len) {
    static const unsigned char data[MOST];
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, MILLISECOND / 10);
    int r = fi_cell_take_turn(&f->cells, index, ME, &w);
    expect_one_of(r, (const int[]){FI_TAKEN, FI_TAKEN_FROM_DEAD, -EPROTO, -ETIMEDOUT, 0});
    if (r > 0) {
        (void)fi_cell_publish(&f->cells, index, data, len);
        fi_cell_end_turn(&f->cells, index, ME);
    }
}

static void look_at_nonsense(const fixture_t *f, uint64_t *seed) {
    uint64_t seen[CELLS] = {0};
    uint32_t changed[CELLS + 1], max = 1 + (uint32_t)(unit_random(seed) % CELLS);
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, MILLISECOND / 10);
    memset(changed, 0xff, sizeof changed);
    assert_true(fi_cells_scan(&f->cells, seen, changed, max, (uint32_t)(unit_random(seed) % CELLS)) <= max);
    assert_int_equal(changed[max], UINT32_MAX);
    expect_one_of(fi_cell_wait(&f->cells, (uint32_t)(unit_random(seed) % CELLS), unit_random(seed), &w),
                  (const int[]){-ETIMEDOUT, 0});
    (void)fi_cells_take_wanted(&f->cells);
}

static void use(const fixture_t *f, uint64_t *seed) {
    uint32_t index = (uint32_t)(unit_random(seed) % CELLS);
    switch (unit_random(seed) % 4) {
    case 0:
        get_nonsense(f, index, unit_random(seed) % (MOST + 50));
        break;
    case 1:
        put_into_nonsense(f, index, unit_random(seed) % (MOST + 1));
        break;
    case 2:
        look_at_nonsense(f, seed);
        break;
    default:
        fi_cells_bury(&f->cells, unit_random(seed) % 2 ? other_is_dead : nobody_is_dead, NULL);
        fi_cells_wake(&f->cells, index);
        break;
    }
}

/* Nothing but the cells and the place for the value is written to, nothing else is read (ASan), and every call ends. */
static void nonsense_between_calls_does_no_harm(void **state) {
    (void)state;
    fixture_t f = make(CELLS, MOST);
    uint64_t seed = 11;
    for (unsigned i = 0; i < 3000; i++) {
        for (uint64_t n = unit_random(&seed) % 30; n > 0; n--)
            spoil(&f, &seed);
        use(&f, &seed);
    }
    drop(&f);
}

static void nonsense_during_calls_does_no_harm(void **state) {
    (void)state;
    vandal_t v = {.f = make(CELLS, MOST)};
    uint64_t seed = 12;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, spoil_all, &v), 0);
    for (unsigned i = 0; i < 2000; i++)
        use(&v.f, &seed);
    fi_store_relaxed32(&v.stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    drop(&v.f);
}

/* What was damaged is whole again with the next put, if the turn was spared. */
static void a_put_makes_a_damaged_value_whole(void **state) {
    (void)state;
    fixture_t f = make(1, 8);
    uint64_t value = 5, len, version, seed = 3;
    for (unsigned i = 0; i < 1000; i++) {
        put(&f, 0, &value, 8);
        fi_cell_control_t *control = &f.cells.control[0];
        if (unit_random(&seed) % 2)
            control->version = unit_random(&seed);
        else
            control->length[(control->word >> 32) % FI_CELL_BUFFERS] = 10 + (uint32_t)(unit_random(&seed) / 2);
        assert_int_equal(get(&f, 0, &value, 8, &len, &version), -EPROTO);
        f.cells.control[0].version = unit_random(&seed);
        value = unit_random(&seed);
        uint64_t now = put(&f, 0, &value, 8);
        expect_number(&f, 0, value, now);
    }
    drop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_there_before_the_first_put),
        cmocka_unit_test(values_of_every_size_come_back_as_they_were),
        cmocka_unit_test(a_place_that_is_too_small_is_not_written_to),
        cmocka_unit_test(cells_under_one_name_do_not_touch_each_other),
        cmocka_unit_test(versions_go_on_where_their_lower_half_ends),
        cmocka_unit_test(versions_with_the_same_lower_half_differ),
        cmocka_unit_test(a_wait_for_a_version_far_ahead_goes_on),
        cmocka_unit_test(every_change_is_found_once_and_no_cell_is_passed_over),
        cmocka_unit_test(only_who_wants_to_be_told_of_a_put_is_told),
        cmocka_unit_test(an_unfinished_put_leaves_the_version_before),
        cmocka_unit_test(a_death_lets_watchers_look_again),
        cmocka_unit_test(a_get_that_cannot_have_its_turn_ends_in_time),
        cmocka_unit_test(a_turn_of_another_thread_by_the_same_name_is_waited_for),
        cmocka_unit_test(nonsense_between_calls_does_no_harm),
        cmocka_unit_test(nonsense_during_calls_does_no_harm),
        cmocka_unit_test(a_put_makes_a_damaged_value_whole),
    };
    return cmocka_run_group_tests_name("cell", tests, NULL, NULL);
}
