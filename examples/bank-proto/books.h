/* SPDX-License-Identifier: MIT
 *
 * books.h - the accounts, for any number of threads at once. Knows nothing of Ferry, nor of messages but the kinds of
 * refusals and entries.
 */
#ifndef BOOKS_H
#define BOOKS_H

#include "bank.pb-c.h"

#include <stddef.h>
#include <stdint.h>

typedef struct books books_t;

typedef struct entry {
    Bank__V1__Entry__Kind kind;
    int64_t amount;
    uint32_t other;
} entry_t;

/** Empty books; NULL: no memory. */
books_t *books_new(void);
void books_free(books_t *books);

/* These return NONE, or why nothing was done. `*balance` is what the account has after it, or would need more of. */

Bank__V1__Refusal books_open(books_t *books, const char *owner, int64_t deposit, uint32_t *number);
Bank__V1__Refusal books_withdraw(books_t *books, uint32_t account, int64_t amount, int64_t *balance);
Bank__V1__Refusal books_transfer(books_t *books, uint32_t from, uint32_t to, int64_t amount, int64_t *balance);
/** `*owner` belongs to the books. */
Bank__V1__Refusal books_look(books_t *books, uint32_t account, const char **owner, int64_t *balance);
/** A copy of the account's entries, for the caller to free; NULL if there is no memory. */
Bank__V1__Refusal books_history(books_t *books, uint32_t account, entry_t **entries, size_t *count);

#endif
