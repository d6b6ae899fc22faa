/* SPDX-License-Identifier: MIT
 *
 * node/entry.h - one small file per open end, so that ends find each other.
 *
 *     e-CHANNEL:KIND:NODE:END:DIGEST         e-lines:sq:00c0ffee00c0ffee:3:1f2e3d4c
 *
 * KIND is s or r for sender or receiver, then q or t for queue or topic, or tq for a tap of either; NODE is 16 hex
 * digits; END decimal; DIGEST that of the contract inside.  So reading the directory alone tells which ends there are,
 * and whether an entry says anything about the contract that was not read already: with a thousand ends on a channel,
 * one file is read.
 *
 * Inside is text, one "key value" per line, the first being "ferry-entry 1".  Whatever stands there was written by
 * somebody else: at most 1 KiB is read, unknown keys are skipped, and a line that makes no sense is no opinion.
 */
#ifndef FI_NODE_ENTRY_H
#define FI_NODE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/contract.h"
#include "node/space.h"

/** What an entry's name says. */
typedef struct fi_entry {
    uint64_t node;
    uint64_t end;
    bool is_sender;
    bool is_tap;     /**< a receiver that only looks; it has no opinion, not even of the kind */
    uint32_t kind;   /**< a ferry_kind_t */
    uint32_t digest; /**< of the contract; set by fi_entry_write, fi_entry_publish and fi_entry_each */
    char channel[104];
} fi_entry_t;

/**
 * Calls `each` for every entry, or those of one channel; published regions are among them. Stops at its first non-zero
 * result and returns that; else 0. Negative also when the directory cannot be read.
 */
int fi_entry_each(fi_space_t *s, const char *channel_or_null, int (*each)(const fi_entry_t *e, void *arg), void *arg);

/** Bytes for the name of an entry. */
#define FI_ENTRY_NAME_MAX 192

/** Writes the name of the entry's file. */
void fi_entry_name(const fi_entry_t *e, char name[FI_ENTRY_NAME_MAX]);

/**
 * Puts an entry (back) without asking anybody; takes the space's lock for it. Sets e->digest.
 * Errors: -ESTALE the directory was removed; -ETIMEDOUT somebody keeps the lock; -EACCES, -EROFS, -ENOSPC,
 * -EDQUOT; -EMFILE, -ENFILE; -ENOMEM.
 */
int fi_entry_write(fi_space_t *s, fi_entry_t *e, const fi_contract_t *contract);

/**
 * Reads the contract and, if `opened_ns` is not NULL, when the end was opened (CLOCK_MONOTONIC; 0: not said).
 * Errors: -ENOENT the end has closed; -EACCES; -EPROTO not an entry of this version; -EMFILE, -ENFILE.
 */
int fi_entry_read(fi_space_t *s, const fi_entry_t *e, fi_contract_t *contract, uint64_t *opened_ns);

/** Removes the entry; its digest must be as fi_entry_publish left it. One that is gone already is no error. */
void fi_entry_remove(fi_space_t *s, const fi_entry_t *e);

/**
 * Writes the entry of an end that opens, after comparing contracts with all ends of the channel that are open, all
 * under the space's lock. `*contract` becomes what all have agreed on and mine->digest is set; both stay on failure.
 *
 * `alive(node, arg)` is asked, under the lock, about nodes whose entry says something new or contradicts; what a node
 * that is not alive left behind is removed, and its opinions do not count. In doubt it must say true.
 *
 * Errors: -EPROTOTYPE the contracts differ, or the channel is of the other kind: the sentence shows both sides;
 * -EEXIST a published region has a writer already; and those of fi_entry_write.
 */
int fi_entry_publish(fi_space_t *s, fi_entry_t *mine, fi_contract_t *contract, bool (*alive)(uint64_t node, void *arg),
                     void *arg);

/** Would that be refused with -EPROTOTYPE or -EEXIST? Writes nothing. Errors likewise. */
int fi_entry_compare(fi_space_t *s, const fi_entry_t *mine, const fi_contract_t *contract,
                     bool (*alive)(uint64_t node, void *arg), void *arg);

#endif
