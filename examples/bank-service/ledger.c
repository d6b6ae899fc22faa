/* SPDX-License-Identifier: MIT
 *
 * ledger.c - see ledger.h.
 */
#include "ledger.h"

bool order_is_valid(const order_t *o) {
    return o->customer < CUSTOMERS_MOST && o->from <= ACCOUNTS && o->to <= ACCOUNTS && o->from != o->to &&
           o->amount > 0 && o->amount < INT32_MAX;
}

bool ledger_covers(const volatile ledger_t *l, const order_t *o) {
    return l->balance[o->from] >= o->amount;
}

void ledger_carry_out(volatile ledger_t *l, const order_t *o, void (*in_between)(void)) {
    l->note.order = *o;
    l->note.from = l->balance[o->from];
    l->note.to = l->balance[o->to];
    l->note.last = l->last[o->customer];
    l->note.valid = true; /* last: a note that is half written does not count, and nothing has been changed yet */
    l->balance[o->from] -= o->amount;
    if (in_between != NULL) {
        in_between();
    }
    l->balance[o->to] += o->amount;
    l->last[o->customer] = o->number;
    l->note.valid = false; /* this store is the moment at which it was carried out */
}

bool ledger_has(const volatile ledger_t *l, const order_t *o) {
    return l->last[o->customer] == o->number;
}

void ledger_repair(volatile ledger_t *l) {
    if (!l->note.valid) {
        return; /* it died before its first change or after its last */
    }
    l->balance[l->note.order.from] = l->note.from;
    l->balance[l->note.order.to] = l->note.to;
    l->last[l->note.order.customer] = l->note.last;
    l->note.valid = false;
    l->repairs++;
}
