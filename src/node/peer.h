/* SPDX-License-Identifier: MIT
 *
 * peer.h - another node that this one is connected with, or this node itself.
 *
 * Counted: links keep their peer alive, so a frame can always be sent; to a peer that has gone it is dropped.
 * `route` is how frames and memory travel there: between processes over a socket, within the process by reference.
 */
#ifndef FI_PEER_H
#define FI_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/atomic.h"
#include "base/list.h"
#include "memory/shared.h"
#include "node/wire.h"

/* What a process needs to be connected with one more node: three that stay, and one by which memory comes. */
#define FI_PEER_DESCRIPTORS 4u

struct ferry;
struct fi_peer;

/* What a frame may carry: memory, and one or two descriptors. All are borrowed from the caller. */
typedef struct fi_cargo {
    fi_shared_t *memory; /* NULL: none */
    int fds[2];          /* -1: none */
} fi_cargo_t;

/* One frame that has arrived, with its cargo unpacked. Freed by fi_mail_free. */
typedef struct fi_mail {
    struct fi_list link;
    struct fi_peer *peer;     /* counted */
    struct fi_remote *remote; /* counted; MEET_RECEIVER only */
    fi_shared_t *memory;
    int fds[2];
    fi_frame_t frame;
} fi_mail_t;

/* How frames travel to a peer. One table for each route; every slot may be called by any thread and never blocks. */
typedef struct fi_route {
    const char *name; /* "thread", "shm" */
    /* Sends or queues the frame; takes nothing over. Errors: -ENOMEM; -EPIPE the peer has gone (not an event to handle:
     * the loss of the peer is told to every end in its own time). */
    int (*send)(struct fi_peer *p, const fi_frame_t *f, const fi_cargo_t *cargo);
    /* Steward only: the peer's descriptor is readable; -EPIPE: it has left, -EPROTO: it broke the rules. NULL: none. */
    int (*readable)(struct fi_peer *p);
    /* Steward only: the peer's descriptor has room for what was queued. NULL: never queues. */
    int (*writable)(struct fi_peer *p);
} fi_route_t;

enum fi_peer_state { FI_PEER_NEW, FI_PEER_MET, FI_PEER_LOST };

typedef struct fi_peer {
    struct fi_list link; /* in the node's list */
    struct ferry *node;
    const fi_route_t *route;
    uint32_t refs;
    uint32_t state; /* enum fi_peer_state; steward writes */
    int fd;         /* socket; -1: this node itself */
    int pidfd;
    int bell; /* wakes its steward */
    uint64_t id;
    pid_t pid;
    uid_t uid;
    uint64_t program;   /* fi_process_program, as it says; 0: not known */
    bool asymmetric;    /* it takes part in membarrier */
    bool watches;       /* no node: somebody who wants to be told when this one leaves */
    bool executed;      /* its process lives, and executes another program */
    bool missed;        /* lost, and its process lives: when that dies, objects must hear of it */
    bool starved;       /* there is no descriptor left for what it says: it waits in the socket, */
    int64_t starved_at; /* since then; 0: nothing does */
    bool looked;        /* lost, and was still there a while later */
    bool mourned;       /* lost, and all ends were told that its process is dead */
    int64_t deadline;   /* of the handshake; lost: until it is looked after again, */
    int64_t look_after; /* and how long after that the next time */
    char name[104];
    uint32_t links;       /* opened by this peer, bounded */
    uint64_t mapped;      /* bytes of its memory that this node maps, bounded */
    uint32_t untold;      /* it looks: ends that have not told yet of their links, and the node itself */
    pthread_mutex_t lock; /* guards queue */
    struct fi_list queue; /* frames that did not fit into the socket */
    uint32_t queued;      /* how many; changes under the lock */
    uint64_t *unsettled;  /* ends that wait for this peer's SETTLED; guarded by the node's lock */
    size_t unsettled_count;
} fi_peer_t;

