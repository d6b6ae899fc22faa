/* SPDX-License-Identifier: MIT
 *
 * raw.h - a peer that speaks the wire protocol without the library, and so can say anything.
 *
 * A call here fails only when it cannot be what an attacker would do; that the other side hangs up is never a failure.
 */
#ifndef FERRY_TESTS_RAW_H
#define FERRY_TESTS_RAW_H

#include <fcntl.h>

#include "fire.h"
#include "node/wire.h"
#include "ring/ring_layout.h"

#define RAW_FDS 8

typedef struct raw {
    int fd;
    int pidfd;
    int bell_rd, bell_wr; /* our node's bell */
    uint64_t id;
    struct fi_ctl_head *ctls[2]; /* of its links as a receiver */
    unsigned ctl_count;
} raw_t;

/** What arrived: a frame and its descriptors. */
typedef struct raw_mail {
    fi_frame_t frame;
    int fds[RAW_FDS];
    unsigned count;
} raw_mail_t;

/** Connects to the node in the space "test"; says nothing yet. False: refused. */
bool raw_connect(raw_t *raw, uint64_t node);
/** Connects and introduces itself as a well-behaved node would. */
void raw_meet(raw_t *raw, uint64_t node);
/** Likewise; false: the node did not let us in. */
bool raw_try_to_meet(raw_t *raw, uint64_t node);
/** Says first that it holds nothing any more: else that would be kept for it for as long as this process lives. */
void raw_close(raw_t *raw);
/** Does not say so. */
void raw_vanish(raw_t *raw);

fi_frame_t raw_frame(unsigned type, uint64_t tx, uint64_t rx);
/** Sends any bytes with any descriptors, waiting for room. False: the connection is gone, or (now) the socket is
 * full. */
bool raw_send_bytes(raw_t *raw, const void *data, size_t size, const int *fds, unsigned count);
bool raw_send_now(raw_t *raw, const void *data, size_t size, const int *fds, unsigned count);
bool raw_send(raw_t *raw, const fi_frame_t *frame, const int *fds, unsigned count);
/** 1: a frame came; 0: the other side hung up; -1: nothing came in time. */
int raw_receive(raw_t *raw, raw_mail_t *mail, int64_t timeout);
void raw_drop(raw_mail_t *mail);
/** Reads on until a frame of this type comes; fails when the connection ends or nothing comes. */
void raw_await(raw_t *raw, unsigned type, raw_mail_t *mail);
/** Reads on until the other side hangs up; false when it does not within `timeout`. */
bool raw_hung_up(raw_t *raw, int64_t timeout);
/** HELLO as it should be, with these descriptors. */
void raw_hello(raw_t *raw, uint64_t id, int pidfd, int bell);

/* ---- memory ---- */

#define RAW_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/** A memfd of `bytes`, all of it there when `full`, mapped writable at `*map` and then given `seals`. */
int raw_memory(size_t bytes, bool full, int seals, void **map);
/** A sound, empty ring. */
int raw_ring(uint32_t lines, struct fi_ring_head **head);
/** A sound control area for a ring of so many lines. */
int raw_ctl(uint32_t lines, uint64_t start, struct fi_ctl_head **head);

/* As in node/peer.h, which drags the library's insides along. */
struct fi_page_place_copy {
    uint64_t magic, at;
    uint64_t pad[6];
};
struct fi_receiver_page_copy {
    uint32_t sleep;
    uint32_t leaves, queue;
    uint32_t pad[13];
    uint64_t busy_since, usual_ns;
    uint64_t pad2[6];
};
#define RAW_PAGE_MAGIC 0x656761705f796566ull
#define RAW_PAGE_MEMORY 4096u

/** A receiver's page behind this place. */
int raw_page(const struct fi_page_place_copy *place, struct fi_receiver_page_copy **page);
/** Unmaps it. */
void raw_page_drop(struct fi_receiver_page_copy *page);
/** The same at a good place. */
int raw_good_page(struct fi_receiver_page_copy **page);

static inline unsigned char *raw_line(struct fi_ring_head *head, uint32_t i) {
    return (unsigned char *)(head + 1) + (size_t)i * FI_LINE;
}

/* ---- links ---- */

/** This peer as a sender on `channel` of some receiver of the node. */
typedef struct raw_out {
    raw_t *raw;
    uint64_t tx, rx;
    uint32_t lines;
    uint64_t pos;
    struct fi_ring_head *ring;
    const struct fi_ctl_head *ctl; /* the victim's; NULL when it refused */
    size_t ring_bytes, ctl_bytes;
} raw_out_t;

/** Makes a link up to LIVE with a sound ring, or with the given memory as a ring; `flags` as in OFFER. */
void raw_out_open(raw_t *raw, raw_out_t *out, uint64_t tx, const char *channel, ferry_kind_t kind, uint32_t lines,
                  unsigned flags);
/** The same in two steps: up to ACCEPT, which an honest sender would now take note of, and the rest. */
void raw_out_offer(raw_t *raw, raw_out_t *out, uint64_t tx, const char *channel, ferry_kind_t kind, uint32_t lines,
                   unsigned flags);
void raw_out_live(raw_out_t *out);
/** Finds out the receiver's number: asks as a sender that opens. */
uint64_t raw_find_receiver(raw_t *raw, uint64_t tx, const char *channel, ferry_kind_t kind);
/** OFFER with this ring; 1 accepted (`ctl` its descriptor), 0 refused, -1 hung up. */
int raw_offer(raw_t *raw, uint64_t tx, uint64_t rx, ferry_kind_t kind, int ring, uint64_t start, unsigned flags,
              int *ctl);
/** Publishes a record of `lines` lines whose header is `word`, after the payload has been put there. */
void raw_publish(raw_out_t *out, uint64_t word);
/** A whole good message. */
void raw_say(raw_out_t *out, const void *data, uint32_t size);
void raw_out_close(raw_out_t *out);

/** This peer as a receiver of `channel`. */
typedef struct raw_in {
    raw_t *raw;
    uint64_t tx, rx;
    uint32_t lines;
    uint64_t start;
    const struct fi_ring_head *ring;
    struct fi_ctl_head *ctl;
    struct fi_receiver_page_copy *page;
    int bell_rd, bell_wr;
    size_t ring_bytes, ctl_bytes;
} raw_in_t;

void raw_in_open(raw_t *raw, raw_in_t *in, uint64_t rx, const char *channel, ferry_kind_t kind, unsigned flags);
/** The header of the first record in its ring; 0: nothing has been sent yet. */
uint64_t raw_first_word(const raw_in_t *in);
void raw_in_close(raw_in_t *in);

#endif
