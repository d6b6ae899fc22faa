// SPDX-License-Identifier: MIT
//
// header.cpp - what a program sees: for each service its name, the calls, and the struct of handlers.
//
#include "header.h"

#include "comments.h"
#include "names.h"
#include "variables.h"

#include <google/protobuf/descriptor.pb.h>

using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::io::Printer;

namespace {

const char *const BEGINNING =
    R"(/* Made by protoc-gen-ferry $version$ from $file$: do not edit.
 *
 * Calls and handlers of calls for the services of that file. The messages are protobuf-c's.
 *
 * Calling. The client is one of ferry_client_open(node, ..__NAME, ...).
 *   ..__call    calls, and waits for the result
 *   ..__start   starts a call; then ..__wait waits for its result, ..__next for the next one of several. Every call
 *               that was started is given back by ferry_call_release, whether it has ended or not
 * `timeout` of ..__call and ..__start is the call's deadline, in nanoseconds from now, or FERRY_FOREVER: it goes with
 * the call to the handler, and on to the calls that the handler makes. `timeout` of ..__wait and ..__next only ends
 * the wait. They return as ferry_call, ferry_call_start and ferry_call_wait do (ferry/rpc.h):
 *   0                  `*reply` is the result: free it by protobuf-c's ..__free_unpacked(reply, NULL)
 *   FERRY_CALL_MORE    `*item` is the next of several results: free it likewise. 0 is the end then, without an item
 *   FERRY_CALL_FAILED  the handler has answered with an error: `*error` holds it for ferry_call_error; give it back by
 *                      ferry_msg_release
 *   -EPROTO            also: an answer is no message of its type, or there is no memory to decode it. A stream is
 *                      cancelled then
 *   -EINVAL            also: there is no request
 *   other negative errno values: how else the call ended, or why it was not made
 * What is not said to be returned is left as it was. `reply`, `item` and `error` may be NULL: not wanted.
 *
 * Serving. Fill in the struct of handlers, open the service with it, then ferry_service_start or ferry_service_run. A
 * handler gets its request decoded from bytes that nobody can change; it is freed when the handler returns. It returns
 *   0                  it is done: `*reply` is the result, unless it has answered already
 *   a negative errno value: an error with that code
 * and may have answered before, by ..__reply or ferry_reply_error. Whatever it puts into `*reply` (strings, bytes,
 * arrays, messages) must come from malloc, and is freed when the result is sent, or when there is none. For a result in
 * other memory there is ..__reply. A method with several results sends each by ..__more, and returns when there are no
 * more. ferry_request_is_cancelled tells that nobody waits any more. A request that does not decode is answered with
 * the error -EBADMSG, and a call whose handler is NULL with -ENOSYS.
 */
#ifndef $guard$
#define $guard$

#include <ferry/ferry.h>

#include "$base$.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif
)";

const char *const END = R"(
#ifdef __cplusplus
}
#endif
#endif
)";

const char *const SERVICE_NAME = R"(
#define $upper$__NAME "$service$"
)";

const char *const CALL = R"(int $stub$__call(ferry_client_t *client, const $input$ *request, int64_t timeout,
    $output$ **reply, ferry_msg_t **error);
int $stub$__start(ferry_client_t *client, const $input$ *request, int64_t timeout,
    ferry_call_t **call);
int $stub$__wait(ferry_call_t *call, int64_t timeout, $output$ **reply,
    ferry_msg_t **error);
/* For its handler: the result, or why it could not be sent, as ferry_reply has it. */
int $stub$__reply(ferry_request_t *rq, const $output$ *reply);
)";

const char *const STREAM =
    R"(int $stub$__start(ferry_client_t *client, const $input$ *request, int64_t timeout,
    ferry_call_t **call);
int $stub$__next(ferry_call_t *call, int64_t timeout, $output$ **item,
    ferry_msg_t **error);
/* For its handler: one of several results, or why it could not be sent, as ferry_reply_more has it. */
int $stub$__more(ferry_request_t *rq, const $output$ *item);
)";

const char *const OPEN = R"(
/* Opens the service, under its own name if `name` is NULL. `*server` must stay as it is until the service is closed;
 * its handlers run in all of the service's threads. Of `options` (NULL: none) comment and descriptor are filled in
 * where they are NULL. Returns as ferry_service_open does. */
int $lower$__server__open(ferry_t *node, const char *name, const ferry_service_options_t *options,
    const $server$ *server, ferry_service_t **service);
)";

std::string guard_of(const FileDescriptor *file) {
    std::string guard = "FERRY_PROTO_";
    for (char c : file->name()) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        static const char digits[] = "0123456789abcdef";
        unsigned char byte = static_cast<unsigned char>(c);
        guard += plain ? std::string(1, c) : std::string("_") + digits[byte / 16] + digits[byte % 16];
    }
    return guard;
}

// What stands before a method's functions.
std::string describe(const MethodDescriptor *method) {
    const Variables v = variables_of(method);
    std::string text = comment_of(method);
    text += text.empty() ? "" : "\n\n";
    text += v.at("title") + ": " + v.at("input_name") + " to " + (method->server_streaming() ? "several " : "") +
            v.at("output_name");
    bool idempotent = method->options().idempotency_level() != google::protobuf::MethodOptions::IDEMPOTENCY_UNKNOWN;
    text += idempotent ? ". Idempotent: called again on another server if one dies" : "";
    return text;
}

void write_comment(const std::string &text, const std::string &indent, Printer *out) {
    if (!text.empty()) {
        out->Print("$indent$/*\n$lines$$indent$ */\n", "indent", indent, "lines", as_comment(text, indent));
    }
}

void write_server(const ServiceDescriptor *service, Printer *out) {
    const Variables v = variables_of(service);
    out->Print(v, "\n/* The handlers of $service$. */\ntypedef struct $server$ {\n"
                  "    void *arg; /* given to each */\n");
    for (int i = 0; i < service->method_count(); i++) {
        const MethodDescriptor *method = service->method(i);
        write_comment(comment_of(method), "    ", out);
        out->Print(variables_of(method),
                   method->server_streaming()
                       ? "    int (*$member$)(ferry_request_t *rq, const $input$ *request, void *arg);\n"
                       : "    int (*$member$)(ferry_request_t *rq, const $input$ *request,\n"
                         "        $output$ *reply, void *arg);\n");
    }
    out->Print(v, "} $server$;\n");
}

} // namespace

void write_header(const FileDescriptor *file, Printer *out) {
    out->Print(
        {{"version", FERRY_VERSION}, {"file", file->name()}, {"guard", guard_of(file)}, {"base", base_name(file)}},
        BEGINNING);
    for (int i = 0; i < file->service_count(); i++) {
        const ServiceDescriptor *service = file->service(i);
        out->Print("\n");
        write_comment("Service " + service->full_name() + (comment_of(service).empty() ? "" : "\n\n") +
                          comment_of(service),
                      "", out);
        out->Print(variables_of(service), SERVICE_NAME + 1);
        for (int j = 0; j < service->method_count(); j++) {
            const MethodDescriptor *method = service->method(j);
            out->Print("\n");
            write_comment(describe(method), "", out);
            out->Print(variables_of(method), method->server_streaming() ? STREAM : CALL);
        }
        write_server(service, out);
        out->Print(variables_of(service), OPEN);
    }
    out->Print(END);
}
