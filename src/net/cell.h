/* SPDX-License-Identifier: MIT
 *
 * net/cell.h - cells in a space that spans machines: values that the engine keeps.
 *
 *     stream FERRY_SPACE_cell_NAME     description "ferry cell 1 count=COUNT max_bytes=MAX type=TYPE"
 *         ferry.SPACE.cell.NAME.INDEX      the newest value of a cell, its bytes as they are; only one is kept
 *         ferry.SPACE.cell.NAME.fINDEX     the largest fencing token that was used on it (fi_fence_t)
 *     ferry.SPACE.cellnews.NAME.*      what the server says after it has stored one of these: "Nats-Sequence"
 *
 * The version of a value is its number in the stream.  So a put is one message, whoever else puts; and what is not the
 * newest any more is known by a smaller number.  With one cell under the name, and no tokens, versions count from 1.
 *
 * Compare-and-set: with replicas, the server's check of the last number *of a subject* lets two writers through
 * (measured); that of the *whole stream*, and that of "no message", do not.  So: learn the stream's last number L, look
 * that the cell still has the version, and put on condition that L is the last number still.  If another cell of this
 * name has changed meanwhile it is tried again.  A put with a token first raises the fence, then puts, each in this
 * way: whoever comes with a smaller token after the fence was raised is refused, and one who had looked before is, too,
 * as L has changed.
 *
 * Who has a long way to the engine would come too late each time where others put into the name's other cells.  So where
 * one server alone keeps the stream, its check of a subject is used, whatever is put elsewhere.
 *
 * Answers that are lost with a connection: each put carries an id, by which the server knows it when it comes again.
 *
 * Waiting: a handle that waits hears the news, which the server tells once a value is stored, and keeps the newest
 * versions in a table.  News have the stream's numbers: where one is missing, after a lost connection, and once a
 * second while somebody waits, it asks for the stream's last number, and if need be for all.  A get always asks the
 * engine.
 */
#ifndef FI_NET_CELL_H
#define FI_NET_CELL_H

#include "ferry/cell.h"
#include "net/shares.h"

#define FI_NET_CELL_MAGIC 0x63746e66u /* "fntc" */

/* What a ferry_cell_t is in such a space. */
typedef struct fi_net_cell {
    uint32_t magic;
    uint32_t busy;
    fi_net_t *net;
    struct fi_list link; /* in the node's list */
    char name[104];
    char stream[FI_SUBJECT_MAX];
    uint64_t max_bytes;
    uint32_t count;
    char type[64];
    int64_t patience;
    uint64_t last;    /* of the stream, as far as we know; relaxed */
    uint32_t missing; /* there was no stream when we asked last; relaxed */
    uint64_t gone;    /* see fi_ask_doubt */
    bool clustered;   /* several servers keep it */

    /* listening, once it has waited */
    natsSubscription *news;
    fi_net_watch_t watch;
    uint64_t *versions; /* count; relaxed */
    uint64_t heard;     /* of the stream, the last number that is in the table; relaxed */
    uint32_t gaps;      /* how often the table may have come to lack something */
    uint32_t caught_up; /* `gaps`, when all of it was last read */
    uint32_t next;      /* where watching goes on */
    int bell;           /* eventfd for who waits; -1 until then */
    int fd;             /* eventfd for the program; -1: it did not ask for one */

    int64_t waits_since; /* ns; 0: it does not wait */
    fi_blocked_t blocked;
} fi_net_cell_t;

/* A put's conditions. */
typedef struct fi_net_put {
    uint32_t index;
    const uint64_t *only_if; /* it has this version; NULL: in any case */
    uint64_t token;          /* no larger one was used; 0: does not matter */
    const void *data;
    size_t len;
    uint64_t *version; /* may be NULL */
} fi_net_put_t;

static inline fi_net_cell_t *fi_net_cell_of(const ferry_cell_t *cell) {
    fi_net_cell_t *c = (fi_net_cell_t *)(uintptr_t)cell;

    return c && c->magic == FI_NET_CELL_MAGIC ? c : NULL;
}

/* As the calls of cell.h. */
int fi_net_cell_open(fi_net_t *net, const char *name, const ferry_cell_options_t *o, ferry_cell_t **cell);
int fi_net_cell_close(fi_net_cell_t *c);
int fi_net_cell_get(fi_net_cell_t *c, uint32_t index, void *buf, size_t cap, size_t *len, uint64_t *version);
int fi_net_cell_put(fi_net_cell_t *c, const fi_net_put_t *p);
int fi_net_cell_version(fi_net_cell_t *c, uint32_t index, uint64_t *version);
int fi_net_cell_wait(fi_net_cell_t *c, uint32_t index, uint64_t after, int64_t timeout);
int fi_net_cell_watch(fi_net_cell_t *c, uint64_t *seen, uint32_t *changed, uint32_t max, int64_t timeout);
int fi_net_cell_fd(fi_net_cell_t *c);
int fi_net_cell_rearm(fi_net_cell_t *c);
int fi_net_cell_info(fi_net_cell_t *c, ferry_cell_info_t *info);

int fi_net_cell_remove(fi_net_t *net, const char *name);
int fi_net_cell_each(fi_net_t *net, int (*each)(const char *name, const ferry_cell_info_t *info, void *arg), void *arg);

/* The node is closed: closes one that is open still, and says which, in `name`. False: there is none. */
bool fi_net_cell_drop_one(fi_net_t *net, char name[104]);

/* ---- between cell*.c ---- */

/* What openers agree on; stands in the stream's description. */
typedef struct fi_net_cell_form {
    uint64_t max_bytes;
    uint32_t count;
    char type[64];
} fi_net_cell_form_t;

/* Reads it, whatever stands in a stream of that name. -EPROTOTYPE it is no cell's; -EPROTO it has another format. */
int fi_net_cell_read_form(const fi_net_t *net, const char *name, const jsStreamConfig *config, fi_net_cell_form_t *f);
/* Is it this process's, and has that index? 0, -ECHILD, -ERANGE. */
int fi_net_cell_check(const fi_net_cell_t *c, uint32_t index);
/* Learns the stream's last number from the server, also where it was said just now that there is no stream. 0; -ENOENT it
 * was removed; or another error; with its sentence. */
int fi_net_cell_ask_last(fi_net_cell_t *c, const char *doing, int64_t deadline);

/* Begins a call of the handle's thread. 0, -EBUSY, -ECHILD, -ERANGE. */
int fi_net_cell_enter(fi_net_cell_t *c, uint32_t index);
int fi_net_cell_leave(fi_net_cell_t *c, int r);
void fi_net_cell_subject(const fi_net_cell_t *c, char out[FI_SUBJECT_MAX], const char *prefix, uint32_t index);
/* The version that the engine has now; 0: none. */
int fi_net_cell_look(fi_net_cell_t *c, uint32_t index, int64_t timeout, uint64_t *version);
/* Frees what cell_wait.c has made. */
void fi_net_cell_listen_no_more(fi_net_cell_t *c);

#endif
