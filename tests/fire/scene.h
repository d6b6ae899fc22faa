/* SPDX-License-Identifier: MIT
 *
 * scene.h - a victim and its friend, both ordinary programs; the test itself is the third party, which is hostile.
 *
 *   friend ── "pings" (queue) ──> victim ── "answers" (queue) ──> friend
 *                                    └──── "news" (topic, nobody may hold it back)
 *
 * The victim also receives the topic "calls", which only strangers use.  Whatever it takes it reads to the last byte.
 * Its answers are so filled that a line of theirs looks like the header of a huge record: a sender that can be led to
 * read its own ring from the wrong place would send nonsense to the friend, or crash.
 */
#ifndef FERRY_TESTS_SCENE_H
#define FERRY_TESTS_SCENE_H

#include "fire.h"

typedef struct scene_shared {
    atomic_uint ready;
    atomic_uint leave;
    rest_t rest; /* of both */
    atomic_ullong victim_node;
    atomic_ullong friend_node;
    atomic_ullong served;      /* answers that came back to the friend */
    atomic_uint expelled;      /* times the victim was told -EPROTO */
    atomic_ullong strange;     /* messages from strangers, as the victim counts them */
    atomic_ullong strange_sum; /* of all their bytes */
    atomic_ullong slowest_ns;  /* longest call of the victim's that had a timeout of SCENE_WAIT */
} scene_shared_t;

#define SCENE_WAIT (5 * MILLISECOND)

typedef struct scene {
    scene_shared_t *s;
    ferry_options_t options; /* of the victim's node */
    uint32_t hold_answers;   /* 1: the victim holds strangers' messages for a while */
    pid_t victim;
    pid_t friend;
    holdings_t before;
    uint64_t node; /* the victim's */
} scene_t;

/** Starts both and waits until they talk. The options may be set before. */
void scene_begin(scene_t *scene);
/** The friend must be served again and again from now on, and the victim must live. */
void scene_expect_service(scene_t *scene);
/** The victim must hold what it held in the beginning, as soon as it has got over the last attack. */
void scene_expect_recovery(scene_t *scene);
/** Service, recovery, an orderly end. */
void scene_end(scene_t *scene);
/** Without a look at what the victim has kept. */
void scene_leave(scene_t *scene);
/** Waits until the victim was told of a rule breaker at least `times`. */
void scene_expect_expelled(scene_t *scene, unsigned times);

#endif
