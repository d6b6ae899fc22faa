/* SPDX-License-Identifier: MIT */
#include "ls_links.h"

#include <inttypes.h>
#include <stdio.h>

#include "table.h"
#include "units.h"

static bool shows(const looks_t *looks, const space_look_t *space, uint64_t id) {
    const ferry_look_node_t *node = looks_node(space, id);

    return looks->channel == NULL || (node != NULL && looks_shows_node(looks, space, node));
}

/* --- links ------------------------------------------------------------------------------------------------------- */

/* The same link in the look before; NULL: there is none to compare with. */
static const ferry_look_link_t *link_before(const space_look_t *space, const ferry_look_link_t *link) {
    for (size_t i = 0; space->before != NULL && i < ferry_look_links(space->before); i++) {
        const ferry_look_link_t *then = ferry_look_link(space->before, i);
        if (then->node == link->node && then->to == link->to)
            return then->bytes_sent <= link->bytes_sent && then->bytes_received <= link->bytes_received ? then : NULL;
    }
    return NULL;
}

/* Bytes a second; false: not known. */
static bool link_rates(const space_look_t *space, const ferry_look_link_t *link, double *sent, double *received) {
    const ferry_look_link_t *then = link_before(space, link);
    double seconds = (double)(space->now_ns - space->before_ns) / 1e9;

    if (then == NULL || seconds <= 0)
        return false;
    *sent = (double)(link->bytes_sent - then->bytes_sent) / seconds;
    *received = (double)(link->bytes_received - then->bytes_received) / seconds;
    return true;
}

static void show_rate(double rate, char *cell) {
    char bytes[UNITS_TEXT];

    snprintf(cell, TABLE_CELL, "%s/s", show_bytes(rate, bytes));
}

/* "RTT SENT RATE RECEIVED RATE WAITING ON WAY UNRELEASED RESENT" from `cells` on. */
static void link_figures(const space_look_t *space, const ferry_look_link_t *link, char (*cells)[TABLE_CELL]) {
    double sent;
    double received;

    snprintf(cells[0], TABLE_CELL, "-");
    if (link->round_trip_ns > 0)
        show_duration((double)link->round_trip_ns, cells[0]);
    show_bytes((double)link->bytes_sent, cells[1]);
    show_bytes((double)link->bytes_received, cells[3]);
    snprintf(cells[2], TABLE_CELL, "-");
    snprintf(cells[4], TABLE_CELL, "-");
    if (link_rates(space, link, &sent, &received)) {
        show_rate(sent, cells[2]);
        show_rate(received, cells[4]);
    }
    show_count(link->waiting, cells[5]);
    show_count(link->on_the_way, cells[6]);
    show_count(link->unreleased, cells[7]);
    show_count(link->resent, cells[8]);
    cells[9][0] = '\0';
    if (link->silent_ns > 0) {
        char age[UNITS_TEXT];
        snprintf(cells[9], TABLE_CELL, "silent for %s", show_duration((double)link->silent_ns, age));
    }
}

int print_links(const looks_t *looks, const space_look_t *space) {
    static const char *const heads[] = {"LINK FROM", "TO",       ">ROUND TRIP", ">SENT",       ">RATE",   ">RECEIVED",
                                        ">RATE",     ">WAITING", ">ON THE WAY", ">UNRELEASED", ">RESENT", ""};
    table_t table = {.heads = heads, .columns = 12};

    for (size_t i = 0; i < ferry_look_links(space->now); i++) {
        const ferry_look_link_t *link = ferry_look_link(space->now, i);
        if (!shows(looks, space, link->node))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        const ferry_look_node_t *node = looks_node(space, link->node);
        node_text(node, row->cells[0], TABLE_CELL);
        snprintf(row->cells[1], TABLE_CELL, "%.50s@%.50s", link->name, link->host);
        link_figures(space, link, row->cells + 2);
    }
    table_print_below(&table);
    return 0;
}

