/* SPDX-License-Identifier: MIT
 *
 * customers.c - threads of a process that bring orders to the bank, and know what they have in their purse.
 */
#include "bank.h"

#include <errno.h>
#include <stdlib.h>

typedef struct visit {
    bank_t *bank;
    unsigned process; /**< of customers, from 0 */
} visit_t;

typedef struct customer {
    ferry_client_t *bank;
    unsigned number;
    unsigned seed;
    day_t *day;
} customer_t;

/** What became of an order. */
enum { FAILED = -1, REFUSED, CARRIED_OUT };

/** Nobody serves at the moment: somebody will take over. */
static int wait_for_server(const customer_t *c) {
    return ferry_client_wait(c->bank, 1, CREW_PATIENCE) < 0 ? crew_failed("waiting for a server") : 0;
}

/** Calls a method that does no harm if it runs twice, as often as it takes. The result is the caller's to release. */
static int ask(const customer_t *c, const char *method, const order_t *o, ferry_msg_t **reply) {
    int r;
    do {
        if (wait_for_server(c) < 0) {
            return -1;
        }
        r = ferry_call(c->bank, method, o, sizeof(*o), CREW_PATIENCE, reply);
    } while (r == -ENOENT || r == -ECONNRESET);
    return r == 0 ? 0 : crew_failed(method);
}

/** The server died with the order in its hand. Was it carried out? -1, 0 or 1. */
static int ask_outcome(customer_t *c, const order_t *o) {
    ferry_msg_t *reply;
    c->day->uncertain++;
    if (ask(c, "outcome", o, &reply) < 0) {
        return -1;
    }
    int carried_out = ferry_msg_size(reply) == sizeof(uint32_t) && *(const uint32_t *)ferry_msg_data(reply) == 1;
    c->day->had_run += (unsigned)carried_out;
    ferry_msg_release(reply);
    return carried_out;
}

/** An error of the bank's own: only one makes sense, and only if it is true. */
static int read_refusal(customer_t *c, const order_t *o, ferry_msg_t *reply) {
    ferry_call_error_t error = {0};
    bool makes_sense =
        ferry_call_error(reply, &error) == 0 && error.code == BANK_OVERDRAWN && error.detail_size == sizeof(shortage_t);
    if (makes_sense) {
        const shortage_t *shortage = error.detail;
        c->day->wrong += shortage->balance >= shortage->wanted || shortage->wanted != o->amount;
        c->day->overdrawn++;
    } else {
        crew_failed(error.message != NULL ? error.message : "reading an error");
    }
    ferry_msg_release(reply);
    return makes_sense ? REFUSED : FAILED;
}

/**
 * Brings one order to the bank, and comes back with what became of it: it is carried out once or not at all, however
 * many servers die.
 */
static int bring(customer_t *c, const char *method, const order_t *o) {
    for (;;) {
        ferry_msg_t *reply = NULL;
        int r = ferry_call(c->bank, method, o, sizeof(*o), CREW_PATIENCE, &reply);
        switch (r) {
        case 0:
            ferry_msg_release(reply);
            return CARRIED_OUT;
        case FERRY_CALL_FAILED:
            return read_refusal(c, o, reply);
        case -ENOENT: /* it was not run: it can be sent again without a question */
            c->day->not_run++;
            r = wait_for_server(c);
            break;
        case -ECONNRESET: /* it may have run: to send it again would perhaps carry it out twice */
            r = ask_outcome(c, o);
            break;
        default:
            return crew_failed(method);
        }
        if (r != 0) {
            return r < 0 ? FAILED : CARRIED_OUT;
        }
    }
}

static unsigned below(customer_t *c, unsigned limit) {
    return (unsigned)rand_r(&c->seed) % limit;
}

/** Some order; only what is in the purse is paid in. */
static const char *think_of(customer_t *c, order_t *o) {
    o->from = below(c, ACCOUNTS);
    o->to = (o->from + 1 + below(c, ACCOUNTS - 1)) % ACCOUNTS;
    o->amount = 1 + below(c, 100);
    switch (below(c, 3)) {
    case 0:
        o->to = CASH;
        return "withdraw";
    case 1:
        if (c->day->cash > 0) {
            o->from = CASH;
            o->amount = o->amount < c->day->cash ? o->amount : c->day->cash;
            return "deposit";
        }
        return "transfer";
    default:
        return "transfer";
    }
}

static int spend_the_day(customer_t *c, unsigned orders) {
    order_t o = {.customer = c->number};
    for (o.number = 1; o.number <= orders; o.number++) {
        int r = bring(c, think_of(c, &o), &o);
        if (r == FAILED) {
            return -1;
        }
        if (r == CARRIED_OUT) {
            c->day->carried_out++;
            c->day->cash += o.to == CASH ? o.amount : o.from == CASH ? -o.amount : 0;
        }
    }
    return 0;
}

/** Each teller that is asked takes no more calls, so the next one is asked; who has not opened yet is waited for. */
static int end_service(const customer_t *c, const bank_t *bank) {
    while (atomic_load(&bank->ended) < bank->tellers) {
        if (wait_for_server(c) < 0) {
            return -1;
        }
        int r = ferry_call(c->bank, "end", NULL, 0, CREW_PATIENCE, NULL);
        if (r < 0 && r != -ENOENT) {
            return crew_failed("ending the service");
        }
    }
    return 0;
}

static int customer(ferry_t *node, unsigned number, void *arg) {
    const visit_t *visit = arg;
    bank_t *bank = visit->bank;
    customer_t c = {.number = visit->process * bank->threads + number};
    c.day = &bank->day[c.number];
    c.seed = c.number + 1;
    ferry_barrier_t *evening;
    if (ferry_client_open(node, BANK_SERVICE, NULL, &c.bank) < 0 ||
        ferry_barrier_open(node, "evening", bank->visitors * bank->threads, NULL, &evening) < 0) {
        return crew_failed("coming to the bank");
    }
    if (wait_for_server(&c) < 0 || spend_the_day(&c, bank->orders) < 0) {
        return -1;
    }
    int r = ferry_barrier_wait(evening, CREW_PATIENCE);
    if (r == FERRY_BARRIER_LAST) { /* one of them is told so */
        r = end_service(&c, bank);
    } else if (r < 0) {
        crew_failed("waiting for the evening");
    }
    ferry_barrier_close(evening);
    return ferry_client_close(c.bank, CREW_PATIENCE, NULL) < 0 ? crew_failed("leaving the bank") : r;
}

int customers(ferry_t *node, unsigned process, void *bank) {
    visit_t visit = {.bank = bank, .process = process};
    crew_t crew = {.work = customer, .job = &visit, .members = visit.bank->threads};
    return crew_threads(node, 0, &crew);
}
