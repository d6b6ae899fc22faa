/* SPDX-License-Identifier: MIT
 *
 * calls.h - services and clients as tests need them: short forms that fail when the call fails, and servers that are
 * members of a crew.
 */
#ifndef FERRY_TESTS_CALLS_H
#define FERRY_TESTS_CALLS_H

#include "harness.h"

/* ---- a server as a member of a crew ---- */

#define METHODS_MAX 12

/** A procedure of a server; `arg` of the handler is the server's. */
typedef struct method {
    const char *name;
    ferry_handler_t *handler;
    uint32_t idempotent;
    uint32_t streams;
} method_t;

/** What one member serves, and how it is told to end. Lies in memory that all members share. */
typedef struct server {
    const char *name;
    unsigned threads;
    ferry_service_options_t options;
    method_t methods[METHODS_MAX]; /**< up to the first without a name */
    void *arg;
    ferry_t *node;       /**< its node; for its own process */
    atomic_uint go;      /**< 0: it does not open its service yet */
    atomic_uint serving; /**< it is found by clients */
    atomic_uint stop;
    atomic_uint stopped;         /**< its service is closed */
    ferry_service_stats_t stats; /**< once it has stopped */
} server_t;

/** A server of `name` with that many threads and these methods, which opens its service at once. */
server_t *new_server(const char *name, unsigned threads, const method_t *methods, size_t count, void *arg);
/** For crew_add: serves until it is told to stop. `arg` is a server_t. */
void serve(ferry_t *node, void *arg);
/** Tells it to stop, and waits until its service is closed. */
void stop_server(server_t *server);

/** A crew of one server. */
crew_t *crew_of(where_t where, server_t *server);
/** Stops the server, and ends the crew. */
void crew_end_with(crew_t *crew, server_t *server);

/* ---- handlers that many tests use; their arg is not looked at ---- */

/** The argument. */
int echo(ferry_request_t *rq, const void *data, size_t size, void *arg);
/** A number, plus one. */
int add_one(ferry_request_t *rq, const void *data, size_t size, void *arg);

/* ---- short forms ---- */

ferry_service_t *open_service(ferry_t *node, const char *name, const ferry_service_options_t *options);
void add_method(ferry_service_t *service, const char *method, ferry_handler_t *handler, void *arg);
/** Gives its threads up to PATIENCE. */
void close_service(ferry_service_t *service);
ferry_service_stats_t service_stats(ferry_service_t *service);
/** Opens a client, and waits for that many server threads. */
ferry_client_t *open_client(ferry_t *node, const char *service, unsigned servers);
ferry_client_t *open_client_with(ferry_t *node, const char *service, const ferry_client_options_t *options,
                                 unsigned servers);
/** Fails when a one-way call was not finished. */
void close_client(ferry_client_t *client);
ferry_client_stats_t client_stats(ferry_client_t *client);
/** Calls with 8 bytes, for 8 bytes. */
uint64_t call_number(ferry_client_t *client, const char *method, uint64_t number);
/** Starts a call with 8 bytes that may take PATIENCE. */
ferry_call_t *start_call(ferry_client_t *client, const char *method, uint64_t number);
/** The same, for several results. */
ferry_call_t *start_stream(ferry_client_t *client, const char *method, uint64_t number);
/** Waits for a result of 8 bytes, and releases the call. */
uint64_t finish_call(ferry_call_t *call);
/** Waits for the end, which is not a result, and releases the call. Returns how it ended. */
int end_of_call(ferry_call_t *call);
void release_call(ferry_call_t *call);
void reply_number(ferry_request_t *rq, uint64_t number);
uint64_t number_at(const void *data, size_t size);
ferry_request_info_t info_of_request(const ferry_request_t *rq);
ferry_call_error_t error_in(ferry_msg_t *reply);
/** Open descriptors of this process. */
unsigned count_descriptors(void);
/** Of memory that is shared with others, in this process: "r--s" what others own, "" all. */
unsigned count_mappings(const char *mode);
/** How many bytes these are. */
size_t size_of_mappings(const char *mode);

#ifndef FERRY_TESTS_SHORT_FORMS
#define stop_server(server) (called_from(__FILE__, __LINE__), stop_server(server))
#define crew_end_with(crew, server) (called_from(__FILE__, __LINE__), crew_end_with(crew, server))
#define open_service(node, name, options) (called_from(__FILE__, __LINE__), open_service(node, name, options))
#define add_method(service, method, handler, arg)                                                                      \
    (called_from(__FILE__, __LINE__), add_method(service, method, handler, arg))
#define close_service(service) (called_from(__FILE__, __LINE__), close_service(service))
#define service_stats(service) (called_from(__FILE__, __LINE__), service_stats(service))
#define open_client(node, service, servers) (called_from(__FILE__, __LINE__), open_client(node, service, servers))
#define open_client_with(node, service, options, servers)                                                              \
    (called_from(__FILE__, __LINE__), open_client_with(node, service, options, servers))
#define close_client(client) (called_from(__FILE__, __LINE__), close_client(client))
#define client_stats(client) (called_from(__FILE__, __LINE__), client_stats(client))
#define call_number(client, method, number) (called_from(__FILE__, __LINE__), call_number(client, method, number))
#define start_call(client, method, number) (called_from(__FILE__, __LINE__), start_call(client, method, number))
#define start_stream(client, method, number) (called_from(__FILE__, __LINE__), start_stream(client, method, number))
#define finish_call(call) (called_from(__FILE__, __LINE__), finish_call(call))
#define end_of_call(call) (called_from(__FILE__, __LINE__), end_of_call(call))
#define release_call(call) (called_from(__FILE__, __LINE__), release_call(call))
#define reply_number(rq, number) (called_from(__FILE__, __LINE__), reply_number(rq, number))
#define number_at(data, size) (called_from(__FILE__, __LINE__), number_at(data, size))
#define info_of_request(rq) (called_from(__FILE__, __LINE__), info_of_request(rq))
#define error_in(reply) (called_from(__FILE__, __LINE__), error_in(reply))
#endif

#endif
