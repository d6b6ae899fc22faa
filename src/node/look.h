/* SPDX-License-Identifier: MIT
 *
 * look.h - a picture of a space.
 */
#ifndef FI_LOOK_H
#define FI_LOOK_H

#include "ferry/look.h"
#include "node/picture.h"
#include "node/space.h"

struct ferry_look {
    fi_space_t space;
    ferry_look_node_t *nodes;
    size_t node_count;
    ferry_look_end_t *ends;
    size_t end_count;
    ferry_look_service_t *services;
    size_t service_count;
    ferry_look_object_t *objects;
    size_t object_count;
    fi_picture_t picture; /* of waits; its texts are those of all */
};

/* Connects to a node and takes its whole answer: calls `each` for every frame. `*pid`, `*uid`: who answers. 1: it did, 0:
 * not in time, or not all of it; -ECONNREFUSED it is dead; or why it cannot be asked. */
typedef void fi_answer_fn(const fi_frame_t *f, void *arg);
int fi_look_ask(int dirfd, uint64_t node, uint32_t flags, int64_t deadline, pid_t *pid, uid_t *uid, fi_answer_fn *each,
                void *arg);
int fi_look(const char *space, const ferry_options_t *o, ferry_look_t **out);
void fi_look_close(ferry_look_t *l);

#endif
