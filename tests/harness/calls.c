/* SPDX-License-Identifier: MIT
 *
 * calls.c - see calls.h.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "calls.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* ---- a server as a member of a crew ---- */

server_t *new_server(const char *name, unsigned threads, const method_t *methods, size_t count, void *arg) {
    server_t *server = share(sizeof *server);
    check(count < METHODS_MAX);
    server->name = name;
    server->threads = threads;
    server->arg = arg;
    memcpy(server->methods, methods, count * sizeof *methods);
    atomic_store(&server->go, 1);
    return server;
}

static ferry_service_t *open_served(ferry_t *node, server_t *server) {
    ferry_service_t *service = open_service(node, server->name, &server->options);
    for (const method_t *m = server->methods; m->name; m++) {
        ferry_method_options_t options = {.idempotent = m->idempotent, .streams = m->streams};
        check_is(ferry_service_method(service, m->name, m->handler, server->arg, &options), 0);
    }
    check_is(ferry_service_start(service, server->threads), 0);
    return service;
}

/* A test may last for longer than any wait in it: its runner ends it. */
static void await_long(const atomic_uint *flag) {
    while (!atomic_load(flag))
        nap(MILLISECOND / 2);
}

static bool has_stopped(void *service) {
    return service_stats(service).threads == 0;
}

void serve(ferry_t *node, void *arg) {
    server_t *server = arg;
    server->node = node;
    await_long(&server->go);
    ferry_service_t *service = open_served(node, server);
    atomic_store(&server->serving, 1);
    await_long(&server->stop);
    check_is(ferry_service_stop(service), 0);
    await_that(has_stopped, service, "a service's threads did not stop");
    server->stats = service_stats(service);
    close_service(service);
    atomic_store(&server->stopped, 1);
}

void stop_server(server_t *server) {
    atomic_store(&server->stop, 1);
    await(&server->stopped, 1);
}

crew_t *crew_of(where_t where, server_t *server) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, serve, server);
    return crew;
}

void crew_end_with(crew_t *crew, server_t *server) {
    stop_server(server);
    crew_end(crew);
}

/* ---- handlers ---- */

int echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    check_is(ferry_reply(rq, data, size), 0);
    return 0;
}

int add_one(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    reply_number(rq, number_at(data, size) + 1);
    return 0;
}

/* ---- short forms ---- */

ferry_service_t *open_service(ferry_t *node, const char *name, const ferry_service_options_t *options) {
    ferry_service_t *service = NULL;
    check_is(ferry_service_open(node, name, options, &service), 0);
    check(service != NULL);
    return service;
}

void add_method(ferry_service_t *service, const char *method, ferry_handler_t *handler, void *arg) {
    check_is(ferry_service_method(service, method, handler, arg, NULL), 0);
}

void close_service(ferry_service_t *service) {
    check_is(ferry_service_close(service, PATIENCE), 0);
}

ferry_service_stats_t service_stats(ferry_service_t *service) {
    ferry_service_stats_t stats = {.size = sizeof stats};
    check_is(ferry_service_stats(service, &stats), 0);
    return stats;
}

ferry_client_t *open_client_with(ferry_t *node, const char *service, const ferry_client_options_t *options,
                                 unsigned servers) {
    ferry_client_t *client = NULL;
    check_is(ferry_client_open(node, service, options, &client), 0);
    check(client != NULL);
    if (servers > 0)
        check(ferry_client_wait(client, servers, PATIENCE) >= (int)servers);
    return client;
}

ferry_client_t *open_client(ferry_t *node, const char *service, unsigned servers) {
    return open_client_with(node, service, NULL, servers);
}

void close_client(ferry_client_t *client) {
    uint64_t undone = 1;
    check_is(ferry_client_close(client, PATIENCE, &undone), 0);
    check_is(undone, 0);
}

ferry_client_stats_t client_stats(ferry_client_t *client) {
    ferry_client_stats_t stats = {.size = sizeof stats};
    check_is(ferry_client_stats(client, &stats), 0);
    return stats;
}

static uint64_t take_number(ferry_msg_t *reply) {
    check(reply != NULL);
    uint64_t number = number_in(reply);
    release(reply);
    return number;
}

uint64_t call_number(ferry_client_t *client, const char *method, uint64_t number) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, method, &number, sizeof number, PATIENCE, &reply), 0);
    return take_number(reply);
}

static ferry_call_t *start_with(ferry_client_t *client, const char *method, uint64_t number, uint32_t flags) {
    ferry_call_t *call = NULL;
    check_is(ferry_call_start(client, method, &number, sizeof number, flags, PATIENCE, &call), 0);
    check(call != NULL);
    return call;
}

ferry_call_t *start_call(ferry_client_t *client, const char *method, uint64_t number) {
    return start_with(client, method, number, 0);
}

ferry_call_t *start_stream(ferry_client_t *client, const char *method, uint64_t number) {
    return start_with(client, method, number, FERRY_CALL_STREAM);
}

uint64_t finish_call(ferry_call_t *call) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call_wait(call, PATIENCE, &reply), 0);
    uint64_t number = take_number(reply);
    release_call(call);
    return number;
}

int end_of_call(ferry_call_t *call) {
    ferry_msg_t *reply = NULL;
    int answer = ferry_call_wait(call, PATIENCE, &reply);
    check(answer < 0 && answer != -ETIMEDOUT && reply == NULL && ferry_last_error()[0] != '\0');
    release_call(call);
    return answer;
}

void release_call(ferry_call_t *call) {
    check_is(ferry_call_release(call), 0);
}

void reply_number(ferry_request_t *rq, uint64_t number) {
    check_is(ferry_reply(rq, &number, sizeof number), 0);
}

uint64_t number_at(const void *data, size_t size) {
    uint64_t number;
    check_is(size, sizeof number);
    memcpy(&number, data, sizeof number);
    return number;
}

ferry_request_info_t info_of_request(const ferry_request_t *rq) {
    ferry_request_info_t info = {.size = sizeof info};
    check_is(ferry_request_info(rq, &info), 0);
    return info;
}

ferry_call_error_t error_in(ferry_msg_t *reply) {
    ferry_call_error_t error = {.size = sizeof error};
    check_is(ferry_call_error(reply, &error), 0);
    return error;
}

unsigned count_descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    check(directory != NULL);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 3; /* ".", "..", and its own */
}

unsigned count_mappings(const char *mode) {
    unsigned count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    check(maps != NULL);
    while (fgets(line, sizeof line, maps))
        count += strstr(line, "memfd:") && strstr(line, mode);
    fclose(maps);
    return count;
}

size_t size_of_mappings(const char *mode) {
    size_t bytes = 0;
    char line[512];
    unsigned long from, to;
    FILE *maps = fopen("/proc/self/maps", "re");
    check(maps != NULL);
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:") && strstr(line, mode) && sscanf(line, "%lx-%lx", &from, &to) == 2)
            bytes += to - from;
    fclose(maps);
    return bytes;
}
