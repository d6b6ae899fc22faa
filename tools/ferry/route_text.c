/* SPDX-License-Identifier: MIT
 *
 * route_text.c - `ferry route` for people: each figure on a line, each choice with its reason.
 */
#include <inttypes.h>
#include <stdio.h>

#include "route.h"
#include "units.h"

const char *const route_copy_sizes[FERRY_HOST_COPIES] = {"256 B", "4 KiB", "64 KiB", "1 MiB"};

const char *route_way_word(ferry_way_t way) {
    static const char *const words[] = {"?", "thread", "shm", "nats"};

    return words[way >= FERRY_WAY_THREAD && way <= FERRY_WAY_NATS ? way : 0];
}

const char *route_source_word(const ferry_host_t *host) {
    static const char *const words[] = {"assumed", "measured", "given"};

    return words[host->source <= FERRY_HOST_GIVEN ? host->source : FERRY_HOST_ASSUMED];
}

static const char *spin_text(const ferry_choice_t *spin, char *buf) {
    if (spin->value == UINT64_MAX)
        snprintf(buf, UNITS_TEXT, "for ever");
    else
        show_duration((double)spin->value, buf);
    return buf;
}

/* --- the host ---------------------------------------------------------------------------------------------------- */

void route_print_host(const ferry_host_t *host, const ferry_host_choices_t *choices) {
    char t[UNITS_TEXT];

    printf("This host (%s)\n", host->source == FERRY_HOST_GIVEN      ? "as the file $FERRY_HOST_PROFILE says"
                               : host->source == FERRY_HOST_MEASURED ? "measured since the system was started"
                                                                     : "not measured yet: what is usual");
    printf("  wake-up               %s\n", show_duration((double)host->wake_ns, t));
    if (host->line_ns == 0)
        printf("  core to core          there is one core\n");
    else
        printf("  core to core          %s for a cache line\n", show_duration((double)host->line_ns, t));
    printf("  new page              %s\n", show_duration((double)host->page_ns, t));
    for (unsigned i = 0; i < FERRY_HOST_COPIES; i++)
        printf("  copying %-6s        %.1f GB/s\n", route_copy_sizes[i], (double)host->copy_mbps[i] / 1e3);
    printf("It follows\n");
    printf("  spins for %s, then sleeps\n    %s\n", spin_text(&choices->spin_ns, t), choices->spin_ns.why);
    printf("  up to %s in the ring, larger by pointer\n    %s\n", show_bytes((double)choices->inline_max.value, t),
           choices->inline_max.why);
}

/* --- links ------------------------------------------------------------------------------------------------------- */

static void print_end(const ferry_route_end_t *end, bool durable) {
    if (durable && !end->told)
        printf("the server");
    else if (end->node == 0)
        printf("other machines");
    else if (end->host[0] != '\0')
        printf("%s@%s (%" PRId32 ")", end->name, end->host, end->pid);
    else if (end->name[0] == '\0')
        printf("node %016" PRIx64, end->node);
    else if (end->pid != 0)
        printf("%s (%" PRId32 ")", end->name, end->pid);
    else
        printf("%s", end->name);
}

static void print_ways(const ferry_route_link_t *l) {
    for (int i = 0; i < FERRY_WAYS; i++)
        if (l->ways[i].taken)
            printf("  goes by %-6s  %s\n", route_way_word(l->ways[i].way), l->ways[i].why);
    for (int i = 0; i < FERRY_WAYS; i++)
        if (!l->ways[i].taken)
            printf("  not by %-6s   %s\n", route_way_word(l->ways[i].way), l->ways[i].why);
}

static void print_latency(const ferry_route_link_t *l) {
    char mean[UNITS_TEXT], least[UNITS_TEXT], wake[UNITS_TEXT], n[UNITS_TEXT];

    if (l->latency_samples > 0)
        printf("  latency         %s from send to receive, at least %s (%s looked at)\n",
               show_duration((double)l->latency_ns, mean), show_duration((double)l->least_latency_ns, least),
               show_count(l->latency_samples, n));
    if (l->wake_samples > 0)
        printf("  to a sleeper    %s (%s looked at)\n", show_duration((double)l->wake_ns, wake),
               show_count(l->wake_samples, n));
    if (l->round_trip_ns > 0)
        printf("  there and back  %s through the server; %s on the way\n",
               show_duration((double)l->round_trip_ns, mean), show_count(l->on_the_way, n));
    if (l->way != FERRY_WAY_NATS && l->receiver.told && l->latency_samples == 0 && l->wake_samples == 0)
        printf("  latency         no message was looked at yet\n");
}

static void print_flow(const ferry_route_link_t *l) {
    char rate[UNITS_TEXT], bytes[UNITS_TEXT], size[UNITS_TEXT], service[UNITS_TEXT], waiting[UNITS_TEXT];

    printf("  flow            %s messages/s of %s, %s/s; %s waiting\n", show_count(l->messages_per_s, rate),
           show_bytes((double)l->message_size, size), show_bytes((double)l->bytes_per_s, bytes),
           show_count(l->waiting, waiting));
    if (l->service_ns > 0)
        printf("  when behind     the receiver takes %s for a message\n",
               show_duration((double)l->service_ns, service));
}

static void print_link(const ferry_route_link_t *l) {
    char t[UNITS_TEXT];

    printf("\n");
    print_end(&l->sender, l->durable != 0);
    printf(" -> ");
    print_end(&l->receiver, l->durable != 0);
    printf("\n");
    print_ways(l);
    print_latency(l);
    if (l->sender.told) {
        print_flow(l);
        printf("  in the ring     up to %s: %s\n", show_bytes((double)l->inline_max.value, t), l->inline_max.why);
        printf("  spins for room  %s: %s\n", spin_text(&l->room_spin_ns, t), l->room_spin_ns.why);
        if (l->kind == FERRY_QUEUE)
            printf("  next message    %s\n", l->completion_ns.why);
    }
    if (l->receiver.told)
        printf("  receiver spins  %s: %s\n", spin_text(&l->spin_ns, t), l->spin_ns.why);
}

void route_print_links(const char *channel, const ferry_route_t *route) {
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    size_t links = ferry_route_links(route);

    printf("%s: senders %s, receivers %s, links %s\n", channel, show_count(ferry_route_senders(route), a),
           show_count(ferry_route_receivers(route), b), show_count(links, c));
    if (ferry_route_silent(route) > 0)
        printf("nodes that did not answer: %s\n", show_count(ferry_route_silent(route), a));
    for (size_t i = 0; i < links; i++)
        print_link(ferry_route_link(route, i));
}
