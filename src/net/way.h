/* SPDX-License-Identifier: MIT
 *
 * net/way.h - the way: the connection on which a node's bridge publishes what goes into streams, hears that it is stored,
 * and fetches what comes out of work queues.
 *
 * It has one life.  libnats makes other connections again by itself, keeps what is published meanwhile, and sends that
 * first, before what was lost with the connection and is published again: the order would be lost.  So what is given to
 * a way that has ended goes nowhere, and the bridge makes another one in its place.
 *
 * It has no thread.  libnats would send each message by a call of its own, or after a millisecond; but it lets an event
 * loop read and write for it.  The bridge's thread is that loop: what it publishes in a turn leaves in pieces of some
 * KiB, the last of them at the turn's end, and nothing waits for more; and what arrives it takes where it reads it: no
 * other thread has to be woken for that.  What does not fit into the socket stays, and until it has left nothing is
 * added; the thread does not wait for that.  (Of TLS it does, up to FI_NET_WRITE_MS: libnats 3.4 waits there by itself.)
 *
 * Nobody else may end it: libnats reads without a lock, and its timer would close the descriptor, and free what TLS
 * has there, under the one who reads. So the timer only asks whether the server is still there, and the bridge counts
 * how long it hears nothing. (What it did not hear because it was busy itself does not count.)
 *
 * Threads: those of the bridge's thread say so; the others may be called by any.
 */
#ifndef FI_NET_WAY_H
#define FI_NET_WAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "net/library.h"

struct fi_net;

/* What is heard on it, with each new one again. NULL for a message: nobody listens where it was published to which that
 * is the answer; libnats keeps the message that says so. */
typedef struct fi_way_ear {
    struct fi_list link;
    char subject[FI_SUBJECT_MAX];
    void (*take)(void *arg, natsMsg *msg); /* by the bridge's thread, in fi_way_hear; takes it over */
    void (*anew)(void *arg); /* before it hears on another way; it may change its subject. NULL: it need not know */
    void *arg;
    bool is_late; /* see fi_way_hand_on */
    natsSubscription *sub;
} fi_way_ear_t;

typedef struct fi_way {
    natsConnection *connection; /* NULL until a durable channel is opened; atomic */
    pthread_mutex_t lock;       /* of who makes it */
    int epoll;                  /* the bridge's, which sets `ready` */
    uint32_t fd;                /* of the newest connection; atomic */
    bool ready;                 /* there may be something to read, or room to write; the bridge's thread's */
    uint32_t unsent;            /* libnats has something to be written; atomic */
    size_t gathered;            /* bytes, about, since it was last written; the bridge's thread's, as the next five */
    unsigned silent;            /* so many pings' time it has not been heard of */
    int64_t looked_at;          /* ns: when that was last counted */
    struct fi_list ears;
    natsConnection *listens; /* the one on which these are, */
    bool deaf;               /* but not all */
    uint32_t most;           /* bytes that a message may have there, as the server said when it was made; atomic */
    uint32_t torn;           /* it has ended; atomic */
    uint32_t lost;           /* how many were made in place of others; the bridge's thread's, as the next one */
    int64_t again_at;        /* ns: not to be tried again before */
} fi_way_t;

void fi_way_init(fi_way_t *w);
/* Its connection was destroyed. */
void fi_way_destroy(fi_way_t *w);

/* Makes sure that there is one. Errors: as fi_net_open. */
int fi_way_open(struct fi_net *net);

/* ---- for the bridge's thread ---- */

/* Makes it anew if it has ended, waiting for the server as fi_net_open does. Returns ns until it is to be called again,
 * or -1: when it is woken. */
int64_t fi_way_mend(struct fi_net *net);
/* Can something be published? Not if there is none, or while the socket takes nothing. */
bool fi_way_has_room(struct fi_net *net);
/* Leaves with the next fi_way_flush, or before. */
natsStatus fi_way_publish(struct fi_net *net, natsMsg *msg);
/* Words to `subject`, likewise; false: there is no room. `reply`: where an answer is to come, or NULL. */
bool fi_way_say(struct fi_net *net, const char *subject, const char *reply, const char *words);
/* From now on the ear hears; what is published afterwards on the way has its answers there. */
void fi_way_listen(struct fi_net *net, fi_way_ear_t *ear);
/* No more; also if it never did, and is all zeros. */
void fi_way_unlisten(fi_way_ear_t *ear);
/* The same; but what the engine has sent there by the time it learns of it goes to `late`, if it comes on this way.
 * That one is to be ended, too; fi_way_is_over says that nothing more comes. */
void fi_way_hand_on(struct fi_net *net, fi_way_ear_t *ear, fi_way_ear_t *late);
bool fi_way_is_over(const fi_way_ear_t *late);
/* Takes what has arrived. */
void fi_way_hear(struct fi_net *net);
void fi_way_flush(struct fi_net *net);
/* Ends it if nothing has been heard for too long. Returns ns until it is to be called again, or -1: when it is woken. */
int64_t fi_way_watch(struct fi_net *net);
/* When the thread has ended: lets the last leave, and takes what comes late, as far as that goes until then, */
void fi_way_leave(struct fi_net *net, int64_t until);
/* and ends it, once the server has it all, or when it is so late. */
void fi_way_close(struct fi_net *net, int64_t until);

#endif
