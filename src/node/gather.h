/* SPDX-License-Identifier: MIT
 *
 * gather.h - asking nodes what their threads wait for, and on and on: those that could end these waits, and, where such
 * a thread waits by another node of its process, that one, in whatever space it is.
 *
 * Another space is not joined: whoever may look into its directory may ask.  So who looks needs no part in the spaces
 * through which a circle leads.
 */
#ifndef FI_GATHER_H
#define FI_GATHER_H

#include "node/picture.h"
#include "node/space.h"

struct ferry;

#define FI_PLACES_MAX 16u

typedef struct fi_gathering {
    struct ferry *node;    /* whose thread asks: it knows its peers; NULL: somebody from outside */
    fi_picture_t *picture; /* its own nodes have been asked, or will be */
    int64_t deadline;      /* there is no use in an answer later */
    uint32_t places;
    struct {
        fi_space_t space; /* descriptor and path */
        bool asked;       /* all of it */
    } place[FI_PLACES_MAX];
    uint64_t asking;
    uint32_t asking_in;
} fi_gathering_t;

/* Begins with the space `home`, which is borrowed. `all`: all of its nodes have been asked. */
void fi_gather_begin(fi_gathering_t *g, const fi_space_t *home, bool all);
/* Asks one of them. */
void fi_gather_ask(fi_gathering_t *g, uint64_t node);
/* Goes on until nobody new is named. */
void fi_gather_on(fi_gathering_t *g);
/* Closes what was opened. The picture stays. */
void fi_gather_end(fi_gathering_t *g);

#endif
