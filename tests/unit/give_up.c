/* SPDX-License-Identifier: MIT
 *
 * give_up.c - whether it pays to give up lines that were read: the choice, with clocks of the test's own.
 */
#include "unit.h"

#include "ring/give_up.h"

#define LINES 1000u
#define STEP 100u /* lines from one look to the next */
#define ENOUGH (16u * FI_GIVE_UP_CYCLE)

typedef struct stream {
    fi_give_up_t give_up;
    uint64_t pos;
    uint64_t now;
    uint64_t ticks[2]; /* of a step in a lap that follows one of this kind */
    bool before;       /* what was done a lap ago: felt only now */
    uint32_t with;     /* laps with giving up */
    uint32_t laps;
} stream_t;

static stream_t stream(uint64_t without, uint64_t with) {
    return (stream_t){.pos = LINES, .now = 1, .ticks = {without, with}};
}

static void run_lap(stream_t *s) {
    bool does = false;

    for (uint32_t done = 0; done < LINES; done += STEP) {
        does = fi_give_up_pays(&s->give_up, s->pos, LINES, s->now);
        s->pos += STEP;
        s->now += s->ticks[s->before];
    }
    s->before = does;
    s->with += does;
    s->laps++;
}

static void run(stream_t *s, uint32_t laps) {
    s->with = s->laps = 0;
    while (s->laps < laps)
        run_lap(s);
}

/* All but the trials. */
static bool mostly(const stream_t *s, bool with) {
    uint32_t such = with ? s->with : s->laps - s->with;
    return such >= s->laps - s->laps / FI_GIVE_UP_CYCLE * FI_GIVE_UP_TRIAL - FI_GIVE_UP_TRIAL;
}

static void what_is_quicker_is_kept(void **state) {
    (void)state;
    stream_t gains = stream(300, 100);
    stream_t loses = stream(100, 300);
    run(&gains, ENOUGH);
    run(&loses, ENOUGH);
    run(&gains, ENOUGH);
    run(&loses, ENOUGH);
    assert_true(mostly(&gains, true));
    assert_true(mostly(&loses, false));
}

static void the_choice_follows_the_cores(void **state) {
    (void)state;
    stream_t s = stream(100, 300);
    run(&s, ENOUGH);
    s.ticks[false] = 900;
    run(&s, ENOUGH);
    run(&s, ENOUGH);
    assert_true(mostly(&s, true));
    s.ticks[false] = 100;
    run(&s, ENOUGH);
    run(&s, ENOUGH);
    assert_true(mostly(&s, false));
}

static void what_hardly_differs_does_not_flutter(void **state) {
    (void)state;
    stream_t s = stream(100, 95);
    run(&s, ENOUGH);
    assert_true(mostly(&s, false));
}

/* The other way's laps, and only they, take a thousand times as long, once. */
static void a_disturbed_lap_weighs_little(void **state) {
    (void)state;
    stream_t s = stream(100, 80);
    run(&s, ENOUGH);
    run(&s, FI_GIVE_UP_CYCLE);
    assert_true(mostly(&s, true));
    s.now += 100000;
    run(&s, FI_GIVE_UP_CYCLE);
    run(&s, FI_GIVE_UP_CYCLE);
    assert_true(mostly(&s, true));
}

static void a_broken_lap_does_not_count(void **state) {
    (void)state;
    stream_t s = stream(100, 300);
    run(&s, ENOUGH);
    for (uint32_t i = 0; i < ENOUGH; i++) {
        run_lap(&s);
        s.now += 1000000;
        fi_give_up_pause(&s.give_up);
    }
    run(&s, ENOUGH);
    assert_true(mostly(&s, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_quicker_is_kept),
        cmocka_unit_test(the_choice_follows_the_cores),
        cmocka_unit_test(what_hardly_differs_does_not_flutter),
        cmocka_unit_test(a_disturbed_lap_weighs_little),
        cmocka_unit_test(a_broken_lap_does_not_count),
    };
    return cmocka_run_group_tests_name("give_up", tests, NULL, NULL);
}
