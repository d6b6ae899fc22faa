/* SPDX-License-Identifier: MIT
 *
 * bank.h - the bank as a service: what its servers and its customers have in common.
 *
 *     withdraw, deposit, transfer   argument: an order_t. Error BANK_OVERDRAWN, with a shortage_t as its detail
 *     outcome                       argument: an order_t; result: uint32_t, 1: it was carried out
 *     balances                      result: int64_t of each account
 *     end                           the server thread that gets this takes no more calls
 *
 * The first three are not idempotent: twice withdrawn is not once withdrawn.  So when a server dies with such a call,
 * Ferry does not send it to another one, but tells the customer -ECONNRESET: it may have run.  The customer then asks
 * for its order's outcome, which can be asked as often as one likes.
 */
#ifndef BANK_H
#define BANK_H

#include <stdatomic.h>

#include "crew.h"
#include "ledger.h"

#define BANK_SERVICE "bank"
#define BANK_OVERDRAWN 1

/** Detail of the error BANK_OVERDRAWN. */
typedef struct shortage {
    int64_t balance;
    int64_t wanted;
} shortage_t;

/** What a customer has done, and what became of it. */
typedef struct account_of_a_day {
    int64_t cash; /**< in its purse now */
    unsigned carried_out, overdrawn;
    unsigned not_run;   /**< calls that ended with -ENOENT: sent again */
    unsigned uncertain; /**< calls that ended with -ECONNRESET: outcome asked */
    unsigned had_run;   /**< of these, had been carried out */
    unsigned wrong;     /**< answers that cannot be true */
} day_t;

/** The same for all; in memory of the crew, where each member writes its own part for main() to read. */
typedef struct bank {
    unsigned servers, tellers;   /**< processes, and threads of each */
    unsigned visitors, threads;  /**< processes of customers, and customers in each */
    unsigned orders;             /**< of each customer */
    unsigned until_death;        /**< orders that a server that is to die carries out before */
    int64_t opened_with;         /**< in each account */
    day_t day[CUSTOMERS_MOST];   /**< of each customer */
    unsigned shifts;             /**< servers that were on duty */
    unsigned orders_of_shift[4]; /**< carried out */
    unsigned repairs;
    atomic_uint ended; /**< tellers who were asked to */
    int64_t left;      /**< in all accounts, at the end */
} bank_t;

/** A server's life: waits until it is its turn, then serves until it is killed or asked to end. `bank` is a bank_t. */
crew_work_t server;
/** The life of a process of customers. */
crew_work_t customers;

#endif
