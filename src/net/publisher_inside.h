/* SPDX-License-Identifier: MIT
 *
 * net/publisher_inside.h - what the threads of a publisher share.
 */
#ifndef FI_NET_PUBLISHER_INSIDE_H
#define FI_NET_PUBLISHER_INSIDE_H

#include "net/published.h"
#include "net/publisher.h"

/*
 * A mirror elsewhere. Guarded by the publisher's lock; but what belongs to a transfer the sending thread alone changes,
 * and also looks at without the lock. Others leave word for it.
 */
typedef struct fi_far_reader {
    struct fi_list link;
    uint64_t node;
    uint64_t has;     /* version; 0: none */
    fi_marks_t stale; /* changed since that, or since what it is being sent */

    /* word for the sending thread */
    bool packs;
    bool gone;              /* BYE */
    bool greeted;           /* HELLO: */
    uint64_t claims;        /* it has this version; 0: none of ours */
    bool lost;              /* the connection was away: parts may be lost */
    uint32_t done_transfer; /* the last one that it has published */
    uint32_t came_transfer; /* of this one, so many parts have come */
    uint32_t came;
    int64_t heard_at;

    /* a transfer */
    bool busy;
    const ferry_msg_t *image; /* NULL: not needed any more */
    fi_marks_t sending;
    uint64_t version;
    uint32_t transfer;
    uint32_t sent;    /* parts */
    uint64_t granule; /* where the next part begins */
    bool begun;       /* BEGIN was sent */
    bool all_sent;
    uint32_t raw; /* parts still to be sent without trying to pack them */
    int64_t asked_at;
    int64_t nudged_at;
} fi_far_reader_t;

struct fi_publisher {
    fi_writer_far_t far; /* first */
    fi_net_t *net;
    struct fi_list link; /* in the node's list */
    ferry_region_writer_t *writer;
    char name[104];
    char type[64];
    uint64_t bytes;
    uint64_t epoch;
    natsSubscription *ear;
    fi_net_watch_t watch;
    bool watching;

    pthread_mutex_t lock;
    pthread_cond_t stir;
    pthread_t sender;
    bool sends;
    bool stopping;
    bool open;
    struct fi_list readers;
    const ferry_msg_t *newest;
    uint64_t version;
    uint32_t transfers;
    uint32_t count;      /* of readers */
    uint64_t sent_bytes; /* relaxed */

    fi_marks_t pending; /* the writer's thread only: touched, and not published yet */
    char *part;         /* the sending thread's: a head, ranges and bytes */
    char *packed;
};

/* ---- publisher_send.c; the lock is held ---- */

fi_far_reader_t *fi_far_reader_find(const fi_publisher_t *p, uint64_t node);
/* It is sent all of the region. NULL: no memory. */
fi_far_reader_t *fi_far_reader_new(fi_publisher_t *p, uint64_t node);
void fi_far_reader_free(fi_publisher_t *p, fi_far_reader_t *r);
/* What the publisher says of itself: INFO or BEGIN. */
fi_pub_frame_t fi_publisher_introduction(const fi_publisher_t *p, enum fi_pub_kind kind);
/* The sending thread. */
void *fi_publisher_send_on(void *publisher);

#endif
