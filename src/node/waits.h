/* SPDX-License-Identifier: MIT
 *
 * waits.h - which threads of this node wait for something, and who could end that.
 *
 * A thread that has waited for long lists what it waits for with its node; the steward tells whoever looks.  So what is
 * shown is as of the moment of the question, and can be asked while the program is stuck.
 *
 * Who could end a wait is a set of keys.  A handle's key is its name in words of shared memory (fi_owner); a receiver's
 * key has FI_KEY_END set, and its number; what is known between machines only has other bits.
 *
 * A thread waits in one place at a time, but may hold something in several spaces: each node of a process tells by
 * which others those wait who hold something by it, and where these are.  Whoever looks goes on there.
 */
#ifndef FI_WAITS_H
#define FI_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sync/word.h"

struct ferry;
struct fi_end;
struct fi_peer;
struct fi_blocked;

#define FI_KEY_END (UINT64_C(1) << 31)
#define FI_KEY_CALL (UINT64_C(1) << 30)  /* a call from another machine, with a number made from its names */
#define FI_KEY_LEASE (UINT64_C(1) << 29) /* a handle on a lock between machines */

static inline uint64_t fi_key_of_end(uint64_t node, uint64_t end) {
    return node << 32 | FI_KEY_END | (end & (FI_KEY_END - 1));
}

/* In the node that serves it. */
static inline uint64_t fi_key_of_call(uint64_t node, uint64_t caller, uint64_t client, uint64_t id) {
    uint64_t mixed = (caller ^ client * UINT64_C(0x9e3779b97f4a7c15) ^ id) * UINT64_C(0xff51afd7ed558ccd);

    return node << 32 | FI_KEY_CALL | (mixed >> 32 & (FI_KEY_CALL - 1));
}
static inline uint64_t fi_key_of_lease(uint64_t node, uint32_t handle) {
    return node << 32 | FI_KEY_LEASE | (handle & (FI_KEY_LEASE - 1));
}

typedef void fi_add_key_fn(uint64_t key, void *arg);

typedef struct fi_blocked {
    /* filled in by whoever waits */
    uint32_t what;     /* ferry_wait_for_t */
    bool needs_all;    /* all of those who hold must let go */
    bool detects;      /* this wait may end with -EDEADLK */
    int32_t pid;       /* of a child process */
    const char *name;  /* outlives the wait */
    const void *where; /* in the program */
    int64_t since;
    const struct fi_end *sleeper; /* whose bell ends its sleep; NULL: what it waits for is in `holders` */
    /* Who holds, now. Steward. NULL: `keys`. */
    void (*holders)(const struct fi_blocked *b, fi_add_key_fn *add, void *arg);
    uint64_t *keys; /* allocated */
    uint32_t key_count;

    /* filled in when it is listed */
    struct fi_list link; /* guarded by waits_lock, as is all above while it is listed */
    uint64_t number;     /* 0: not listed; never used twice in a process */
    int32_t tid;
    char thread[16];
} fi_blocked_t;

/* Lists a wait of the calling thread, until it is struck off. What is listed does not change: it is listed anew. */
void fi_waits_list(struct ferry *n, fi_blocked_t *b);
/* The wait goes on, and is listed as `next` says; as that is listed already, it stays what it is, under its number.
 * Takes next's keys over. */
void fi_waits_go_on(struct ferry *n, fi_blocked_t *b, const fi_blocked_t *next);
/* Strikes it off, if it is listed, and frees its keys. */
void fi_waits_strike(fi_blocked_t *b);
/* The wait of the calling thread for a child process, or NULL. */
fi_blocked_t *fi_waits_for_process(struct ferry *n);

/* Tells a looking process; also, if asked to, by which other nodes of this process those wait who hold something by
 * this one. Steward, the node's lock taken. */
void fi_waits_tell(struct ferry *n, struct fi_peer *p, bool names_beside);

/* The nodes of this process: one more, one less. */
void fi_waits_add_node(struct ferry *n);
void fi_waits_remove_node(struct ferry *n);
/* Around fork(), after the nodes' locks. */
void fi_waits_lock(void);
void fi_waits_unlock(void);

/* Has the listed wait become a deadlock? 0, or -EDEADLK with the circle in words. The waiting thread itself asks; it
 * gives up at `deadline`. No cancellation point. */
int fi_waits_judge(struct ferry *n, const fi_blocked_t *b, int64_t deadline);

#endif
