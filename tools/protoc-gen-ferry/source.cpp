// SPDX-License-Identifier: MIT
//
// source.cpp - the functions that the header declares, over the glue.
//
#include "source.h"

#include "comments.h"
#include "glue.h"
#include "names.h"
#include "variables.h"

#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <vector>

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptor;
using google::protobuf::MethodOptions;
using google::protobuf::ServiceDescriptor;
using google::protobuf::io::Printer;

namespace {

const char *const BEGINNING = R"(/* Made by protoc-gen-ferry $version$ from $file$: do not edit. */
#include "$base$.ferry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
)";

const char *const CALL = R"(
int $stub$__call(ferry_client_t *client, const $input$ *request, int64_t timeout,
                 $output$ **reply, ferry_msg_t **error) {
    ProtobufCMessage *message = NULL;
    int r = ferry_gen_call(client, "$method$", (const ProtobufCMessage *)request, timeout,
                           &$output_descriptor$, reply != NULL ? &message : NULL, error);
    if (message != NULL) {
        *reply = ($output$ *)message;
    }
    return r;
}

int $stub$__start(ferry_client_t *client, const $input$ *request, int64_t timeout, ferry_call_t **call) {
    return ferry_gen_start(client, "$method$", (const ProtobufCMessage *)request, 0, timeout, call);
}

int $stub$__wait(ferry_call_t *call, int64_t timeout, $output$ **reply, ferry_msg_t **error) {
    ProtobufCMessage *message = NULL;
    int r = ferry_gen_wait(call, timeout, &$output_descriptor$, reply != NULL ? &message : NULL, error);
    if (message != NULL) {
        *reply = ($output$ *)message;
    }
    return r;
}

int $stub$__reply(ferry_request_t *rq, const $output$ *reply) {
    return ferry_gen_send(rq, (const ProtobufCMessage *)reply, 0);
}

static int $stub$__serve(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const $server$ *server = (const $server$ *)arg;
    $output$ reply;
    ProtobufCMessage *request;
    int r;
    (void)data;
    if (server->$member$ == NULL) {
        return ferry_gen_missing(rq, "$title$");
    }
    request = ferry_gen_request(rq, size, &$input_descriptor$, "$title$", &r);
    if (request == NULL) {
        return r;
    }
    protobuf_c_message_init(&$output_descriptor$, &reply);
    r = server->$member$(rq, (const $input$ *)request, &reply, server->arg);
    protobuf_c_message_free_unpacked(request, NULL);
    return ferry_gen_finish(rq, r, (ProtobufCMessage *)&reply);
}
)";

const char *const STREAM = R"(
int $stub$__start(ferry_client_t *client, const $input$ *request, int64_t timeout, ferry_call_t **call) {
    return ferry_gen_start(client, "$method$", (const ProtobufCMessage *)request, FERRY_CALL_STREAM, timeout, call);
}

int $stub$__next(ferry_call_t *call, int64_t timeout, $output$ **item, ferry_msg_t **error) {
    ProtobufCMessage *message = NULL;
    int r = ferry_gen_next(call, timeout, &$output_descriptor$, item != NULL ? &message : NULL, error);
    if (message != NULL) {
        *item = ($output$ *)message;
    }
    return r;
}

int $stub$__more(ferry_request_t *rq, const $output$ *item) {
    return ferry_gen_send(rq, (const ProtobufCMessage *)item, 1);
}

static int $stub$__serve(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const $server$ *server = (const $server$ *)arg;
    ProtobufCMessage *request;
    int r;
    (void)data;
    if (server->$member$ == NULL) {
        return ferry_gen_missing(rq, "$title$");
    }
    request = ferry_gen_request(rq, size, &$input_descriptor$, "$title$", &r);
    if (request == NULL) {
        return r;
    }
    r = server->$member$(rq, (const $input$ *)request, server->arg);
    protobuf_c_message_free_unpacked(request, NULL);
    return r;
}
)";

const char *const OPEN_BEGINNING = R"(
int $lower$__server__open(ferry_t *node, const char *name, const ferry_service_options_t *options,
                          const $server$ *server, ferry_service_t **service) {
)";

const char *const OPEN_END = R"(    return ferry_gen_open(node, name != NULL ? name : $upper$__NAME, options,
                          $comment$,
                          $methods$, $count$, server, service);
}
)";

std::vector<const MethodDescriptor *> methods_of(const FileDescriptor *file) {
    std::vector<const MethodDescriptor *> methods;
    for (int i = 0; i < file->service_count(); i++) {
        for (int j = 0; j < file->service(i)->method_count(); j++) {
            methods.push_back(file->service(i)->method(j));
        }
    }
    return methods;
}

