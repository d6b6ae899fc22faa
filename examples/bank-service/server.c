/* SPDX-License-Identifier: MIT
 *
 * server.c - a process that serves the bank, or waits to take over.
 *
 * The ledger stands in a region that all servers have open, with a mutex beside it.  The mutex "on-duty" says whose
 * turn it is: when its holder dies, the next one gets it with FERRY_OWNER_DIED, and goes on with the same ledger.
 */
#include "bank.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/** The root object of the region. */
typedef struct vault {
    uint64_t lock[FERRY_LOCK_BYTES / 8]; /**< whoever holds it may touch what follows */
    ledger_t ledger;
    uint32_t shifts;
} vault_t;

/** A server process on duty. */
typedef struct shift {
    bank_t *bank;
    unsigned number;
    atomic_uint carried_out;
} shift_t;

/** One of its threads. A lock's handle belongs to one thread, so each has its own of everything. */
typedef struct teller {
    shift_t *shift;
    ferry_region_t *region;
    volatile vault_t *vault;
    ferry_mutex_t *lock;
    ferry_service_t *service;
} teller_t;

/* ---- deaths, as planned ---- */

/** The first server dies in the middle of an order, the second one when it has carried one out and not answered yet. */
static bool is_time_to_die(shift_t *s, unsigned which) {
    return s->number == which && atomic_load(&s->carried_out) >= s->bank->until_death;
}

static void die(void) {
    raise(SIGKILL);
}

/* ---- orders ---- */

static int enter(teller_t *t) {
    int r = ferry_mutex_lock(t->lock, CREW_PATIENCE);
    if (r == FERRY_OWNER_DIED) {
        /* The lock is held, but the ledger may be in the middle of a change: first it is put in order. */
        ledger_repair(&t->vault->ledger);
        r = ferry_mutex_repaired(t->lock);
    }
    return r;
}

static int refuse(ferry_request_t *rq, const order_t *o, int64_t balance) {
    shortage_t shortage = {.balance = balance, .wanted = o->amount};
    return ferry_reply_error(rq, BANK_OVERDRAWN, "there is not enough in the account", &shortage, sizeof(shortage));
}

/** withdraw, deposit and transfer: the order says from where to where. */
static int take_order(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    teller_t *t = arg;
    shift_t *s = t->shift;
    order_t o;
    if (size != sizeof(o)) {
        return -EINVAL;
    }
    memcpy(&o, data, sizeof(o)); /* the caller could change its memory between looking at it and using it */
    int r = order_is_valid(&o) ? enter(t) : -EINVAL;
    if (r < 0) {
        return r;
    }
    volatile ledger_t *ledger = &t->vault->ledger;
    int64_t balance = ledger->balance[o.from];
    bool covered = ledger_covers(ledger, &o);
    if (covered) {
        ledger_carry_out(ledger, &o, is_time_to_die(s, 0) ? die : NULL);
        s->bank->orders_of_shift[s->number] = atomic_fetch_add(&s->carried_out, 1) + 1;
    }
    r = ferry_mutex_unlock(t->lock);
    if (is_time_to_die(s, 1)) {
        die();
    }
    return r < 0 || covered ? r : refuse(rq, &o, balance);
}

static int outcome(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    teller_t *t = arg;
    order_t o;
    if (size != sizeof(o)) {
        return -EINVAL;
    }
    memcpy(&o, data, sizeof(o));
    int r = order_is_valid(&o) ? enter(t) : -EINVAL;
    if (r < 0) {
        return r;
    }
    uint32_t carried_out = ledger_has(&t->vault->ledger, &o);
    r = ferry_mutex_unlock(t->lock);
    return r < 0 ? r : ferry_reply(rq, &carried_out, sizeof(carried_out));
}

static int end(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const teller_t *t = arg;
    (void)rq, (void)data, (void)size;
    atomic_fetch_add(&t->shift->bank->ended, 1);
    return ferry_service_stop(t->service);
}

