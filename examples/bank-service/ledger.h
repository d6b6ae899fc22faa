/* SPDX-License-Identifier: MIT
 *
 * ledger.h - the accounts, in memory that all servers share, and the orders that change them.
 *
 * This file knows nothing of Ferry: what is here is right as long as one thread at a time is inside, and the note is
 * what makes it repairable when that thread dies inside.  The number of a customer's last order that was carried out is
 * part of the ledger, and changes in the same step as the money: so it can be asked afterwards whether an order was
 * carried out, whoever died meanwhile.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCOUNTS 8u
#define CUSTOMERS_MOST 64u
#define CASH ACCOUNTS /**< as an account: what customers have in their hands */

/** What a customer wants: from one account, or its purse, to another. */
typedef struct order {
    uint32_t customer;
    uint32_t number; /**< of this customer's orders, from 1: one after the other */
    uint32_t from, to;
    int64_t amount;
} order_t;

/** What is about to be changed, written down before the first change: how it was. */
typedef struct note {
    bool valid;
    order_t order;
    int64_t from, to;
    uint32_t last;
} note_t;

/** Volatile wherever it is used: its stores must happen in this order, for a process can be killed between any two. */
typedef struct ledger {
    int64_t balance[ACCOUNTS + 1]; /**< the last one is CASH: what was paid out, and not paid in again */
    uint32_t last[CUSTOMERS_MOST]; /**< the last order of each customer that was carried out */
    note_t note;
    uint32_t repairs; /**< orders that were undone after a death */
} ledger_t;

/** Can this order be from an honest customer? */
bool order_is_valid(const order_t *o);

/** Is there enough? */
bool ledger_covers(const volatile ledger_t *l, const order_t *o);
/** Carries it out. In the middle, when the money is nowhere, `in_between` is called, if any. */
void ledger_carry_out(volatile ledger_t *l, const order_t *o, void (*in_between)(void));
/** Was it carried out? */
bool ledger_has(const volatile ledger_t *l, const order_t *o);
/** Undoes what somebody who died has left half done. May itself be killed: whoever comes next repeats it. */
void ledger_repair(volatile ledger_t *l);

#endif
