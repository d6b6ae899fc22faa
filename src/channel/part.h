/* SPDX-License-Identifier: MIT
 *
 * part.h - what a sender can be part of.
 */
#ifndef FI_PART_H
#define FI_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry_sender;
struct fi_outlet;

/* How much the engine keeps of a durable topic; 0: no opinion, or no limit. */
typedef struct fi_kept_bounds {
    uint64_t messages;
    uint64_t bytes;
    uint64_t age; /* ns */
} fi_kept_bounds_t;

/* The fencing token with which a durable sender sends. */
typedef struct fi_fencing {
    uint64_t token;   /* of what is sent now; 0: none */
    uint64_t fenced;  /* what was sent with this token was refused, */
    uint64_t by;      /* since this newer one was used: */
    uint64_t refused; /* so many messages; all three atomic */
} fi_fencing_t;

/* What a sender can be part of, and which goes with it. Everything may be 0. The hooks are called with the end held, by
 * any thread. */
typedef struct fi_part {
    void *whole;
    void (*ends)(void *whole); /* the sender is closed */
    /* A receiver has gone or refused the link. What it had not released waits for another one, if there was memory. */
    void (*loses)(void *whole);
    /* Something may have been released; what this sender was armed for is over. */
    void (*released)(void *whole);
    /* Nothing waits in the backlog any more. */
    void (*drained)(void *whole);
    /* It waits for room no more: -ECANCELED. Asked now and then, by the thread that waits. */
    bool (*is_over)(const void *whole);
    /* Which of several links takes the next message; it returns NULL if none shall now, and it waits in the backlog. */
    struct fi_outlet *(*choose)(struct ferry_sender *tx);
    bool in_haste; /* opening it does not wait for receivers to be linked */
    bool hidden;
    uint64_t from_node; /* a hidden one: whose messages it sends on; 0: its own */
    uint64_t from_end;
    uint64_t most; /* bytes of a message, since the engine takes no more; 0: it does not matter */
    /* Why there is no room, if that is known better than by the sender: a sentence in `text`. */
    bool (*explain)(struct ferry_sender *tx, char *text, size_t cap);
    uint64_t only;         /* hidden: the only receiver that it meets; 0: all */
    bool counted;          /* hidden: messages that it is not given are lost to its readers */
    uint64_t first_seq;    /* hidden: of the first message that its reader can miss; 0: of the first that it sends */
    fi_kept_bounds_t kept; /* for the bridge: what it has stated of a durable topic */
    bool plain;            /* likewise: clients of the engine's that are not Ferry's get its messages, too */
    bool gives_back;       /* what receivers have tried in vain waits for fi_returned_next */
    bool outgrows;         /* what is larger than its whole quota is let in, beyond it */
    bool unhurried;        /* its reader takes its time: what finds no room in the ring waits in the pool at once */
} fi_part_t;

#endif
