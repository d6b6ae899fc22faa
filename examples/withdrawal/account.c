/* SPDX-License-Identifier: MIT
 *
 * account.c - looking, then changing.
 */
#include "account.h"

#include <sched.h>
#include <signal.h>

static void write_note(volatile account_t *a, unsigned customer) {
    a->note.customer = customer;
    a->note.balance = a->balance;
    a->note.purse = a->purse[customer];
    a->note.valid = true; /* last: a note that is half written does not count, and nothing has been changed yet */
}

bool account_withdraw(volatile account_t *a, unsigned customer, int64_t amount) {
    int64_t seen = a->balance; /* look */
    if (seen < amount) {
        return false;
    }
    sched_yield(); /* others run: unless they are kept out, what was seen is no longer so */
    write_note(a, customer);
    a->balance = seen - amount; /* change */
    if (customer == a->victim) {
        raise(SIGKILL); /* the worst moment: the money is neither here nor there */
    }
    a->purse[customer] += amount;
    a->note.valid = false;
    return true;
}

void account_repair(volatile account_t *a, unsigned by) {
    if (!a->note.valid) {
        return; /* it died before its first change or after its last */
    }
    a->missing = -account_error(a);
    a->balance = a->note.balance;
    a->purse[a->note.customer] = a->note.purse;
    a->note.valid = false;
    a->repaired_by = by;
    a->repairs++;
}

int64_t account_paid_out(const volatile account_t *a) {
    int64_t sum = 0;
    for (unsigned i = 0; i < CUSTOMERS_MOST; i++) {
        sum += a->purse[i];
    }
    return sum;
}

int64_t account_error(const volatile account_t *a) {
    return a->balance + account_paid_out(a) - a->opened_with;
}