static void json_link(json_t *j, const space_look_t *space, const ferry_look_link_t *link) {
    double sent;
    double received;

    json_open(j, NULL, '{');
    json_id(j, "node", link->node);
    json_id(j, "to", link->to);
    json_text(j, "name", link->name);
    json_text(j, "host", link->host);
    json_count(j, "round_trip_ns", link->round_trip_ns);
    json_count(j, "round_trip_age_ns", link->round_trip_age_ns);
    json_count(j, "silent_ns", link->silent_ns);
    json_count(j, "bytes_sent", link->bytes_sent);
    json_count(j, "messages_sent", link->messages_sent);
    json_count(j, "resent", link->resent);
    json_count(j, "bytes_received", link->bytes_received);
    json_count(j, "messages_received", link->messages_received);
    if (link_rates(space, link, &sent, &received)) {
        json_number(j, "bytes_sent_per_s", sent);
        json_number(j, "bytes_received_per_s", received);
    }
    json_count(j, "waiting", link->waiting);
    json_count(j, "on_the_way", link->on_the_way);
    json_count(j, "unreleased", link->unreleased);
    json_count(j, "arrived", link->arrived);
    json_close(j, '}');
}

void json_links(json_t *j, const looks_t *looks, const space_look_t *space) {
    json_open(j, "links", '[');
    for (size_t i = 0; i < ferry_look_links(space->now); i++) {
        if (shows(looks, space, ferry_look_link(space->now, i)->node))
            json_link(j, space, ferry_look_link(space->now, i));
    }
    json_close(j, ']');
}

/* --- connections ------------------------------------------------------------------------------------------------- */

bool ls_is_connected(const space_look_t *space, const ferry_look_node_t *node) {
    for (size_t i = 0; i < ferry_look_engines(space->now); i++) {
        const ferry_look_engine_t *e = ferry_look_engine(space->now, i);
        if (e->node == node->id)
            return e->connected != 0;
    }
    return true;
}

static const char *security(const ferry_look_engine_t *e) {
    return e->tls ? "TLS" : e->exposed ? "PLAIN" : "local";
}

int print_engines(const looks_t *looks, const space_look_t *space) {
    static const char *const heads[] = {"CONNECTION OF", "SERVER", "SECURITY",   "STATE",
                                        ">SINCE",        ">LOST",  ">ROUND TRIP"};
    table_t table = {.heads = heads, .columns = 7};

    for (size_t i = 0; i < ferry_look_engines(space->now); i++) {
        const ferry_look_engine_t *e = ferry_look_engine(space->now, i);
        if (e->node != 0 && !shows(looks, space, e->node))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        if (e->node == 0)
            snprintf(row->cells[0], TABLE_CELL, "(this look)");
        else
            node_text(looks_node(space, e->node), row->cells[0], TABLE_CELL);
        snprintf(row->cells[1], TABLE_CELL, "%s", e->url);
        snprintf(row->cells[2], TABLE_CELL, "%s", security(e));
        snprintf(row->cells[3], TABLE_CELL, "%s", e->connected ? "connected" : "lost");
        show_duration((double)e->since_ns, row->cells[4]);
        snprintf(row->cells[5], TABLE_CELL, "%" PRIu32, e->lost);
        snprintf(row->cells[6], TABLE_CELL, "-");
        if (e->round_trip_ns > 0)
            show_duration((double)e->round_trip_ns, row->cells[6]);
    }
    table_print_below(&table);
    return 0;
}

static void json_engine(json_t *j, const ferry_look_engine_t *e) {
    json_open(j, NULL, '{');
    json_id(j, "node", e->node);
    json_text(j, "url", e->url);
    json_bool(j, "connected", e->connected != 0);
    json_bool(j, "tls", e->tls != 0);
    json_bool(j, "exposed", e->exposed != 0);
    json_count(j, "lost", e->lost);
    json_count(j, "since_ns", e->since_ns);
    json_count(j, "max_payload", e->max_payload);
    if (e->round_trip_ns > 0)
        json_count(j, "round_trip_ns", e->round_trip_ns);
    json_close(j, '}');
}

void json_engines(json_t *j, const looks_t *looks, const space_look_t *space) {
    json_open(j, "connections", '[');
    for (size_t i = 0; i < ferry_look_engines(space->now); i++) {
        const ferry_look_engine_t *e = ferry_look_engine(space->now, i);
        if (e->node == 0 || shows(looks, space, e->node))
            json_engine(j, e);
    }
    json_close(j, ']');
}