// What is imported comes before what imports it.
void add_file(const FileDescriptor *file, std::set<const FileDescriptor *> *seen, FileDescriptorSet *files) {
    if (!seen->insert(file).second) {
        return;
    }
    for (int i = 0; i < file->dependency_count(); i++) {
        add_file(file->dependency(i), seen, files);
    }
    FileDescriptorProto *copy = files->add_file();
    file->CopyTo(copy);
    file->CopyJsonNameTo(copy);
}

void write_descriptor(const FileDescriptor *file, Printer *out) {
    std::set<const FileDescriptor *> seen;
    FileDescriptorSet files;
    add_file(file, &seen, &files);
    const std::string bytes = files.SerializeAsString();
    out->Print("\n/* The google.protobuf.FileDescriptorSet of $file$ and all that it imports. */\n"
               "static const uint8_t ferry_gen_descriptor[$size$] = {",
               "file", file->name(), "size", std::to_string(bytes.size()));
    std::string line;
    for (size_t i = 0; i < bytes.size(); i++) {
        line += i % 24 == 0 ? "\n    " : " ";
        line += std::to_string(static_cast<unsigned char>(bytes[i])) + ",";
    }
    out->PrintRaw(line);
    out->Print("\n};\n");
}

// Can a message of this type be nested as deeply as whoever writes it likes? It can if a type that is reached from here
// can reach itself: a walk in depth that meets a type which it is still inside of.
bool contains_itself(const Descriptor *message, std::set<const Descriptor *> *inside,
                     std::set<const Descriptor *> *done) {
    if (done->count(message) != 0) {
        return false;
    }
    if (!inside->insert(message).second) {
        return true;
    }
    for (int i = 0; i < message->field_count(); i++) {
        const Descriptor *within = message->field(i)->message_type();
        if (within != nullptr && contains_itself(within, inside, done)) {
            return true;
        }
    }
    inside->erase(message);
    done->insert(message);
    return false;
}

void write_glue(const FileDescriptor *file, Printer *out) {
    bool one = false, several = false, deep = false;
    std::set<const Descriptor *> inside, done;
    for (const MethodDescriptor *method : methods_of(file)) {
        one = one || !method->server_streaming();
        several = several || method->server_streaming();
        deep = deep || contains_itself(method->input_type(), &inside, &done) ||
               contains_itself(method->output_type(), &inside, &done);
    }
    // What is not needed is left out: it would draw a warning.
    bool any = one || several;
    out->PrintRaw(!any ? "" : deep ? GLUE_DEPTH : GLUE_NO_DEPTH);
    out->PrintRaw(any ? GLUE_CALL : "");
    out->PrintRaw(one ? GLUE_WAIT : "");
    out->PrintRaw(several ? GLUE_NEXT : "");
    out->PrintRaw(GLUE_OPEN);
    out->PrintRaw(any ? GLUE_SERVE : "");
    out->PrintRaw(one ? GLUE_RESULT : "");
}

void write_open(const ServiceDescriptor *service, Printer *out) {
    Variables v = variables_of(service);
    v["comment"] = as_string(comment_of(service));
    v["count"] = std::to_string(service->method_count());
    v["methods"] = service->method_count() == 0 ? "NULL" : "methods";
    out->Print(v, OPEN_BEGINNING);
    if (service->method_count() != 0) {
        out->Print("    static const ferry_gen_method methods[] = {\n");
        for (int i = 0; i < service->method_count(); i++) {
            const MethodDescriptor *method = service->method(i);
            Variables m = variables_of(method);
            bool idempotent = method->options().idempotency_level() != MethodOptions::IDEMPOTENCY_UNKNOWN;
            m["idempotent"] = idempotent ? "1" : "0";
            m["streams"] = method->server_streaming() ? "1" : "0";
            m["comment"] = as_string(comment_of(method));
            out->Print(m, "        {\"$method$\", $stub$__serve,\n"
                          "         {sizeof(ferry_method_options_t), $idempotent$, $streams$, \"$input_name$\", "
                          "\"$output_name$\",\n"
                          "          $comment$}},\n");
        }
        out->Print("    };\n");
    }
    out->Print(v, OPEN_END);
}

} // namespace

void write_source(const FileDescriptor *file, Printer *out) {
    out->Print({{"version", FERRY_VERSION}, {"file", file->name()}, {"base", base_name(file)}}, BEGINNING);
    write_descriptor(file, out);
    write_glue(file, out);
    for (int i = 0; i < file->service_count(); i++) {
        for (int j = 0; j < file->service(i)->method_count(); j++) {
            const MethodDescriptor *method = file->service(i)->method(j);
            out->Print(variables_of(method), method->server_streaming() ? STREAM : CALL);
        }
        write_open(file->service(i), out);
    }
}
