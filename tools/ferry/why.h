/* SPDX-License-Identifier: MIT
 *
 * why.h - what `ferry why` found: one picture of a space, and which of its waits are shown, in which trees.
 */
#ifndef FERRY_TOOL_WHY_H
#define FERRY_TOOL_WHY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

typedef struct why {
    ferry_look_t *look;
    size_t n;      /* waits in the picture */
    size_t *roots; /* waits at which a tree that was asked for begins, the longest first */
    size_t n_roots;
    bool *shown; /* for each wait: it stands in one of these trees */
} why_t;

/* What trees are about; both empty: all. */
typedef struct why_asked {
    const char *name; /* pattern for the name of an object or channel, or NULL */
    int32_t pid;      /* process that takes part, or 0 */
} why_asked_t;

/*
 * Chooses the trees of `why->look`: each begins at a thread that waits and that nobody waits for, or at the one in a
 * circle that has waited longest. False without memory; why_done is due in any case.
 */
bool why_choose(why_t *why, const why_asked_t *asked);
void why_done(why_t *why);

/* The node with this id, or NULL. */
const ferry_look_node_t *why_node(const why_t *why, uint64_t id);
/* The directory of the other space that it is in; NULL: it is in the one looked at. */
const char *why_elsewhere(const why_t *why, uint64_t id);

/*
 * Holder `k` of wait `i` is the same thread as one before it: it has several units of a semaphore. `why_holders` is how
 * many are left without these.
 */
bool why_is_repeated(const why_t *why, size_t i, size_t k);
size_t why_holders(const why_t *why, size_t i);

/* The thread that `holder` is waits in the same circle as `wait` does. */
bool why_in_circle(const why_t *why, const ferry_look_wait_t *wait, const ferry_look_holder_t *holder);

/* What is waited for has a name, which matches. */
bool why_has_name(const ferry_look_wait_t *wait, const char *pattern);

/* The largest number of a circle in what is shown; 0: there is none. */
uint32_t why_last_circle(const why_t *why);

/* --- in words --- */

/* How what a thread waits for is told. */
typedef struct why_words {
    const char *key;    /* for scripts */
    const char *before; /* the object, "" or with a blank after it */
    const char *object;
    const char *after;    /* its name, "" or with a blank before it */
    const char *relation; /* between it and a holder */
    const char *any;      /* what any of the holders, or all of them, would have to do */
    const char *all;
} why_words_t;

const why_words_t *why_words(const ferry_look_wait_t *wait);

/* Enough for any of the texts below, which are cut there. */
enum { WHY_TEXT = 400 };

/* bank[1234/1236 worker]: a node's name, its process, the thread and the thread's name. */
void why_waiter_text(const why_t *why, const ferry_look_wait_t *wait, char *text);
/* The same for one who holds, whose thread and its name may not be known. */
void why_holder_text(const why_t *why, const ferry_look_holder_t *holder, char *text);
/* semaphore "slots", and with what is wanted of it: a unit of semaphore "slots"; and in which space, if in another
 * one */
void why_object_text(const why_t *why, const ferry_look_wait_t *wait, char *text);
void why_wanted_text(const why_t *why, const ferry_look_wait_t *wait, char *text);
/* bank+0x1a2b: the place that called, without folders; "" if not known. */
void why_where_text(const ferry_look_wait_t *wait, char *text);
/* Why a node may not answer: see json_look.h. NULL: one that is not known. */
const char *why_silence(const ferry_look_node_t *node);

/* --- the forms of output, to standard output --- */

/* False without memory. */
bool why_print_trees(const why_t *why, bool colour);
bool why_print_dot(const why_t *why, const char *space);
void why_print_json(const why_t *why, const char *base, const char *space);
/* The line for each circle; part of why_print_trees. False without memory. */
bool why_print_circles(const why_t *why, const char *red, const char *plain);

#endif
