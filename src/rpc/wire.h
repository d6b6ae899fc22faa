/* SPDX-License-Identifier: MIT
 *
 * rpc/wire.h - what calls and replies look like.
 *
 * A call is a message of the queue "+SERVICE", a reply one of the queue "~SERVICE.NODE.END", where NODE and END name
 * the client's sender.  The bytes are the argument's or the result's, and with them goes a head: behind them, where
 * they stand in a ring or were copied into a block; in the annex, where a message went out by pointer.
 *
 *   +---- ... ----+------+--------------------+
 *   | bytes       | 0..7 | head, 32 bytes     |     a multiple of 8
 *   +---- ... ----+------+--------------------+
 *
 * A call's head stands in the client's own memory until the server has answered and released it; so the client can go
 * on talking in it: it cancels, and says how many results of a stream its program has taken.  Nobody else writes there,
 * no message is needed, and whoever the call is given to finds it as it is.
 */
#ifndef FI_RPC_WIRE_H
#define FI_RPC_WIRE_H

#include <string.h>

#include "base/atomic.h"
#include "channel/message.h"
#include "ring/ring_layout.h"

#define FI_HEAD_PAD 7u /* of `flags`, in both heads: bytes between the message's and the head */

/* flags of a call */
#define FI_CALL_ONE_WAY 8u
#define FI_CALL_STREAMS 16u   /* several results are welcome */
#define FI_CALL_CANCELLED 32u /* set later: nobody waits any more */

typedef struct fi_call_head {
    uint64_t id;      /* the client's */
    int64_t deadline; /* ns; FI_NEVER */
    uint64_t method;  /* fi_method_hash */
    uint32_t flags;
    uint32_t consumed; /* changes: results of a stream that the client's program has taken */
} fi_call_head_t;

typedef enum fi_reply_kind {
    FI_REPLY_RESULT = 1, /* the last one */
    FI_REPLY_MORE,       /* one of several */
    FI_REPLY_END,        /* of several: there are no more; no bytes */
    FI_REPLY_ERROR,      /* the procedure's own: the bytes are a fi_error_head_t and what follows */
    FI_REPLY_REFUSED     /* `error` tells why; no bytes */
} fi_reply_kind_t;

typedef struct fi_reply_head {
    uint64_t id;
    uint32_t kind;
    int32_t error;
    uint32_t attempt; /* of the call: when it was answered by several servers, results of a stream must not mix */
    uint32_t reserved;
    uint32_t flags;
    uint32_t reserved2;
} fi_reply_head_t;

/* Then the words, with their 0, and, aligned to 16 bytes, the details. */
typedef struct fi_error_head {
    int32_t code;
    uint32_t words; /* bytes, with the 0 */
} fi_error_head_t;

static inline uint64_t fi_error_detail_at(uint64_t words) {
    return (sizeof(fi_error_head_t) + words + 15) & ~UINT64_C(15);
}

_Static_assert(sizeof(fi_call_head_t) == FI_ANNEX && sizeof(fi_reply_head_t) == FI_ANNEX, "as drawn");
_Static_assert(offsetof(fi_call_head_t, flags) == offsetof(fi_reply_head_t, flags), "the pad is found the same way");

/* Nothing that is larger can be had, and what is put around it cannot overflow. */
#define FI_PLAUSIBLE (UINT64_MAX / 4)

/* Bytes of a message of `size` bytes, at most FI_PLAUSIBLE, with its head behind it. */
static inline uint64_t fi_headed_size(uint64_t size) {
    return ((size + 7) & ~UINT64_C(7)) + FI_ANNEX;
}
static inline uint32_t fi_head_pad(uint64_t size) {
    return (uint32_t)(-size & 7);
}

/* The head of `bytes` bytes at `data`; NULL: nothing of ours can be so large. `*size`: of what stands before it. */
static inline const void *fi_head_behind(const unsigned char *data, uint64_t bytes, uint64_t *size) {
    if (bytes < FI_ANNEX || bytes % 8 != 0 || (uintptr_t)data % 8 != 0) {
        return NULL;
    }
    const fi_call_head_t *head = (const fi_call_head_t *)(const void *)(data + (bytes - FI_ANNEX));
    uint32_t pad = fi_load_relaxed32(&head->flags) & FI_HEAD_PAD;
    if (pad > bytes - FI_ANNEX) {
        return NULL;
    }
    *size = bytes - FI_ANNEX - pad;
    return head;
}

/* The head of a message that was taken. */
static inline const void *fi_head_of(const ferry_msg_t *m, uint64_t *size) {
    if (m->segment && m->annex) {
        *size = m->size;
        return m->annex;
    }
    return fi_head_behind(m->data, m->size, size);
}

/* The first `n` bytes of a name, fewer than 8, as a number: two reads, which overlap, or three. */
static inline uint64_t fi_name_part(const char *name, size_t n) {
    const unsigned char *bytes = (const unsigned char *)name;
    uint32_t first;
    uint32_t last;

    if (n >= 4) {
        memcpy(&first, name, 4);
        memcpy(&last, name + n - 4, 4);
        return first | (uint64_t)last << 8 * (n - 4);
    }
    return n == 0 ? 0 : bytes[0] | (uint64_t)bytes[n / 2] << 8 * (n / 2) | (uint64_t)bytes[n - 1] << 8 * (n - 1);
}

/* A number for a method's name of `n` bytes: two names of one service that share it are refused (rpc/service.c). */
static inline uint64_t fi_method_hash(const char *name, size_t n) {
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ n;
    uint64_t word;

    for (; n >= 8; n -= 8, name += 8) {
        memcpy(&word, name, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    h = (h ^ fi_name_part(name, n)) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 29;
}

#endif
