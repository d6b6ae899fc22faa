/* SPDX-License-Identifier: MIT
 *
 * client.c - bank-client [CUSTOMERS [TIMES]]: customers move money about, each in a thread with a client of its own;
 * then the books are checked: no coin may be missing, nor one too many. Exit status 0: they balance; 1: they do not.
 */
#include "bank.ferry.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define CUSTOMERS_MOST 64u
#define DEPOSIT 2000

static const int64_t patience = (int64_t)20 * 1000 * 1000 * 1000;

typedef struct customer {
    pthread_t thread;
    ferry_t *node;
    unsigned number;
    unsigned times;
    const uint32_t *accounts; /* of all */
    unsigned customers;
    int64_t withdrawn;
    unsigned moved;
    unsigned refused; /* because the account had not as much */
    int status;
} customer_t;

static int failed(const char *what) {
    fprintf(stderr, "bank-client: %s: %s\n", what, ferry_last_error());
    return -1;
}

static int open_client(ferry_t *node, ferry_client_t **client) {
    if (ferry_client_open(node, BANK__V1__BANK__NAME, NULL, client) < 0 ||
        ferry_client_wait(*client, 1, patience) < 0) {
        return failed("looking for the bank");
    }
    return 0;
}

/** The kind of refusal in an error, which is released. */
static Bank__V1__Refusal refusal_in(ferry_msg_t *error) {
    ferry_call_error_t e = {0};
    Bank__V1__Refusal why = ferry_call_error(error, &e) == 0 ? (Bank__V1__Refusal)e.code : BANK__V1__REFUSAL__NONE;
    ferry_msg_release(error);
    return why;
}

/** What came of a call: 1 it was done, 0 there was not enough, -1 it failed. */
static int outcome(int r, ferry_msg_t *error, const char *what) {
    if (r == 0) {
        return 1;
    }
    if (r == FERRY_CALL_FAILED) {
        return refusal_in(error) == BANK__V1__REFUSAL__NOT_ENOUGH ? 0 : failed(what);
    }
    return failed(what);
}

static int withdraw(customer_t *c, ferry_client_t *client, int64_t amount) {
    Bank__V1__WithdrawRequest request = BANK__V1__WITHDRAW_REQUEST__INIT;
    request.account = c->accounts[c->number];
    request.amount = amount;
    Bank__V1__Account *account = NULL;
    ferry_msg_t *error = NULL;
    int r = bank__v1__bank__withdraw__call(client, &request, patience, &account, &error);
    r = outcome(r, error, "withdrawing");
    c->withdrawn += r == 1 ? amount : 0;
    if (account != NULL) {
        bank__v1__account__free_unpacked(account, NULL);
    }
    return r;
}

static int transfer(const customer_t *c, ferry_client_t *client, uint32_t to, int64_t amount) {
    Bank__V1__TransferRequest request = BANK__V1__TRANSFER_REQUEST__INIT;
    request.from = c->accounts[c->number];
    request.to = to;
    request.amount = amount;
    ferry_msg_t *error = NULL;
    int r = bank__v1__bank__transfer__call(client, &request, patience, NULL, &error); /* the reply is not wanted */
    return outcome(r, error, "transferring");
}

static int come_often(customer_t *c, ferry_client_t *client) {
    unsigned seed = c->number + 1;
    for (unsigned i = 0; i < c->times; i++) {
        int64_t amount = 1 + rand_r(&seed) % 10;
        unsigned other = (c->number + 1 + (unsigned)rand_r(&seed) % (c->customers - 1)) % c->customers;
        int r = i % 50 == 49 ? withdraw(c, client, amount) : transfer(c, client, c->accounts[other], amount);
        if (r < 0) {
            return -1;
        }
        c->moved += r == 1;
        c->refused += r == 0;
    }
    return 0;
}

static void *customer(void *arg) {
    customer_t *c = arg;
    ferry_client_t *client = NULL;
    c->status = open_client(c->node, &client);
    if (c->status == 0) {
        c->status = come_often(c, client);
    }
    ferry_client_close(client, patience, NULL);
    return NULL;
}

/* ---- the books ---- */

static int open_account(ferry_client_t *client, unsigned number, uint32_t *account) {
    char owner[32];
    snprintf(owner, sizeof(owner), "customer %u", number);
    Bank__V1__OpenAccountRequest request = BANK__V1__OPEN_ACCOUNT_REQUEST__INIT;
    request.owner = owner;
    request.deposit = DEPOSIT;
    Bank__V1__Account *reply = NULL;
    if (bank__v1__bank__open_account__call(client, &request, patience, &reply, NULL) != 0) {
        return failed("opening an account");
    }
    *account = reply->number;
    bank__v1__account__free_unpacked(reply, NULL);
    return 0;
}

static int read_balance(ferry_client_t *client, uint32_t account, int64_t *balance) {
    Bank__V1__BalanceRequest request = BANK__V1__BALANCE_REQUEST__INIT;
    request.account = account;
    Bank__V1__Account *reply = NULL;
    if (bank__v1__bank__balance__call(client, &request, patience, &reply, NULL) != 0) {
        return failed("asking for a balance");
    }
    *balance = reply->balance;
    bank__v1__account__free_unpacked(reply, NULL);
    return 0;
}

