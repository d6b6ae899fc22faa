/* SPDX-License-Identifier: MIT */
#include "rpc/client.h"

#include "api/check.h"
#include "platform/cancel.h"

/* ---- one thread at a time ---- */

static int begin(ferry_client_t *client, fi_turn_t **turn) {
    int r = fi_client_check(client);
    return r == 0 ? fi_client_enter(client, turn) : r;
}

static int begin_with(const ferry_call_t *call, fi_turn_t **turn) {
    int r = fi_call_check(call);
    return r == 0 ? fi_client_enter(call->client, turn) : r;
}

static inline int end(fi_turn_t *turn, int result) {
    fi_turn_leave(turn);
    return result;
}

/* ---- the client ---- */

int ferry_client_open(ferry_t *node, const char *service, const ferry_client_options_t *options,
                      ferry_client_t **client) {
    int cancel = fi_cancel_here();

    int r = fi_check_output(client, "ferry_client_open");
    r = r == 0 ? fi_check_node(node) : r;
    r = r == 0 && options ? fi_check_size(options->size, sizeof *options, "ferry_client_options_t") : r;
    r = r == 0 ? fi_client_open(node, service, options, client) : r;
    fi_cancel_restore(cancel);
    return r;
}

int ferry_client_close(ferry_client_t *client, int64_t timeout, uint64_t *undone) {
    if (!client) {
        if (undone) {
            *undone = 0;
        }
        return 0;
    }
    int cancel = fi_cancel_here();
    fi_turn_t *turn = NULL;
    int r = begin(client, &turn);
    if (r == 0) {
        r = fi_client_close(client, timeout, undone);
        if (client->magic == FI_CLIENT_MAGIC) { /* else its turns have ended with it */
            fi_turn_leave(turn);
        }
    }
    fi_cancel_restore(cancel);
    return r;
}

int ferry_client_wait(ferry_client_t *client, unsigned servers, int64_t timeout) {
    fi_turn_t *turn = NULL;
    int r = begin(client, &turn);
    return r == 0 ? end(turn, fi_client_wait(client, servers, timeout)) : r;
}

int ferry_client_fd(ferry_client_t *client) {
    fi_turn_t *turn = NULL;
    int r = begin(client, &turn);
    return r == 0 ? end(turn, fi_client_fd(client)) : r;
}

int ferry_client_stats(ferry_client_t *client, ferry_client_stats_t *stats) {
    fi_turn_t *turn = NULL;
    int r = fi_client_check(client);

    r = r == 0 ? fi_check_output(stats, "ferry_client_stats") : r;
    r = r == 0 ? fi_check_size(stats->size, sizeof *stats, "ferry_client_stats_t") : r;
    r = r == 0 ? fi_client_enter(client, &turn) : r;
    return r == 0 ? end(turn, fi_client_stats(client, stats)) : r;
}

int ferry_client_new_msg(ferry_client_t *client, size_t size, int64_t timeout, void **data, ferry_msg_t **m) {
    fi_turn_t *turn = NULL;
    int r = fi_client_check(client);

    r = r == 0 ? fi_check_output(data, "ferry_client_new_msg") : r;
    r = r == 0 ? fi_check_output(m, "ferry_client_new_msg") : r;
    r = r == 0 ? fi_client_enter(client, &turn) : r;
    return r == 0 ? end(turn, fi_client_new_msg(client, size, timeout, data, m)) : r;
}

/* ---- calls ---- */

__attribute__((noinline, cold)) static int bad_argument(const char *method, bool has_bytes, size_t size) {
    if (!method || strnlen(method, FI_METHOD_NAME_MAX + 1) > FI_METHOD_NAME_MAX) {
        return fi_fail(-EINVAL, "a method's name has 1 to %u bytes", FI_METHOD_NAME_MAX);
    }
    if (size > FI_PLAUSIBLE) {
        return fi_fail(-EMSGSIZE, "an argument cannot have %zu bytes: is that an error's number?", size);
    }
    return fi_fail(-EINVAL, has_bytes ? "the argument's bytes are NULL, but its size is not 0"
                                      : "the argument's message is NULL: use ferry_call for one without bytes");
}

/* A name that is too long is no method's; only where it is kept does that matter. */
static inline int check(const ferry_client_t *client, const char *method, const void *data, size_t size) {
    if (fi_unlikely(!client || client->magic != FI_CLIENT_MAGIC || client->generation != fi_process_generation)) {
        return fi_client_check(client);
    }
    return fi_likely(method && (data ? size <= FI_PLAUSIBLE : size == 0)) ? 0 : bad_argument(method, true, size);
}

int ferry_call(ferry_client_t *client, const char *method, const void *data, size_t size, int64_t timeout,
               ferry_msg_t **reply) {
    int r = check(client, method, data, size);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    const fi_wish_t wish = {.method = method, .length = strlen(method), .data = data, .size = size};
    return fi_call_run(client, &wish, timeout, reply);
}

static int check_message(const ferry_client_t *client, const char *method, const ferry_msg_t *m) {
    int r = check(client, method, NULL, 0);
    return r == 0 && !m ? bad_argument(method, false, 0) : r;
}

int ferry_call_msg(ferry_client_t *client, const char *method, ferry_msg_t *m, int64_t timeout, ferry_msg_t **reply) {
    int r = check_message(client, method, m);
    if (r < 0) {
        return r;
    }
    const fi_wish_t wish = {.method = method, .length = strlen(method), .m = m};
    return fi_call_run(client, &wish, timeout, reply);
}

