/* SPDX-License-Identifier: MIT
 *
 * owned.c - what the steward does with handles whose thread has ended, step by step: no program can tell these steps
 * apart but by luck.
 */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "lock/lock.h"

typedef struct scene {
    fi_node_t *node;
    fi_object_t object;
    fi_lock_t lock;
    unsigned given_away;
    bool was_buried; /* when what it held was given away */
} scene_t;

/* The steward gives away what a handle held. */
static void notice(const fi_object_t *o, fi_is_dead_fn *is_dead, void *arg) {
    scene_t *s = fi_container((void *)(uintptr_t)o, scene_t, object);

    (void)is_dead;
    (void)arg;
    s->given_away++;
    s->was_buried = fi_is_buried(&s->lock.handle.own);
}

static const fi_object_ops_t ops = {.word = "thing", .bury = notice};

static void set_up(scene_t *s) {
    *s = (scene_t){.node = calloc(1, sizeof *s->node), .object = {.ops = &ops}};
    assert_non_null(s->node);
    s->node->bell.wr = -1; /* nobody comes of himself */
    fi_list_init(&s->node->objects);
    fi_list_add_tail(&s->node->objects, &s->object.link);
    fi_list_init(&s->object.handles);
    fi_list_add_tail(&s->object.handles, &s->lock.handle.link);
    fi_owned_init(&s->lock.handle.own, s->node);
    s->lock.handle.object = &s->object;
    s->lock.handle.magic = FI_LOCK_MAGIC('m');
}

static void tear_down(scene_t *s) {
    fi_disown(&s->lock.handle.own);
    free(s->node);
}

static void *take(void *arg) {
    scene_t *s = arg;

    assert_int_equal(fi_lock_enter(&s->lock, FI_LOCK_MAGIC('m')), 0);
    fi_set_held(&s->lock.handle, 1);
    s->lock.handle.busy = 0;
    return NULL;
}

static void take_and_end(scene_t *s) {
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, take, s), 0);
    pthread_join(thread, NULL);
    assert_true(fi_is_orphan(&s->lock.handle.own));
}

/* Who gets it, and then uses the old handle, must be told. */
static void a_handle_is_buried_before_what_it_held_is_given_away(void **state) {
    scene_t s;

    (void)state;
    set_up(&s);
    take_and_end(&s);
    fi_objects_bury_orphans(s.node);
    assert_int_equal(s.given_away, 1);
    assert_true(s.was_buried);
    fi_objects_bury_orphans(s.node);
    assert_int_equal(s.given_away, 1);
    tear_down(&s);
}

/* Also by somebody who looked when it was not buried yet. */
static void a_buried_handle_becomes_nobodys_own(void **state) {
    scene_t s;

    (void)state;
    set_up(&s);
    take_and_end(&s);
    assert_int_equal(fi_lock_enter(&s.lock, FI_LOCK_MAGIC('m')), -EOWNERDEAD);
    fi_objects_bury_orphans(s.node);
    assert_false(fi_own_again(&s.lock.handle.own));
    assert_false(fi_is_own(&s.lock.handle.own));
    assert_int_equal(fi_lock_enter(&s.lock, FI_LOCK_MAGIC('m')), -EOWNERDEAD);
    assert_int_equal(s.lock.handle.busy, 0);
    tear_down(&s);
}

/* The thread that held it may have handed it on before it ended. */
static void a_handle_that_somebody_took_over_is_not_buried(void **state) {
    scene_t s;

    (void)state;
    set_up(&s);
    take_and_end(&s);
    assert_true(fi_own_again(&s.lock.handle.own));
    fi_objects_bury_orphans(s.node);
    assert_int_equal(s.given_away, 0);
    assert_int_equal(fi_lock_enter(&s.lock, FI_LOCK_MAGIC('m')), 0);
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_is_buried_before_what_it_held_is_given_away),
        cmocka_unit_test(a_buried_handle_becomes_nobodys_own),
        cmocka_unit_test(a_handle_that_somebody_took_over_is_not_buried),
    };
    return cmocka_run_group_tests_name("owned", tests, NULL, NULL);
}