/** Adds up the entries of an account, up to `most`; a stream may be given up at any time. */
static int add_history(ferry_client_t *client, uint32_t account, unsigned most, int64_t *sum, unsigned *count) {
    Bank__V1__HistoryRequest request = BANK__V1__HISTORY_REQUEST__INIT;
    request.account = account;
    ferry_call_t *call = NULL;
    int r = bank__v1__bank__history__start(client, &request, patience, &call);
    *sum = 0;
    for (*count = 0; r >= 0 && *count < most; (*count)++) {
        Bank__V1__Entry *entry = NULL;
        r = bank__v1__bank__history__next(call, patience, &entry, NULL);
        if (r != FERRY_CALL_MORE) {
            break;
        }
        *sum += entry->amount;
        bank__v1__entry__free_unpacked(entry, NULL);
    }
    ferry_call_release(call);
    return r == 0 || r == FERRY_CALL_MORE ? 0 : failed("reading a history");
}

/** More than there is: the error says how much is missing. */
static int ask_too_much(ferry_client_t *client, uint32_t account, int64_t balance) {
    Bank__V1__WithdrawRequest request = BANK__V1__WITHDRAW_REQUEST__INIT;
    request.account = account;
    request.amount = balance + 17;
    ferry_msg_t *error = NULL;
    ferry_call_error_t e = {0};
    int r = bank__v1__bank__withdraw__call(client, &request, patience, NULL, &error);
    if (r != FERRY_CALL_FAILED || ferry_call_error(error, &e) < 0) {
        return failed("withdrawing more than there is");
    }
    Bank__V1__Shortage *shortage = bank__v1__shortage__unpack(NULL, e.detail_size, e.detail);
    bool told = e.code == BANK__V1__REFUSAL__NOT_ENOUGH && shortage != NULL && shortage->missing == 17;
    printf("Asked for %" PRId64 " of account %u: %s; %" PRId64 " are missing.\n", request.amount, account, e.message,
           shortage != NULL ? shortage->missing : 0);
    if (shortage != NULL) {
        bank__v1__shortage__free_unpacked(shortage, NULL);
    }
    ferry_msg_release(error);
    return told ? 0 : -1;
}

/** Do the books balance? */
static int check_books(ferry_client_t *client, const customer_t *customers, unsigned count) {
    int64_t left = 0, withdrawn = 0, sum = 0, balance = 0;
    unsigned moved = 0, refused = 0, entries = 0, some = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t account = customers[i].accounts[i];
        unsigned n = 0;
        if (read_balance(client, account, &balance) < 0 || add_history(client, account, UINT32_MAX, &sum, &n) < 0) {
            return -1;
        }
        if (sum != balance) {
            printf("Account %u has %" PRId64 ", but its history says %" PRId64 ".\n", account, balance, sum);
            return -1;
        }
        left += balance;
        withdrawn += customers[i].withdrawn;
        moved += customers[i].moved;
        refused += customers[i].refused;
        entries += n;
    }
    int64_t deposited = (int64_t)count * DEPOSIT;
    printf("%u customers: %u times money was moved, %u times there was not enough.\n", count, moved, refused);
    printf("%" PRId64 " were paid in, %" PRId64 " paid out, %" PRId64 " are left: the books %s.\n", deposited,
           withdrawn, left, left + withdrawn == deposited ? "balance" : "DO NOT BALANCE");
    printf("The %u entries of all histories add up to the balances.\n", entries);
    if (add_history(client, customers[0].accounts[0], 1, &sum, &some) < 0 || some != 1 || sum != DEPOSIT) {
        return -1;
    }
    return left + withdrawn == deposited ? ask_too_much(client, customers[count - 1].accounts[count - 1], balance) : -1;
}

static int run(ferry_t *node, ferry_client_t *client, unsigned count, unsigned times) {
    static uint32_t accounts[CUSTOMERS_MOST];
    static customer_t customers[CUSTOMERS_MOST];
    for (unsigned i = 0; i < count; i++) {
        customers[i] =
            (customer_t){.node = node, .number = i, .times = times, .accounts = accounts, .customers = count};
        if (open_account(client, i, &accounts[i]) < 0) {
            return -1;
        }
    }
    int status = 0;
    unsigned started = 0;
    while (started < count && pthread_create(&customers[started].thread, NULL, customer, &customers[started]) == 0) {
        started++;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(customers[i].thread, NULL);
        status = customers[i].status < 0 ? -1 : status;
    }
    return started == count && status == 0 ? check_books(client, customers, count) : -1;
}

int main(int argc, char **argv) {
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 8;
    unsigned times = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    if (argc > 3 || count < 2 || count > CUSTOMERS_MOST || times > 1000000) {
        fputs("Usage: bank-client [CUSTOMERS [TIMES]]   (2 to 64, up to 1000000; default: 8 1000)\n", stderr);
        return 2;
    }
    ferry_t *node = NULL;
    ferry_client_t *client = NULL;
    if (ferry_open("bank", NULL, &node) < 0) {
        failed("opening the node");
        return 1;
    }
    int r = open_client(node, &client);
    if (r == 0) {
        r = run(node, client, count, times);
    }
    ferry_client_close(client, patience, NULL);
    return ferry_close(node) == 0 && r == 0 ? 0 : 1;
}
