/* SPDX-License-Identifier: MIT */
#include "ls_services.h"

#include <inttypes.h>
#include <stdio.h>

#include "table.h"
#include "units.h"

static const char *service_role(const ferry_look_service_t *service) {
    return service->is_client ? "client" : "server";
}

/* How long calls take in the handler; there is none of before the first. */
static void time_text(const ferry_look_service_t *service, uint64_t ns, char *cell) {
    snprintf(cell, TABLE_CELL, "-");
    if (!service->is_client && service->calls > 0 && ns > 0)
        show_duration((double)ns, cell);
}

/* CALLS, RUNNING, ERRORS, REFUSED, P50, P99, LINKS, AGE from `cells` on. */
static void service_figures(const ferry_look_node_t *node, const ferry_look_service_t *service,
                            char (*cells)[TABLE_CELL]) {
    for (int i = 0; i < 8; i++)
        snprintf(cells[i], TABLE_CELL, "%s", node == NULL || node->answered == 0 ? "?" : "-");
    if (node == NULL || node->answered == 0)
        return;
    show_count(service->calls, cells[0]);
    show_count(service->under_way, cells[1]);
    if (!service->is_client) {
        show_count(service->errors, cells[2]);
        show_count(service->refused, cells[3]);
    }
    time_text(service, service->p50_ns, cells[4]);
    time_text(service, service->p99_ns, cells[5]);
    show_count(service->links, cells[6]);
    show_duration((double)service->age_ns, cells[7]);
}

int print_services(const looks_t *looks, const space_look_t *space) {
    static const char *const heads[] = {"SERVICE", "ROLE",     "NODE", ">PID", ">CALLS", ">RUNNING",
                                        ">ERRORS", ">REFUSED", ">P50", ">P99", ">LINKS", ">AGE"};
    table_t table = {.heads = heads, .columns = 12};

    for (size_t i = 0; i < ferry_look_services(space->now); i++) {
        const ferry_look_service_t *service = ferry_look_service(space->now, i);
        const ferry_look_node_t *node = looks_node(space, service->node);
        if (!looks_asks_for(looks, service->name))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", service->name);
        snprintf(row->cells[1], TABLE_CELL, "%s", service_role(service));
        node_text(node, row->cells[2], TABLE_CELL);
        looks_pid_text(node, row->cells[3]);
        service_figures(node, service, row->cells + 4);
    }
    table_print_below(&table);
    return 0;
}

static void json_service(json_t *j, const ferry_look_service_t *service) {
    json_open(j, NULL, '{');
    json_text(j, "service", service->name);
    json_text(j, "role", service_role(service));
    json_id(j, "node", service->node);
    json_count(j, "end", service->end);
    json_count(j, "calls", service->calls);
    json_count(j, service->is_client ? "under_way" : "running", service->under_way);
    if (!service->is_client) {
        json_count(j, "errors", service->errors);
        json_count(j, "refused", service->refused);
        json_count(j, "busy_ns", service->busy_ns);
        json_count(j, "p50_ns", service->p50_ns);
        json_count(j, "p99_ns", service->p99_ns);
    }
    json_count(j, "links", service->links);
    json_count(j, "age_ns", service->age_ns);
    json_close(j, '}');
}

void json_services(json_t *j, const looks_t *looks, const space_look_t *space) {
    json_open(j, "services", '[');
    for (size_t i = 0; i < ferry_look_services(space->now); i++) {
        if (looks_asks_for(looks, ferry_look_service(space->now, i)->name))
            json_service(j, ferry_look_service(space->now, i));
    }
    json_close(j, ']');
}
