/* SPDX-License-Identifier: MIT
 *
 * route_json.c - `ferry route` for scripts. A figure that nobody has seen yet is left out.
 */
#include <stdio.h>

#include "json_look.h"
#include "route.h"

/* JSON has no name for "for ever": -1. */
static void choice(json_t *j, const char *key, const ferry_choice_t *c) {
    json_open(j, key, '{');
    if (c->value == UINT64_MAX)
        json_signed(j, "value", -1);
    else
        json_count(j, "value", c->value);
    json_text(j, "why", c->why);
    json_close(j, '}');
}

void route_json_host(const ferry_host_t *host, const ferry_host_choices_t *choices) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "source", route_source_word(host));
    json_count(&j, "wake_ns", host->wake_ns);
    json_count(&j, "line_ns", host->line_ns);
    json_count(&j, "page_ns", host->page_ns);
    json_count(&j, "copy_256_mbps", host->copy_mbps[0]);
    json_count(&j, "copy_4096_mbps", host->copy_mbps[1]);
    json_count(&j, "copy_65536_mbps", host->copy_mbps[2]);
    json_count(&j, "copy_1048576_mbps", host->copy_mbps[3]);
    choice(&j, "spin_ns", &choices->spin_ns);
    choice(&j, "inline_max", &choices->inline_max);
    json_close(&j, '}');
    printf("\n");
}

static void end(json_t *j, const char *key, const ferry_route_end_t *e) {
    json_open(j, key, '{');
    if (e->node != 0) {
        json_id(j, "node", e->node);
        json_count(j, "end", e->end);
    }
    json_text(j, "name", e->name);
    json_text(j, "host", e->host);
    if (e->pid != 0)
        json_signed(j, "pid", e->pid);
    json_bool(j, "told", e->told != 0);
    json_close(j, '}');
}

static void ways(json_t *j, const ferry_route_link_t *l) {
    json_text(j, "way", route_way_word(l->way));
    json_open(j, "ways", '[');
    for (int i = 0; i < FERRY_WAYS; i++) {
        json_open(j, NULL, '{');
        json_text(j, "way", route_way_word(l->ways[i].way));
        json_bool(j, "taken", l->ways[i].taken != 0);
        json_text(j, "why", l->ways[i].why);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void seen(json_t *j, const ferry_route_link_t *l) {
    if (l->latency_samples > 0) {
        json_count(j, "latency_ns", l->latency_ns);
        json_count(j, "least_latency_ns", l->least_latency_ns);
        json_count(j, "latency_samples", l->latency_samples);
    }
    if (l->wake_samples > 0) {
        json_count(j, "wake_ns", l->wake_ns);
        json_count(j, "wake_samples", l->wake_samples);
    }
    if (l->sender.told) {
        json_count(j, "messages_per_s", l->messages_per_s);
        json_count(j, "bytes_per_s", l->bytes_per_s);
        json_count(j, "message_size", l->message_size);
        json_count(j, "waiting", l->waiting);
        json_count(j, "ready_at_most", l->ready_at_most);
        json_count(j, "undealt", l->undealt);
    }
    if (l->round_trip_ns > 0) {
        json_count(j, "round_trip_ns", l->round_trip_ns);
        json_count(j, "on_the_way", l->on_the_way);
    }
    if (l->service_ns > 0)
        json_count(j, "service_ns", l->service_ns);
}

static void chosen(json_t *j, const ferry_route_link_t *l) {
    if (l->sender.told) {
        choice(j, "inline_max", &l->inline_max);
        choice(j, "room_spin_ns", &l->room_spin_ns);
        if (l->kind == FERRY_QUEUE)
            choice(j, "completion_ns", &l->completion_ns);
    }
    if (l->receiver.told)
        choice(j, "spin_ns", &l->spin_ns);
}

void route_json_links(const char *channel, const ferry_route_t *route) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "channel", channel);
    json_count(&j, "senders", ferry_route_senders(route));
    json_count(&j, "receivers", ferry_route_receivers(route));
    json_count(&j, "silent", ferry_route_silent(route));
    json_open(&j, "links", '[');
    for (size_t i = 0; i < ferry_route_links(route); i++) {
        const ferry_route_link_t *l = ferry_route_link(route, i);
        json_open(&j, NULL, '{');
        json_text(&j, "kind", l->kind == FERRY_QUEUE ? "queue" : "topic");
        json_bool(&j, "durable", l->durable != 0);
        end(&j, "sender", &l->sender);
        end(&j, "receiver", &l->receiver);
        ways(&j, l);
        seen(&j, l);
        chosen(&j, l);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
}