/* Was it told of an end of this node, and has it not answered? The node's lock is taken. */
static inline bool fi_peer_owes(const fi_peer_t *p, uint64_t end) {
    for (size_t i = 0; i < p->unsettled_count; i++) {
        if (p->unsettled[i] == end) {
            return true;
        }
    }
    return false;
}

/* A receiver as its senders see it: its page and its doorbell, shared by all links that lead there. */
typedef struct fi_remote {
    fi_peer_t *peer; /* counted */
    uint64_t end;
    fi_shared_t *memory;
    const struct fi_receiver_page *page; /* in it */
    int bell;
    uint32_t refs;
    uint32_t rung; /* the sleep that was already ended by a ring from here */
} fi_remote_t;

/* The begin of a receiver's memory. Where its page stands in there each receiver chooses for itself: if all chose the
 * same place, a sender could not have the pages of more readers in its cache at a time than that has ways. */
struct fi_page_place {
    uint64_t magic;
    uint64_t at; /* bytes from here */
    uint64_t pad[6];
};
#define FI_PAGE_MEMORY 4096u

/* A receiver's page: written by it alone, read by all its senders. */
struct fi_receiver_page {
    uint32_t sleep; /* epoch << 2 | FI_SLEEP_* */
    /* servers (src/rpc) */
    uint32_t leaves; /* 1: send no more */
    uint32_t queue;  /* calls that one client may have under way */
    uint32_t pad2[13];
    /* ns: when it began what it works on; negative: when it ended that. Written often, so on a line of its own */
    uint64_t busy_since;
    uint64_t usual_ns; /* that it works on one */
    uint64_t pad3[6];
};
#define FI_PAGE_MAGIC 0x656761705f796566ull /* "fey_page" */

/* Where a receiver has its page, of which `seed` is something that others do not have. */
static inline uint64_t fi_page_choose(uint64_t seed) {
    const uint64_t line = sizeof(struct fi_page_place);
    const uint64_t places = (FI_PAGE_MEMORY - sizeof(struct fi_receiver_page)) / line; /* the first one is taken */

    return line * (1 + (seed * 0x9e3779b97f4a7c15u >> 32) % places);
}

/* A receiver's page in its memory; NULL: there is none. */
const struct fi_receiver_page *fi_page_in(const fi_shared_t *memory);

#define FI_SLEEP_ASLEEP 1u /* ring the doorbell */
#define FI_SLEEP_FENCE 2u  /* the receiver does not issue barriers: fence before you look at this word */

fi_peer_t *fi_peer_new(struct ferry *node, const fi_route_t *route, int fd);
/* The same in memory that is zero and was allocated by itself: the last reference frees it. */
void fi_peer_init(fi_peer_t *p, struct ferry *node, const fi_route_t *route, int fd);
fi_peer_t *fi_peer_ref(fi_peer_t *p);
void fi_peer_unref(fi_peer_t *p);

/* `memory` and `bell` are its own then. NULL: no memory. */
fi_remote_t *fi_remote_new(fi_peer_t *p, uint64_t end, fi_shared_t *memory, int bell);
fi_remote_t *fi_remote_ref(fi_remote_t *r);
void fi_remote_unref(fi_remote_t *r);

/* Allocates mail for a frame from `p`; takes nothing over yet. NULL: no memory. */
fi_mail_t *fi_mail_new(fi_peer_t *p, const fi_frame_t *f);
/* Puts memory into it. A pool's segment counts against what its peer may have mapped here, from now until it is
 * dropped. */
void fi_mail_carry(fi_mail_t *m, fi_shared_t *memory);
void fi_mail_free(fi_mail_t *m);

/* Fills in what every frame has. */
fi_frame_t fi_frame(enum fi_frame_type type, uint64_t tx, uint64_t rx);

/* Sends a frame; `cargo` may be NULL. Any thread. Errors: see the route's send. */
int fi_peer_send(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo);

/* Do frames for the peer wait in this process? When they have left, its ends that wait for room look again. */
static inline bool fi_peer_is_behind(const fi_peer_t *p) {
    return fi_load_acquire32(&p->queued) > 0;
}

#endif
