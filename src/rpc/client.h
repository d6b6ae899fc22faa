/* SPDX-License-Identifier: MIT
 *
 * rpc/client.h - a caller: a sender for calls, a receiver for replies, and a table of what is under way.
 *
 *   call      free ── started ──> open ── reply, or no servers, or too late, or cancelled ──> ended ── released ──> free
 *
 * A call's id is its place in the table and a count of how often that place was used, so that a reply that comes too
 * late finds nobody.
 *
 * Death.  A call that a dead server had is the channel's to deliver again (channel/backlog.c), marked as begun if the
 * server had taken it; the next server runs it, or answers that it may have run.  When nobody is left to send it to, or
 * there was no memory to take it back, the client itself ends it: a nudge tells it of each loss (after_loss in wait.c).
 */
#ifndef FI_RPC_CLIENT_H
#define FI_RPC_CLIENT_H

#include "channel/messages.h"
#include "channel/quick.h"
#include "ferry/rpc.h"
#include "rpc/far.h"
#include "rpc/turn.h"
#include "rpc/wire.h"

#define FI_CLIENT_MAGIC 0x4363704bu /* "KpcC" */
#define FI_CALL_MAGIC 0x6c63704bu   /* "Kpcl" */
#define FI_RPC_ENDED 0x5863704bu    /* "KpcX" */

#define FI_METHOD_NAME_MAX 100u
#define FI_STREAM_TELL 8u /* results of a stream, or bytes of them, of which the server is told at once */
#define FI_STREAM_TELL_BYTES (UINT64_C(256) << 10)
#define FI_SERVICE_NAME_MAX 60u

struct ferry_call {
    uint32_t magic;
    ferry_client_t *client;
    uint64_t id;
    int64_t deadline;
    bool open;
    bool streams;
    bool awaited;  /* ferry_call waits for it: it is not for ferry_client_next */
    int result;    /* once it is not open */
    uint32_t owed; /* results consumed of which the server was not told yet */
    uint64_t owed_bytes;
    uint32_t results;   /* of a stream, that came */
    uint32_t attempt;   /* of the call, that these are answers to */
    bool seen;          /* when it was looked who has it, somebody did */
    bool begun;         /* likewise: by a server that has gone */
    bool unsent;        /* once it has ended: nobody can have had it; where that is known */
    ferry_msg_t *first; /* replies that came, and were not taken yet */
    ferry_msg_t *last;
    struct fi_list ready; /* in the client's list, if it has something for ferry_call_wait */
    struct ferry_call *next_free;
    void *far; /* what net/ knows of it; NULL: it is this machine's */
    void *context;
    uint64_t number;    /* fi_method_hash */
    const char *method; /* of the program, while it waits; else `name` */
    uint64_t named;     /* the number of what `name` holds, perhaps since an earlier call; 0: nothing */
    char name[FI_METHOD_NAME_MAX + 1];
};

struct ferry_client {
    uint32_t magic;
    uint32_t generation;
    fi_sender_t *tx;
    fi_receiver_t *rx;
    void *far;            /* what net/ knows of it; NULL: its space does not span machines */
    uint32_t losses;      /* of servers on this machine, ever */
    uint32_t losses_seen; /* after_loss has looked */
    uint64_t looked;      /* hope.c: what had changed when it looked for other servers */
    int64_t hope_until;   /* that they are linked; 0: none */
    ferry_call_t **table;
    uint32_t table_size;
    uint32_t places; /* of the table, that are in use or were */
    uint32_t doubts; /* times that it was not known whether a call will be answered, in a row */
    int64_t doubt_since;
    int64_t next_deadline; /* no call under way has an earlier one */
    ferry_call_t *free_calls;
    uint32_t under_way;
    uint32_t limit; /* calls under way at most, as the program wants it */
    struct fi_list ready;
    uint64_t calls;
    uint64_t answers;
    fi_turns_t turns;
    char service[FI_SERVICE_NAME_MAX + 1];
    char awaited[FI_SERVICE_NAME_MAX + FI_METHOD_NAME_MAX + 2]; /* what a listed wait is for */
};

/* The head of a call that was not released, in this process's own memory; NULL: it is none of ours. */
static inline fi_call_head_t *fi_unreleased_head(const fi_unreleased_t *u) {
    uint64_t size;
    const void *head = u->annex ? u->annex : fi_head_behind(u->data, u->size, &size);

    return (fi_call_head_t *)(uintptr_t)head;
}

/* ---- client.c; within a turn of the calling thread, all that has to do with a client ---- */

