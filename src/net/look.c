/* SPDX-License-Identifier: MIT
 *
 * What `ferry ls` shows of other machines: their nodes, and the services there.
 */
#include <stdio.h>

#include "net/calls.h"
#include "node/look.h"

#define PATIENCE_NS 100000000ll

struct looking {
    const fi_net_t *net;
    ferry_look_t *look;
};

static void add_node(const fi_net_card_t *card, void *arg) {
    const struct looking *at = arg;
    ferry_look_t *l = at->look;
    char name[sizeof card->name + sizeof card->host + 2];

    if (fi_net_is_near(at->net, card->node) || !fi_grow((void **)&l->nodes, l->node_count, sizeof *l->nodes)) {
        return;
    }
    snprintf(name, sizeof name, "%s@%s", card->name, card->host);
    l->nodes[l->node_count++] =
        (ferry_look_node_t){.id = card->node, .name = fi_picture_keep(&l->picture, name), .answered = 1};
}

static void add_service(const fi_call_card_t *card, void *arg) {
    const struct looking *at = arg;
    ferry_look_t *l = at->look;

    if (fi_net_is_near(at->net, card->node) || !fi_grow((void **)&l->services, l->service_count, sizeof *l->services)) {
        return;
    }
    l->services[l->service_count++] = (ferry_look_service_t){.node = card->node,
                                                             .end = card->number,
                                                             .name = fi_picture_keep(&l->picture, card->name),
                                                             .calls = card->calls,
                                                             .under_way = card->running,
                                                             .errors = card->errors,
                                                             .refused = card->refused,
                                                             .busy_ns = card->busy_ns,
                                                             .p50_ns = card->p50_ns,
                                                             .p99_ns = card->p99_ns,
                                                             .age_ns = card->age_ns};
}

int fi_net_look(fi_net_t *net, struct ferry_look *l) {
    struct looking at = {net, l};

    int r = fi_net_each_node(net, PATIENCE_NS, add_node, &at);
    r = r < 0 ? r : fi_calls_each_card(net->calls, NULL, PATIENCE_NS, add_service, &at);
    return r < 0 ? r : 0;
}
