// SPDX-License-Identifier: MIT
//
// glue.cpp - C, as text.
//
#include "glue.h"

const char *const GLUE_DEPTH = R"C(
/* protobuf-c decodes messages within messages on the stack: a stranger must not say how many. */
#define FERRY_GEN_DEPTH 100u

/* Reads a number of up to `most` bytes, 7 bits in each. Returns its bytes, or 0: there is none. */
static size_t ferry_gen_number(const uint8_t *at, size_t size, size_t most, uint64_t *number) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size && i < most; i++) {
        sum |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (at[i] < 0x80) {
            *number = sum;
            return i + 1;
        }
    }
    return 0;
}

/* Is this a message with at most `depth` messages within each other? What cannot be read is none, either. */
static int ferry_gen_is_shallow(const ProtobufCMessageDescriptor *type, const uint8_t *at, size_t size,
                                unsigned depth) {
    while (size > 0) {
        uint64_t tag = 0, length = 0;
        size_t head = ferry_gen_number(at, size, 5, &tag), body = 0;
        const ProtobufCFieldDescriptor *field;
        if (head == 0) {
            return 0;
        }
        switch (tag & 7) {
        case 0:
            body = ferry_gen_number(at + head, size - head, 10, &length);
            length = 0;
            break;
        case 1:
            length = 8;
            break;
        case 2:
            body = ferry_gen_number(at + head, size - head, 5, &length);
            break;
        case 5:
            length = 4;
            break;
        default:
            return 0;
        }
        if (((tag & 7) % 2 == 0 && body == 0) || length > size - head - body) {
            return 0;
        }
        at += head + body;
        size -= head + body;
        field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if ((tag & 7) == 2 && field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == 0 || !ferry_gen_is_shallow((const ProtobufCMessageDescriptor *)field->descriptor, at,
                                                 (size_t)length, depth - 1))) {
            return 0;
        }
        at += length;
        size -= (size_t)length;
    }
    return 1;
}

/* NULL: these bytes are no such message, or there is no memory. */
static ProtobufCMessage *ferry_gen_decode(const ProtobufCMessageDescriptor *type, const void *data, size_t size) {
    const uint8_t *bytes = size > 0 ? (const uint8_t *)data : (const uint8_t *)"";
    return ferry_gen_is_shallow(type, bytes, size, FERRY_GEN_DEPTH) ? protobuf_c_message_unpack(type, NULL, size, bytes)
                                                                    : NULL;
}
)C";

const char *const GLUE_NO_DEPTH = R"C(
/* NULL: these bytes are no such message, or there is no memory. */
static ProtobufCMessage *ferry_gen_decode(const ProtobufCMessageDescriptor *type, const void *data, size_t size) {
    return protobuf_c_message_unpack(type, NULL, size, size > 0 ? (const uint8_t *)data : (const uint8_t *)"");
}
)C";

const char *const GLUE_CALL = R"C(
/* Messages up to this size are packed on the stack and copied; larger ones where the other side reads them. */
#define FERRY_GEN_SMALL 1024u

/* Packs a message that is not small into memory of the client's. As for a small one, there is room or there is none. */
static int ferry_gen_pack(ferry_client_t *client, const ProtobufCMessage *request, size_t size, ferry_msg_t **m) {
    void *data = NULL;
    int r = ferry_client_new_msg(client, size, FERRY_NOW, &data, m);
    if (r < 0) {
        return r;
    }
    protobuf_c_message_pack(request, (uint8_t *)data);
    return 0;
}

static int ferry_gen_start(ferry_client_t *client, const char *method, const ProtobufCMessage *request, uint32_t flags,
                           int64_t timeout, ferry_call_t **call) {
    uint8_t small[FERRY_GEN_SMALL];
    ferry_msg_t *m = NULL;
    size_t size;
    int r;
    if (request == NULL) {
        return -EINVAL;
    }
    size = protobuf_c_message_get_packed_size(request);
    if (size <= sizeof(small)) {
        protobuf_c_message_pack(request, small);
        return ferry_call_start(client, method, small, size, flags, timeout, call);
    }
    r = ferry_gen_pack(client, request, size, &m);
    if (r == 0) {
        r = ferry_call_start_msg(client, method, m, flags, timeout, call);
        ferry_msg_release(m);
    }
    return r;
}

