/* SPDX-License-Identifier: MIT
 *
 * customer.h - a process that withdraws from the account, again and again.
 */
#ifndef CUSTOMER_H
#define CUSTOMER_H

#include "account.h"
#include "crew.h"

/** The same for all customers of one run. */
typedef struct bank {
    volatile account_t *account;
    unsigned customers;
    unsigned times;  /**< how often each comes */
    unsigned amount; /**< what each withdraws then, if there is as much */
    bool locked;     /**< is there a mutex around each withdrawal? */
} bank_t;

/** A customer's life; `bank` is a bank_t. */
crew_work_t customer;

#endif
