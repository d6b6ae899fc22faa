/* SPDX-License-Identifier: MIT
 *
 * base/list.h - a doubly linked list whose links stand inside the listed things.
 *
 * A head and a node are the same type.  A head is initialised before use; a node that is in no list points to itself,
 * so removing it twice is harmless.  Not shared between threads without a lock.
 */
#ifndef FI_BASE_LIST_H
#define FI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fi_list {
    struct fi_list *next;
    struct fi_list *prev;
} fi_list_t;

/** The struct that contains `member` at `pointer`. A macro because it takes a type. */
#define fi_container(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/** Visits every node; `node` may be removed from within. `after` is a second variable the loop needs. */
#define fi_list_each(node, after, head)                                                                                \
    for ((node) = (head)->next, (after) = (node)->next; (node) != (head); (node) = (after), (after) = (node)->next)

static inline void fi_list_init(fi_list_t *l) {
    l->next = l;
    l->prev = l;
}

static inline bool fi_list_empty(const fi_list_t *head) {
    return head->next == head;
}

static inline void fi_list_add_between(fi_list_t *before, fi_list_t *node, fi_list_t *after) {
    node->prev = before;
    node->next = after;
    before->next = node;
    after->prev = node;
}

static inline void fi_list_add_head(fi_list_t *head, fi_list_t *node) {
    fi_list_add_between(head, node, head->next);
}

static inline void fi_list_add_tail(fi_list_t *head, fi_list_t *node) {
    fi_list_add_between(head->prev, node, head);
}

static inline void fi_list_remove(fi_list_t *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    fi_list_init(node);
}

/** Takes a node out that is added to a list again before anything else is done with it: its own links go stale. */
static inline void fi_list_unlink(fi_list_t *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
}

/** First node, or NULL when the list is empty. */
static inline fi_list_t *fi_list_first(const fi_list_t *head) {
    return fi_list_empty(head) ? NULL : head->next;
}

/** Takes the first node out; NULL when the list is empty. */
static inline fi_list_t *fi_list_pop(fi_list_t *head) {
    fi_list_t *node = fi_list_first(head);
    if (node != NULL)
        fi_list_remove(node);
    return node;
}

#endif