/* Decodes an answer, and gives it back. The other side could change it, so that is done with a copy. */
static int ferry_gen_take(const ProtobufCMessageDescriptor *type, ferry_msg_t *answer, ProtobufCMessage **message) {
    const void *data = NULL;
    int r = 0;
    if (answer != NULL) {
        r = ferry_msg_private(answer, &data);
    }
    if (r >= 0) {
        ProtobufCMessage *decoded = ferry_gen_decode(type, data, answer != NULL ? ferry_msg_size(answer) : 0);
        r = decoded == NULL ? -EPROTO : 0;
        if (decoded != NULL) {
            *message = decoded;
        }
    }
    ferry_msg_release(answer);
    return r;
}

/* An error of the handler's goes to whoever wants it. */
static int ferry_gen_failed(ferry_msg_t *answer, ferry_msg_t **error) {
    if (error != NULL) {
        *error = answer;
    } else {
        ferry_msg_release(answer);
    }
    return FERRY_CALL_FAILED;
}
)C";

const char *const GLUE_WAIT = R"C(
/* Makes a result of what the library has answered, for a method with one. */
static int ferry_gen_result(int r, ferry_msg_t *answer, const ProtobufCMessageDescriptor *type,
                            ProtobufCMessage **reply, ferry_msg_t **error) {
    if (r == FERRY_CALL_FAILED) {
        return ferry_gen_failed(answer, error);
    }
    if (r < 0) {
        return r;
    }
    if (r == 0 && reply != NULL) {
        return ferry_gen_take(type, answer, reply);
    }
    ferry_msg_release(answer);
    return r == 0 ? 0 : -EPROTO;
}

static int ferry_gen_call(ferry_client_t *client, const char *method, const ProtobufCMessage *request, int64_t timeout,
                          const ProtobufCMessageDescriptor *type, ProtobufCMessage **reply, ferry_msg_t **error) {
    uint8_t small[FERRY_GEN_SMALL];
    ferry_msg_t *m = NULL, *answer = NULL;
    size_t size;
    int r;
    if (request == NULL) {
        return -EINVAL;
    }
    size = protobuf_c_message_get_packed_size(request);
    if (size <= sizeof(small)) {
        protobuf_c_message_pack(request, small);
        r = ferry_call(client, method, small, size, timeout, &answer);
    } else {
        r = ferry_gen_pack(client, request, size, &m);
        if (r < 0) {
            return r;
        }
        r = ferry_call_msg(client, method, m, timeout, &answer);
        ferry_msg_release(m);
    }
    return ferry_gen_result(r, answer, type, reply, error);
}

static int ferry_gen_wait(ferry_call_t *call, int64_t timeout, const ProtobufCMessageDescriptor *type,
                          ProtobufCMessage **reply, ferry_msg_t **error) {
    ferry_msg_t *answer = NULL;
    int r = ferry_call_wait(call, timeout, &answer);
    return ferry_gen_result(r, answer, type, reply, error);
}
)C";

const char *const GLUE_NEXT = R"C(
/* The next of several results. One that is nonsense ends the stream. */
static int ferry_gen_next(ferry_call_t *call, int64_t timeout, const ProtobufCMessageDescriptor *type,
                          ProtobufCMessage **item, ferry_msg_t **error) {
    ferry_msg_t *answer = NULL;
    int r = ferry_call_wait(call, timeout, &answer);
    if (r == FERRY_CALL_FAILED) {
        return ferry_gen_failed(answer, error);
    }
    if (r == FERRY_CALL_MORE) {
        ProtobufCMessage *unwanted = NULL;
        int taken = ferry_gen_take(type, answer, item != NULL ? item : &unwanted);
        if (unwanted != NULL) {
            protobuf_c_message_free_unpacked(unwanted, NULL);
        }
        if (taken < 0) {
            ferry_call_cancel(call);
            return taken;
        }
    } else if (r == 0 && answer != NULL) {
        r = ferry_msg_size(answer) == 0 ? 0 : -EPROTO;
        ferry_msg_release(answer);
    }
    return r;
}
)C";

const char *const GLUE_OPEN = R"C(
typedef struct ferry_gen_method {
    const char *name;
    ferry_handler_t *handler;
    ferry_method_options_t options;
} ferry_gen_method;

