/* SPDX-License-Identifier: MIT
 *
 * look.h - a picture of a space.
 */
#ifndef FI_LOOK_H
#define FI_LOOK_H

#include "ferry/look.h"
#include "node/space.h"

struct fi_look_text {
    struct fi_look_text *next;
};

struct ferry_look {
    fi_space_t space;
    ferry_look_node_t *nodes;
    size_t node_count;
    ferry_look_end_t *ends;
    size_t end_count;
    struct fi_look_text *texts;
};

int fi_look(const char *space, const ferry_options_t *o, ferry_look_t **out);
void fi_look_close(ferry_look_t *l);

#endif
