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
    ferry_look_engine_t *engines;
    size_t engine_count;
    ferry_look_link_t *links;
    size_t link_count;
    ferry_look_other_t *others;
    size_t other_count;
    bool unheard;         /* somebody listens on another machine, and nobody has answered */
    fi_picture_t picture; /* of waits; its texts are those of all */
};

/* Connects to a node and takes its whole answer: calls `each` for every frame. `*pid`, `*uid`: who answers. 1: it did,
 * 0:
 * not in time, or not all of it; -ECONNREFUSED it is dead; or why it cannot be asked. */
typedef void fi_answer_fn(const fi_frame_t *f, void *arg);
int fi_look_ask(int dirfd, uint64_t node, uint32_t flags, int64_t patience, pid_t *pid, uid_t *uid, fi_answer_fn *each,
                void *arg);
int fi_look(const char *space, const ferry_options_t *o, ferry_look_t **out);
/* The same in steps, for a space that spans machines: this one's nodes, what others add with fi_look_take, and
 * circles. */
ferry_look_t *fi_look_new(void); /* NULL: no memory, with a sentence */
int fi_look_gather(const char *space, const ferry_options_t *o, ferry_look_t *l);
int fi_look_solve(ferry_look_t *l);
/* What a node says of itself, in one frame; not LOOK_NODE. It is among the picture's nodes. */
void fi_look_take(ferry_look_t *l, uint64_t node, const fi_frame_t *f);
void fi_look_close(ferry_look_t *l);

#endif
