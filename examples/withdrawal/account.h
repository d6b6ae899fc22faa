/* SPDX-License-Identifier: MIT
 *
 * account.h - an account and the purses of its customers, in memory that all processes share.
 *
 * This file knows nothing of Ferry: what is here is right as long as one process at a time is inside, and the note is
 * what makes it repairable when that process dies inside.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#define CUSTOMERS_MOST 64u
#define NOBODY CUSTOMERS_MOST

/** What is about to be changed, written down before the first change: how it was. */
typedef struct note {
    bool valid;
    unsigned customer;
    int64_t balance; /**< of the account, before */
    int64_t purse;   /**< of the customer, before */
} note_t;

/**
 * Volatile wherever it is used: a process can be killed between any two instructions, so its stores must happen in the
 * order in which they are written down here.
 */
typedef struct account {
    int64_t opened_with;
    int64_t balance;
    int64_t purse[CUSTOMERS_MOST];
    note_t note;
    unsigned victim;      /**< the customer that is killed between the two changes of its withdrawal */
    unsigned repairs;     /**< withdrawals that were undone after a death */
    unsigned repaired_by; /**< the customer that did so last */
    int64_t missing;      /**< what it found to be neither in the account nor in a purse */
} account_t;

/** Moves `amount` from the account to the customer's purse. False: there is not that much left. */
bool account_withdraw(volatile account_t *a, unsigned customer, int64_t amount);

/** Undoes what a customer that was killed has left half done. May itself be killed: whoever comes next repeats it. */
void account_repair(volatile account_t *a, unsigned by);

/** What is in all purses. */
int64_t account_paid_out(const volatile account_t *a);

/** What is in the account and all purses, less what there should be: 0 when the books balance. */
int64_t account_error(const volatile account_t *a);

#endif
