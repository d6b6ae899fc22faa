/* SPDX-License-Identifier: MIT
 *
 * books.c - one lock for all accounts: a transfer changes two.
 */
#include "books.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS_MOST 1000u
#define ENTRIES_MOST (1u << 20)

typedef struct account {
    char *owner;
    int64_t balance;
    entry_t *entries;
    size_t count;
    size_t room; /* for entries */
} account_t;

struct books {
    pthread_mutex_t lock;
    uint32_t count;
    account_t accounts[ACCOUNTS_MOST]; /* number N is at N - 1 */
};

books_t *books_new(void) {
    books_t *b = calloc(1, sizeof(*b));
    if (b != NULL) {
        pthread_mutex_init(&b->lock, NULL);
    }
    return b;
}

void books_free(books_t *b) {
    for (uint32_t i = 0; i < b->count; i++) {
        free(b->accounts[i].owner);
        free(b->accounts[i].entries);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static account_t *find(books_t *b, uint32_t number) {
    return number >= 1 && number <= b->count ? &b->accounts[number - 1] : NULL;
}

/** Makes room for one more entry, so that booking it cannot fail. False: there is none. */
static bool reserve(account_t *a) {
    if (a->count < a->room) {
        return true;
    }
    size_t room = a->room == 0 ? 16 : 2 * a->room;
    entry_t *entries = room <= ENTRIES_MOST ? realloc(a->entries, room * sizeof(*entries)) : NULL;
    if (entries == NULL) {
        return false;
    }
    a->entries = entries;
    a->room = room;
    return true;
}

static void book(account_t *a, Bank__V1__Entry__Kind kind, int64_t amount, uint32_t other) {
    a->entries[a->count++] = (entry_t){kind, amount, other};
    a->balance += amount;
}

static Bank__V1__Refusal open_one(books_t *b, const char *owner, int64_t deposit, uint32_t *number) {
    account_t *a = &b->accounts[b->count];
    if (deposit <= 0) {
        return BANK__V1__REFUSAL__WRONG_AMOUNT;
    }
    if (b->count == ACCOUNTS_MOST || !reserve(a) || (a->owner = strdup(owner)) == NULL) {
        return BANK__V1__REFUSAL__FULL;
    }
    book(a, BANK__V1__ENTRY__KIND__DEPOSIT, deposit, 0);
    *number = ++b->count;
    return BANK__V1__REFUSAL__NONE;
}

/** May `amount` leave this account? */
static Bank__V1__Refusal check(account_t *a, int64_t amount, int64_t *balance) {
    if (a == NULL) {
        return BANK__V1__REFUSAL__NO_SUCH_ACCOUNT;
    }
    if (amount <= 0) {
        return BANK__V1__REFUSAL__WRONG_AMOUNT;
    }
    *balance = a->balance;
    return a->balance < amount ? BANK__V1__REFUSAL__NOT_ENOUGH
           : !reserve(a)       ? BANK__V1__REFUSAL__FULL
                               : BANK__V1__REFUSAL__NONE;
}

static Bank__V1__Refusal withdraw(account_t *a, int64_t amount, int64_t *balance) {
    Bank__V1__Refusal r = check(a, amount, balance);
    if (r == BANK__V1__REFUSAL__NONE) {
        book(a, BANK__V1__ENTRY__KIND__WITHDRAWAL, -amount, 0);
        *balance = a->balance;
    }
    return r;
}

static Bank__V1__Refusal transfer(books_t *b, uint32_t from, uint32_t to, int64_t amount, int64_t *balance) {
    account_t *giver = find(b, from), *taker = find(b, to);
    Bank__V1__Refusal r = check(giver, amount, balance);
    if (r != BANK__V1__REFUSAL__NONE) {
        return r;
    }
    if (taker == NULL || taker == giver) {
        return BANK__V1__REFUSAL__NO_SUCH_ACCOUNT;
    }
    if (!reserve(taker)) {
        return BANK__V1__REFUSAL__FULL;
    }
    book(giver, BANK__V1__ENTRY__KIND__TRANSFER, -amount, to);
    book(taker, BANK__V1__ENTRY__KIND__TRANSFER, amount, from);
    *balance = giver->balance;
    return r;
}

static Bank__V1__Refusal history(account_t *a, entry_t **entries, size_t *count) {
    if (a == NULL) {
        return BANK__V1__REFUSAL__NO_SUCH_ACCOUNT;
    }
    *count = a->count;
    *entries = malloc(a->count * sizeof(**entries));
    if (*entries != NULL) {
        memcpy(*entries, a->entries, a->count * sizeof(**entries));
    }
    return BANK__V1__REFUSAL__NONE;
}

Bank__V1__Refusal books_open(books_t *b, const char *owner, int64_t deposit, uint32_t *number) {
    pthread_mutex_lock(&b->lock);
    Bank__V1__Refusal r = open_one(b, owner, deposit, number);
    pthread_mutex_unlock(&b->lock);
    return r;
}

Bank__V1__Refusal books_withdraw(books_t *b, uint32_t account, int64_t amount, int64_t *balance) {
    pthread_mutex_lock(&b->lock);
    Bank__V1__Refusal r = withdraw(find(b, account), amount, balance);
    pthread_mutex_unlock(&b->lock);
    return r;
}

Bank__V1__Refusal books_transfer(books_t *b, uint32_t from, uint32_t to, int64_t amount, int64_t *balance) {
    pthread_mutex_lock(&b->lock);
    Bank__V1__Refusal r = transfer(b, from, to, amount, balance);
    pthread_mutex_unlock(&b->lock);
    return r;
}

Bank__V1__Refusal books_look(books_t *b, uint32_t account, const char **owner, int64_t *balance) {
    pthread_mutex_lock(&b->lock);
    const account_t *a = find(b, account);
    if (a != NULL) {
        *owner = a->owner;
        *balance = a->balance;
    }
    pthread_mutex_unlock(&b->lock);
    return a != NULL ? BANK__V1__REFUSAL__NONE : BANK__V1__REFUSAL__NO_SUCH_ACCOUNT;
}

Bank__V1__Refusal books_history(books_t *b, uint32_t account, entry_t **entries, size_t *count) {
    pthread_mutex_lock(&b->lock);
    Bank__V1__Refusal r = history(find(b, account), entries, count);
    pthread_mutex_unlock(&b->lock);
    return r;
}
