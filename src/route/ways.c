/* SPDX-License-Identifier: MIT
 *
 * route/ways.c - see ways.h.
 */
#include "route/ways.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/choose.h"

static void tell(ferry_way_choice_t *c, ferry_way_t way, ferry_way_t taken) {
    *c = (ferry_way_choice_t){.way = way, .taken = way == taken};
}

static void tell_thread(const fi_way_facts_t *f, ferry_way_choice_t *c) {
    const char *why = "they are different processes";

    if (c->taken) {
        why = "both ends are in one node: memory is handed over as it is, nothing is nearer";
    } else if (f->durable) {
        why = "the channel is durable: no message goes from end to end";
    } else if (f->way == FERRY_WAY_NATS) {
        why = f->same_machine ? "they are different processes" : "they are on different machines";
    } else if (f->one_process) {
        why = "they are in one process, but in two nodes: with one node for both they would go this way";
    }
    snprintf(c->why, sizeof c->why, "%s", why);
}

static void tell_shm(const fi_way_facts_t *f, ferry_way_choice_t *c) {
    if (c->taken) {
        snprintf(c->why, sizeof c->why, "different nodes on one machine, which meet in %.150s", f->directory);
    } else if (f->way == FERRY_WAY_THREAD) {
        snprintf(c->why, sizeof c->why, "the same rings, but memory must be mapped twice and told of by a socket");
    } else if (f->durable) {
        snprintf(c->why, sizeof c->why, "the channel is durable: memory ends with the programs that share it");
    } else if (f->same_machine) {
        snprintf(c->why, sizeof c->why,
                 "the other node is on this machine (%.60s), but in another base directory: with one $FERRY_DIR "
                 "for both they would go this way",
                 f->far);
    } else {
        snprintf(c->why, sizeof c->why, "machines have no memory in common");
    }
}

static void tell_nats(const fi_way_facts_t *f, ferry_way_choice_t *c) {
    if (c->taken && f->durable) {
        snprintf(c->why, sizeof c->why, "the channel is durable: a NATS server keeps its messages");
    } else if (c->taken) {
        snprintf(c->why, sizeof c->why, "the other end is on %s%.60s: only the network leads there",
                 f->same_machine ? "this machine, out of reach: "
                 : f->far[0]     ? ""
                                 : "another machine",
                 f->far);
    } else if (!f->networked) {
        snprintf(c->why, sizeof c->why, "the space does not span machines");
    } else {
        snprintf(c->why, sizeof c->why,
                 "both ends are here: through a server each message would cost tens of microseconds");
    }
}

void fi_tell_ways(const fi_way_facts_t *facts, ferry_way_choice_t ways[FERRY_WAYS]) {
    for (int i = 0; i < FERRY_WAYS; i++) {
        tell(&ways[i], (ferry_way_t)(FERRY_WAY_THREAD + i), facts->way);
    }
    tell_thread(facts, &ways[0]);
    tell_shm(facts, &ways[1]);
    tell_nats(facts, &ways[2]);
}

uint64_t fi_expected_completion(uint64_t waiting, uint64_t service_ns) {
    uint64_t ns;

    return __builtin_mul_overflow(waiting + 1, service_ns, &ns) ? UINT64_MAX : ns;
}

static void tell_window(const fi_turn_facts_t *f, ferry_choice_t *c) {
    size_t len = strlen(c->why);

    snprintf(c->why + len, sizeof c->why - len,
             "; at most %" PRIu64 " lie ready for it, and %" PRIu64 " wait for whoever is free", f->most, f->left);
}

static void tell_turn(const fi_turn_facts_t *f, ferry_choice_t *c) {
    char mine[FI_SPAN_TEXT];
    char other[FI_SPAN_TEXT];

    c->value = fi_expected_completion(f->waiting, f->service_ns);
    fi_span_text(c->value, mine);
    if (f->only_looks) {
        snprintf(c->why, sizeof c->why, "it only looks: what it is shown goes to others, too");
    } else if (!f->is_queue) {
        snprintf(c->why, sizeof c->why, "a topic: every receiver gets every message");
    } else if (f->links <= 1) {
        snprintf(c->why, sizeof c->why, "it is the sender's only receiver");
    } else if (f->service_ns == 0) {
        snprintf(c->why, sizeof c->why, "it was never seen to be behind: %" PRIu64 " waiting there", f->waiting);
    } else if (f->has_other && f->other_ns < c->value) {
        fi_span_text(f->other_ns, other);
        snprintf(c->why, sizeof c->why,
                 "passed over: %" PRIu64 " waiting, and the next would be done in %s here, in %s elsewhere", f->waiting,
                 mine, other);
    } else {
        snprintf(c->why, sizeof c->why,
                 "gets the next one: %" PRIu64 " waiting, and it would be done in %s, no later than elsewhere",
                 f->waiting, mine);
    }
}

void fi_tell_turn(const fi_turn_facts_t *f, ferry_choice_t *c) {
    tell_turn(f, c);
    if (f->most > 0) {
        tell_window(f, c);
    }
}
