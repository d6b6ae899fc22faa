/* SPDX-License-Identifier: MIT
 *
 * meeting.c - two processes that open the same objects at the same moment: both may dial, and are then connected twice.
 */
#include "harness.h"
#include "objects.h"

#define MEETINGS 60

typedef struct meeting {
    atomic_uint opened;
    atomic_uint held;
} meeting_t;

/* Each opens what the other one has open already, both at once. */
static object_t open_crosswise(meeting_t *m, ferry_t *node, const char *mine, const char *theirs, object_t *other) {
    object_t own = object_open(node, MUTEX, mine, NULL);
    atomic_fetch_add(&m->opened, 1);
    await(&m->opened, 2);
    *other = object_open(node, MUTEX, theirs, NULL);
    return own;
}

static void hold_and_be_killed(void *arg) {
    meeting_t *m = arg;
    object_t hers;
    object_t his = open_crosswise(m, open_node("test"), "his", "hers", &hers);
    check_is(object_take(&his, PATIENCE), 0);
    check_is(object_take(&hers, PATIENCE), 0);
    atomic_store(&m->held, 1);
    await(&m->held, 2);
}

static void take_over(object_t *object) {
    check_is(object_take(object, PATIENCE), FERRY_OWNER_DIED);
    check_is(object_repaired(object), 0);
    check_is(object_give(object), 0);
    object_close(object);
}

static void who_opened_at_the_same_moment_hears_of_the_others_death(void) {
    for (unsigned i = 0; i < MEETINGS; i++) {
        meeting_t *m = share(sizeof *m);
        pid_t holder = child_start(hold_and_be_killed, m);
        ferry_t *node = open_node("test");
        object_t his;
        object_t hers = open_crosswise(m, node, "hers", "his", &his);
        await(&m->held, 1);
        child_kill(holder);
        take_over(&his);
        take_over(&hers);
        close_node(node);
    }
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_opened_at_the_same_moment_hears_of_the_others_death),
    };
    return run_suite("meeting", tests, sizeof tests / sizeof tests[0], argc, argv);
}