/* ---- tellers ---- */

static int open_vault(ferry_t *node, teller_t *t) {
    const ferry_region_options_t options = {.type_name = "bank.vault", .type_size = sizeof(vault_t)};
    if (ferry_region_open(node, "vault", 1 << 20, &options, &t->region) < 0) {
        return crew_failed("opening the vault");
    }
    vault_t *vault = ferry_region_root(t->region);
    t->vault = vault;
    if (ferry_mutex_open_in(t->region, ferry_region_ref(t->region, vault->lock), NULL, &t->lock) < 0) {
        return crew_failed("opening the vault's lock");
    }
    return 0;
}

static int close_vault(teller_t *t) {
    return ferry_mutex_close(t->lock) < 0 || ferry_region_close(t->region) < 0 ? crew_failed("closing the vault") : 0;
}

static int serve(ferry_t *node, teller_t *t) {
    const ferry_method_options_t asks = {.idempotent = 1, .comment = "was this order carried out?"};
    if (ferry_service_open(node, BANK_SERVICE, NULL, &t->service) < 0 ||
        ferry_service_method(t->service, "withdraw", take_order, t, NULL) < 0 ||
        ferry_service_method(t->service, "deposit", take_order, t, NULL) < 0 ||
        ferry_service_method(t->service, "transfer", take_order, t, NULL) < 0 ||
        ferry_service_method(t->service, "outcome", outcome, t, &asks) < 0 ||
        ferry_service_method(t->service, "end", end, t, NULL) < 0 || ferry_service_run(t->service, FERRY_FOREVER) < 0 ||
        ferry_service_close(t->service, CREW_PATIENCE) < 0) {
        return crew_failed("serving");
    }
    return 0;
}

static int teller(ferry_t *node, unsigned number, void *shift) {
    teller_t t = {.shift = shift};
    (void)number;
    return open_vault(node, &t) < 0 || serve(node, &t) < 0 ? -1 : close_vault(&t);
}

/* ---- the process ---- */

/** Serves with all tellers, until they are asked to end. */
static int be_on_duty(ferry_t *node, bank_t *bank, volatile vault_t *vault) {
    shift_t shift = {.bank = bank, .number = vault->shifts++};
    bank->shifts = shift.number + 1;
    crew_t tellers = {.work = teller, .job = &shift, .members = bank->tellers};
    if (crew_threads(node, 0, &tellers) < 0) {
        return -1;
    }
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        bank->left += vault->ledger.balance[i];
    }
    bank->repairs = vault->ledger.repairs;
    return 0;
}

/** Whoever has the mutex is on duty. */
static int wait_for_duty(ferry_mutex_t *duty) {
    int r = ferry_mutex_lock(duty, CREW_PATIENCE);
    if (r == FERRY_OWNER_DIED) {
        r = ferry_mutex_repaired(duty); /* what the dead one has left half done is the vault's affair: see enter() */
    }
    return r < 0 ? crew_failed("waiting for its turn") : 0;
}

int server(ferry_t *node, unsigned number, void *arg) {
    bank_t *bank = arg;
    teller_t t = {0}; /* the vault stays open here as long as the process lives */
    ferry_mutex_t *duty;
    if (open_vault(node, &t) < 0 || ferry_mutex_open(node, "on-duty", NULL, &duty) < 0) {
        return crew_failed("opening what all servers share");
    }
    for (unsigned i = 0; number == 0 && i < ACCOUNTS; i++) {
        t.vault->ledger.balance[i] = bank->opened_with;
    }
    /* Nobody may be on duty, and die perhaps, before all have the vault open. */
    if (crew_meet(node, bank->servers) < 0 || wait_for_duty(duty) < 0 || be_on_duty(node, bank, t.vault) < 0) {
        return -1;
    }
    if (ferry_mutex_unlock(duty) < 0 || ferry_mutex_close(duty) < 0) {
        return crew_failed("going off duty");
    }
    return close_vault(&t);
}