static int ferry_gen_open(ferry_t *node, const char *name, const ferry_service_options_t *options, const char *comment,
                          const ferry_gen_method *methods, size_t count, const void *server,
                          ferry_service_t **service) {
    ferry_service_options_t all;
    ferry_service_t *opened = NULL;
    int r;
    if (server == NULL || service == NULL) {
        return -EINVAL;
    }
    memset(&all, 0, sizeof(all));
    if (options != NULL) {
        memcpy(&all, options, options->size == 0 || options->size > sizeof(all) ? sizeof(all) : options->size);
    }
    all.size = sizeof(all);
    if (all.comment == NULL) {
        all.comment = comment;
    }
    if (all.descriptor == NULL) {
        all.descriptor = ferry_gen_descriptor;
        all.descriptor_size = sizeof(ferry_gen_descriptor);
    }
    r = ferry_service_open(node, name, &all, &opened);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < count; i++) {
        /* The library hands out what it was given, and the handlers below take it for what it is. */
        r = ferry_service_method(opened, methods[i].name, methods[i].handler, (void *)server, &methods[i].options);
        if (r < 0) {
            ferry_service_close(opened, FERRY_NOW);
            return r;
        }
    }
    *service = opened;
    return 0;
}
)C";

const char *const GLUE_SERVE = R"C(
/* The request, decoded from a copy that the caller cannot change; NULL: `*r` is what the handler returns. */
static ProtobufCMessage *ferry_gen_request(ferry_request_t *rq, size_t size, const ProtobufCMessageDescriptor *type,
                                           const char *title, int *r) {
    char sentence[512];
    ProtobufCMessage *request;
    const void *data = NULL;
    *r = ferry_request_private(rq, &data);
    if (*r < 0) {
        return NULL;
    }
    request = ferry_gen_decode(type, data, size);
    if (request == NULL) {
        snprintf(sentence, sizeof(sentence), "%s: the request (%zu bytes) is no %s", title, size, type->name);
        *r = ferry_reply_error(rq, -EBADMSG, sentence, NULL, 0);
    }
    return request;
}

static int ferry_gen_missing(ferry_request_t *rq, const char *title) {
    char sentence[512];
    snprintf(sentence, sizeof(sentence), "%s: not implemented", title);
    return ferry_reply_error(rq, -ENOSYS, sentence, NULL, 0);
}

/* Sends a result: the last one, or one of several. */
static int ferry_gen_send(ferry_request_t *rq, const ProtobufCMessage *message, int more) {
    uint8_t small[FERRY_GEN_SMALL];
    void *data = NULL;
    ferry_msg_t *m = NULL;
    size_t size;
    int r;
    if (message == NULL) {
        return -EINVAL;
    }
    size = protobuf_c_message_get_packed_size(message);
    if (size <= sizeof(small)) {
        protobuf_c_message_pack(message, small);
        return more ? ferry_reply_more(rq, small, size) : ferry_reply(rq, small, size);
    }
    r = ferry_reply_new(rq, size, &data, &m);
    if (r < 0) {
        return r;
    }
    protobuf_c_message_pack(message, (uint8_t *)data);
    r = more ? ferry_reply_more_msg(rq, m) : ferry_reply_msg(rq, m);
    ferry_msg_release(m);
    return r;
}
)C";

const char *const GLUE_RESULT = R"C(
static void *ferry_gen_malloc(void *message, size_t size) {
    (void)message;
    return malloc(size);
}

static void ferry_gen_free(void *message, void *memory) {
    if (memory != message) {
        free(memory);
    }
}

/* A handler has filled in `*reply`, which stands on the stack: sends it unless the call was answered, and frees what is
 * in it. Returns what goes back to the library. */
static int ferry_gen_finish(ferry_request_t *rq, int r, ProtobufCMessage *reply) {
    ProtobufCAllocator allocator;
    if (r == 0) {
        r = ferry_gen_send(rq, reply, 0);
        r = r == -EALREADY ? 0 : r;
    }
    allocator.alloc = ferry_gen_malloc;
    allocator.free = ferry_gen_free;
    allocator.allocator_data = reply;
    protobuf_c_message_free_unpacked(reply, &allocator);
    return r;
}
)C";