int fi_client_open(fi_node_t *n, const char *service, const ferry_client_options_t *o, ferry_client_t **out);
int fi_client_close(ferry_client_t *k, int64_t timeout, uint64_t *undone);
/* 0, -EBADF, -ECHILD. */
int fi_client_check(const ferry_client_t *k);
/* As fi_client_enter, by a thread that was not in last. */
int fi_client_enter_slow(ferry_client_t *k, fi_turn_t **turn);
int fi_client_wait(ferry_client_t *k, unsigned servers, int64_t timeout);
/* The same, on this machine. */
int fi_client_wait_here(ferry_client_t *k, unsigned servers, int64_t timeout);
/* start.c: how many are linked, and take no more calls. The sender is held. */
unsigned fi_client_leaving(const ferry_client_t *k);
int fi_client_fd(ferry_client_t *k);
int fi_client_stats(ferry_client_t *k, ferry_client_stats_t *stats);

/* Begins a turn, which fi_turn_leave ends. 0, -EBUSY, -ENOMEM, and as fi_client_check. */
static inline int fi_client_enter(ferry_client_t *k, fi_turn_t **turn) {
    *turn = fi_turns_enter(&k->turns);
    return fi_likely(*turn != NULL) ? 0 : fi_client_enter_slow(k, turn);
}

/* ---- start.c: sending calls ---- */

/* What is called, and with what: `data`, or the message `m`. */
typedef struct fi_wish {
    const char *method;
    size_t length; /* of its name */
    const void *data;
    size_t size;
    ferry_msg_t *m;
} fi_wish_t;

#define FI_CALL_AWAITED 64u /* of a call that goes far: the thread waits for this one, and for nothing else */

/* `flags`: FI_CALL_ONE_WAY, FI_CALL_STREAMS, FI_CALL_AWAITED where the client's `far` is set. `out` NULL: one way. The
 * method's name is still the program's. */
int fi_call_start(ferry_client_t *k, const fi_wish_t *wish, uint32_t flags, int64_t timeout, ferry_call_t **out);
int fi_client_new_msg(ferry_client_t *k, size_t size, int64_t timeout, void **data, ferry_msg_t **m);
/* What a call will take that is sent now, in ns; negative: there is no server. The sender's end is held. */
int64_t fi_client_expected(const fi_sender_t *tx);
/* Which link takes the next call. The sender's end is held. */
fi_outlet_t *fi_client_choose(fi_sender_t *tx);
/* Tells whoever has the call that nobody waits for it. */
void fi_call_tell_cancelled(ferry_call_t *c);
void fi_client_tell_all_cancelled(ferry_client_t *k);
/* Tells the server of the call what the program has consumed. */
void fi_call_tell_consumed(ferry_call_t *c);

/* ---- hope.c: no server is left, as far as is known ---- */

/* May some come that are there already? To be asked now and then while they do not. No end is held. */
bool fi_client_hopes(ferry_client_t *k);
/* Waits for one of those: 0; -ENOENT: there is none; -ETIMEDOUT: `deadline` has passed; or as ferry_client_wait. */
int fi_client_await_hope(ferry_client_t *k, int64_t deadline);

/* ---- call.c: a call's life ---- */

ferry_call_t *fi_call_new(ferry_client_t *k);
/* The method's name, which is not too long, stays known beyond the program's call. */
void fi_call_keep_name(ferry_call_t *c);
void fi_call_free(ferry_call_t *c);
/* It has ended with `result`. */
void fi_call_end(ferry_call_t *c, int result);
/* One of several results has come. Takes it over. */
void fi_call_more(ferry_call_t *c, ferry_msg_t *m);
/* The last answer has come: a result, or an error of the procedure's. Takes it over. */
void fi_call_answer(ferry_call_t *c, ferry_msg_t *m, fi_reply_kind_t kind);
/* The same, with the sentence that goes with it. */
int fi_call_tell_result(const ferry_call_t *c);
int fi_call_check(const ferry_call_t *c);
int fi_call_cancel(ferry_call_t *c);
int fi_call_release(ferry_call_t *c);
/* The call of this number, if it is under way. */
ferry_call_t *fi_call_find(const ferry_client_t *k, uint64_t id);
/* An answer has come. Takes the message over. */
void fi_client_take_reply(ferry_client_t *k, ferry_msg_t *m);

/* ---- wait.c: waiting for answers ---- */

int fi_call_wait(ferry_call_t *c, int64_t timeout, ferry_msg_t **reply);
int fi_client_next(ferry_client_t *k, int64_t timeout, ferry_call_t **call);
/* Reads answers to calls that have ended: nobody else does while no call is under way. Returns before a server that
 * answers without end. */
void fi_client_take_late(ferry_client_t *k);
/* A turn of its own. */
int fi_call_run(ferry_client_t *k, const fi_wish_t *wish, int64_t timeout, ferry_msg_t **reply);

/* The deadline of the request that this thread serves; FI_NEVER: it serves none, or that has none. */
extern __thread int64_t fi_serving_until __attribute__((tls_model("initial-exec")));

#endif