int ferry_call_one_way(ferry_client_t *client, const char *method, const void *data, size_t size, int64_t timeout) {
    fi_turn_t *turn = NULL;
    int r = check(client, method, data, size);
    r = r == 0 ? fi_client_enter(client, &turn) : r;
    if (r < 0) {
        return r;
    }
    const fi_wish_t wish = {.method = method, .length = strlen(method), .data = data, .size = size};
    return end(turn, fi_call_start(client, &wish, FI_CALL_ONE_WAY, timeout, NULL));
}

static int start(ferry_client_t *client, const fi_wish_t *wish, uint32_t flags, int64_t timeout, ferry_call_t **call) {
    fi_turn_t *turn = NULL;
    int r = fi_check_output(call, "ferry_call_start");

    if (r == 0 && wish->length > FI_METHOD_NAME_MAX) {
        r = bad_argument(wish->method, true, 0);
    }
    if (r == 0 && flags & ~FERRY_CALL_STREAM) {
        r = fi_fail(-EINVAL, "ferry_call_start knows no flags but FERRY_CALL_STREAM, not 0x%x", flags);
    }
    r = r == 0 ? fi_client_enter(client, &turn) : r;
    if (r < 0) {
        return r;
    }
    r = fi_call_start(client, wish, flags ? FI_CALL_STREAMS : 0, timeout, call);
    if (r == 0) {
        fi_call_keep_name(*call);
    }
    return end(turn, r);
}

int ferry_call_start(ferry_client_t *client, const char *method, const void *data, size_t size, uint32_t flags,
                     int64_t timeout, ferry_call_t **call) {
    int r = check(client, method, data, size);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    const fi_wish_t wish = {.method = method, .length = strlen(method), .data = data, .size = size};
    return start(client, &wish, flags, timeout, call);
}

int ferry_call_start_msg(ferry_client_t *client, const char *method, ferry_msg_t *m, uint32_t flags, int64_t timeout,
                         ferry_call_t **call) {
    int r = check_message(client, method, m);
    if (r < 0) {
        return r;
    }
    const fi_wish_t wish = {.method = method, .length = strlen(method), .m = m};
    return start(client, &wish, flags, timeout, call);
}

int ferry_call_wait(ferry_call_t *call, int64_t timeout, ferry_msg_t **reply) {
    fi_turn_t *turn = NULL;
    int r = begin_with(call, &turn);
    return r == 0 ? end(turn, fi_call_wait(call, timeout, reply)) : r;
}

int ferry_client_next(ferry_client_t *client, int64_t timeout, ferry_call_t **call) {
    fi_turn_t *turn = NULL;
    int r = fi_client_check(client);

    r = r == 0 ? fi_check_output(call, "ferry_client_next") : r;
    r = r == 0 ? fi_client_enter(client, &turn) : r;
    return r == 0 ? end(turn, fi_client_next(client, timeout, call)) : r;
}

int ferry_call_cancel(ferry_call_t *call) {
    fi_turn_t *turn = NULL;
    int r = begin_with(call, &turn);
    return r == 0 ? end(turn, fi_call_cancel(call)) : r;
}

int ferry_call_release(ferry_call_t *call) {
    if (!call) {
        return 0;
    }
    fi_turn_t *turn = NULL;
    int r = begin_with(call, &turn);
    return r == 0 ? end(turn, fi_call_release(call)) : r;
}

void ferry_call_set_context(ferry_call_t *call, void *context) {
    if (fi_call_check(call) == 0) {
        call->context = context;
    }
}

void *ferry_call_context(const ferry_call_t *call) {
    return fi_call_check(call) == 0 ? call->context : NULL;
}

/* ---- errors of procedures ---- */

static int no_error(void) {
    return fi_fail(-EINVAL, "this message is no error that a procedure has answered with (FERRY_CALL_FAILED)");
}

/* From bytes that the server cannot change any more. */
static int read_error(const unsigned char *bytes, uint64_t size, ferry_call_error_t *error) {
    fi_error_head_t head;

    if (size < sizeof head) {
        return no_error();
    }
    memcpy(&head, bytes, sizeof head);
    const char *words = (const char *)bytes + sizeof head;
    uint64_t before = fi_error_detail_at(head.words);
    if (head.words == 0 || before > size || words[head.words - 1] != 0) {
        return no_error();
    }
    *error = (ferry_call_error_t){.size = sizeof *error,
                                  .code = head.code,
                                  .message = words,
                                  .detail = bytes + before,
                                  .detail_size = size - before};
    return 0;
}

int ferry_call_error(ferry_msg_t *reply, ferry_call_error_t *error) {
    unsigned char *bytes = NULL;
    int r = fi_check_output(error, "ferry_call_error");

    r = r == 0 ? fi_check_size(error->size, sizeof *error, "ferry_call_error_t") : r;
    if (r < 0) {
        return r;
    }
    if (!reply || (reply->magic != FI_MSG_SENT && reply->magic != FI_MSG_TAKEN)) {
        return fi_fail(-EBADF, "this message handle was released before, or is none");
    }
    if (reply->magic != FI_MSG_TAKEN || reply->reply != FI_REPLY_ERROR) {
        return no_error();
    }
    r = fi_taken_copy(reply, &bytes);
    return r < 0 ? r : read_error(bytes, reply->size, error);
}
