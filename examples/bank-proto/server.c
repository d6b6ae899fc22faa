/* SPDX-License-Identifier: MIT
 *
 * server.c - bank-server [THREADS]: keeps the accounts until SIGTERM or Ctrl-C, then finishes what it has accepted.
 *
 * Between the books and the wire there is nothing to write but handlers: each takes a message and fills one in.
 */
#include "bank.ferry.h"
#include "books.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t patience = (int64_t)20 * 1000 * 1000 * 1000;

/** Answers with an error: the kind of refusal, words for people, and the rest as a message. */
static int refuse(ferry_request_t *rq, Bank__V1__Refusal why, int64_t balance, int64_t amount) {
    static const char *const words[] = {
        [BANK__V1__REFUSAL__NO_SUCH_ACCOUNT] = "there is no such account",
        [BANK__V1__REFUSAL__WRONG_AMOUNT] = "an amount must be more than 0",
        [BANK__V1__REFUSAL__NOT_ENOUGH] = "the account has not that much",
        [BANK__V1__REFUSAL__FULL] = "the books are full",
    };
    if (why != BANK__V1__REFUSAL__NOT_ENOUGH) {
        return ferry_reply_error(rq, (int32_t)why, words[why], NULL, 0);
    }
    Bank__V1__Shortage shortage = BANK__V1__SHORTAGE__INIT;
    shortage.balance = balance;
    shortage.missing = amount - balance;
    uint8_t detail[64];
    return ferry_reply_error(rq, (int32_t)why, words[why], detail, bank__v1__shortage__pack(&shortage, detail));
}

/** Whatever is put into a reply is freed with it, so it is copied. */
static int fill_account(Bank__V1__Account *reply, books_t *books, uint32_t number) {
    const char *owner = "";
    books_look(books, number, &owner, &reply->balance);
    char *copy = strdup(owner);
    if (copy == NULL) {
        return -ENOMEM;
    }
    reply->owner = copy;
    reply->number = number;
    return 0;
}

static int open_account(ferry_request_t *rq, const Bank__V1__OpenAccountRequest *request, Bank__V1__Account *reply,
                        void *books) {
    uint32_t number = 0;
    Bank__V1__Refusal r = books_open(books, request->owner, request->deposit, &number);
    return r == BANK__V1__REFUSAL__NONE ? fill_account(reply, books, number) : refuse(rq, r, 0, 0);
}

static int withdraw(ferry_request_t *rq, const Bank__V1__WithdrawRequest *request, Bank__V1__Account *reply,
                    void *books) {
    int64_t balance = 0;
    Bank__V1__Refusal r = books_withdraw(books, request->account, request->amount, &balance);
    return r == BANK__V1__REFUSAL__NONE ? fill_account(reply, books, request->account)
                                        : refuse(rq, r, balance, request->amount);
}

static int transfer(ferry_request_t *rq, const Bank__V1__TransferRequest *request, Bank__V1__TransferReply *reply,
                    void *books) {
    int64_t balance = 0;
    Bank__V1__Refusal r = books_transfer(books, request->from, request->to, request->amount, &balance);
    reply->balance = balance;
    return r == BANK__V1__REFUSAL__NONE ? 0 : refuse(rq, r, balance, request->amount);
}

static int balance_of(ferry_request_t *rq, const Bank__V1__BalanceRequest *request, Bank__V1__Account *reply,
                      void *books) {
    const char *owner;
    int64_t balance;
    Bank__V1__Refusal r = books_look(books, request->account, &owner, &balance);
    return r == BANK__V1__REFUSAL__NONE ? fill_account(reply, books, request->account) : refuse(rq, r, 0, 0);
}

/** One message for each entry. A slow reader holds this thread up, but not the books: it has a copy. */
static int history(ferry_request_t *rq, const Bank__V1__HistoryRequest *request, void *books) {
    entry_t *entries = NULL;
    size_t count = 0;
    Bank__V1__Refusal refusal = books_history(books, request->account, &entries, &count);
    if (refusal != BANK__V1__REFUSAL__NONE) {
        return refuse(rq, refusal, 0, 0);
    }
    int r = entries == NULL ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        Bank__V1__Entry entry = BANK__V1__ENTRY__INIT;
        entry.kind = entries[i].kind;
        entry.amount = entries[i].amount;
        entry.other = entries[i].other;
        r = bank__v1__bank__history__more(rq, &entry); /* fails when nobody wants more */
    }
    free(entries);
    return r;
}

static ferry_service_t *service;

static void on_signal(int signal_number) {
    (void)signal_number;
    ferry_service_stop(service);
}

static int failed(const char *what) {
    fprintf(stderr, "bank-server: %s: %s\n", what, ferry_last_error());
    return 1;
}

static int serve(ferry_t *node, const Bank__V1__Bank_Server *bank, unsigned threads) {
    if (bank__v1__bank__server__open(node, NULL, NULL, bank, &service) < 0) {
        return failed("opening the service");
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int r = threads > 1 ? ferry_service_start(service, threads - 1) : 0;
    if (r == 0) {
        do {
            r = ferry_service_run(service, FERRY_FOREVER);
        } while (r == -EINTR); /* the signal came: the next call sees that the service is stopped */
    }
    int status = r < 0 ? failed("serving") : 0;
    ferry_service_stats_t stats = {0};
    ferry_service_stats(service, &stats);
    printf("bank-server: %llu calls, %llu refused\n", (unsigned long long)stats.calls,
           (unsigned long long)stats.errors);
    return ferry_service_close(service, patience) < 0 ? failed("closing the service") : status;
}

int main(int argc, char **argv) {
    unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2;
    ferry_t *node = NULL;
    books_t *books = books_new();
    if (argc > 2 || threads < 1 || threads > 16 || books == NULL) {
        fputs("Usage: bank-server [THREADS]   (1 to 16; default: 2)\n", stderr);
        return 2;
    }
    const Bank__V1__Bank_Server bank = {
        .arg = books,
        .open_account = open_account,
        .withdraw = withdraw,
        .transfer = transfer,
        .balance = balance_of,
        .history = history,
    };
    if (ferry_open("bank", NULL, &node) < 0) {
        return failed("opening the node");
    }
    int status = serve(node, &bank, threads);
    books_free(books);
    return ferry_close(node) == 0 ? status : 1;
}
