/* SPDX-License-Identifier: MIT */
#include "rpc/service.h"
#include "api/check.h"
#include "platform/clock.h"

/* ---- the service ---- */

int ferry_service_open(ferry_t *node, const char *name, const ferry_service_options_t *options,
                       ferry_service_t **service) {
    int r = fi_check_output(service, "ferry_service_open");

    r = r == 0 ? fi_check_node(node) : r;
    r = r == 0 && options ? fi_check_size(options->size, sizeof *options, "ferry_service_options_t") : r;
    return r == 0 ? FI_WHOLE(fi_service_open(node, name, options, service)) : r;
}

int ferry_service_method(ferry_service_t *service, const char *method, ferry_handler_t *handler, void *arg,
                         const ferry_method_options_t *options) {
    int r = fi_service_check(service);

    r = r == 0 && options ? fi_check_size(options->size, sizeof *options, "ferry_method_options_t") : r;
    return r == 0 ? fi_service_method(service, method, handler, arg, options) : r;
}

int ferry_service_start(ferry_service_t *service, unsigned threads) {
    int r = fi_service_check(service);
    return r == 0 ? FI_WHOLE(fi_service_start(service, threads)) : r;
}

int ferry_service_run(ferry_service_t *service, int64_t timeout) {
    int r = fi_service_check(service);
    return r == 0 ? fi_service_run(service, timeout) : r;
}

int ferry_service_fd(ferry_service_t *service) {
    int r = fi_service_check(service);
    return r == 0 ? fi_service_fd(service) : r;
}

int ferry_service_stop(ferry_service_t *service) {
    int r = fi_service_check(service);
    return r == 0 ? fi_service_stop(service) : r;
}

int ferry_service_close(ferry_service_t *service, int64_t timeout) {
    if (!service) {
        return 0;
    }
    int r = fi_service_check(service);
    return r == 0 ? FI_WHOLE(fi_service_close(service, timeout)) : r;
}

int ferry_service_stats(ferry_service_t *service, ferry_service_stats_t *stats) {
    int r = fi_service_check(service);

    r = r == 0 ? fi_check_output(stats, "ferry_service_stats") : r;
    r = r == 0 ? fi_check_size(stats->size, sizeof *stats, "ferry_service_stats_t") : r;
    return r == 0 ? fi_service_stats(service, stats) : r;
}

/* ---- within a handler ---- */

__attribute__((noinline, cold)) static int bad_bytes(const char *what, size_t size) {
    if (size > FI_PLAUSIBLE) {
        return fi_fail(-EMSGSIZE, "%s cannot have %zu bytes: is that an error's number?", what, size);
    }
    return fi_fail(-EINVAL, "%s: the bytes are NULL, but their size is not 0", what);
}

static inline bool are_plausible(const void *data, size_t size) {
    return data ? size <= FI_PLAUSIBLE : size == 0;
}

static int check_bytes(const ferry_request_t *rq, const void *data, size_t size) {
    int r = fi_request_check(rq);

    if (fi_unlikely(r == 0 && !are_plausible(data, size))) {
        return bad_bytes("the result", size);
    }
    return r;
}

int ferry_reply(ferry_request_t *rq, const void *data, size_t size) {
    int r = check_bytes(rq, data, size);
    return fi_likely(r == 0) ? fi_reply(rq, FI_REPLY_RESULT, 0, data, size) : fi_reply_unsaid(rq, r);
}

int ferry_reply_more(ferry_request_t *rq, const void *data, size_t size) {
    int r = check_bytes(rq, data, size);
    return r == 0 ? fi_reply(rq, FI_REPLY_MORE, 0, data, size) : fi_reply_unsaid(rq, r);
}

int ferry_reply_new(ferry_request_t *rq, size_t size, void **data, ferry_msg_t **m) {
    int r = fi_request_check(rq);

    r = r == 0 ? fi_check_output(data, "ferry_reply_new") : r;
    r = r == 0 ? fi_check_output(m, "ferry_reply_new") : r;
    r = r == 0 && size > FI_PLAUSIBLE ? bad_bytes("a result", size) : r;
    return r == 0 ? fi_reply_new(rq, size, data, m) : fi_reply_unsaid(rq, r);
}

int ferry_reply_msg(ferry_request_t *rq, ferry_msg_t *m) {
    int r = fi_request_check(rq);
    return r == 0 ? fi_reply_msg(rq, FI_REPLY_RESULT, m) : r;
}

int ferry_reply_more_msg(ferry_request_t *rq, ferry_msg_t *m) {
    int r = fi_request_check(rq);
    return r == 0 ? fi_reply_msg(rq, FI_REPLY_MORE, m) : r;
}

int ferry_reply_error(ferry_request_t *rq, int32_t code, const char *message, const void *detail, size_t detail_size) {
    int r = fi_request_check(rq);

    if (r == 0 && code == 0) {
        return fi_reply_unsaid(rq, fi_fail(-EINVAL, "an error of a procedure needs a code that is not 0"));
    }
    if (r == 0 && !are_plausible(detail, detail_size)) {
        return fi_reply_unsaid(rq, bad_bytes("the error's detail", detail_size));
    }
    return r == 0 ? fi_reply_error(rq, code, message ? message : "", detail, detail_size) : r;
}

int ferry_request_is_cancelled(const ferry_request_t *rq) {
    int r = fi_request_check(rq);
    return r == 0 ? fi_request_is_cancelled(rq) : r;
}

int ferry_request_private(ferry_request_t *rq, const void **data) {
    unsigned char *copy = NULL;
    int r = fi_request_check(rq);

    r = r == 0 ? fi_check_output(data, "ferry_request_private") : r;
    if (r == 0 && rq->far) {
        *data = rq->data; /* nobody else can write there */
        return 0;
    }
    r = r == 0 ? fi_taken_copy(rq->m, &copy) : r;
    if (r >= 0) {
        *data = copy;
    }
    return r < 0 ? r : 0;
}

int ferry_request_info(const ferry_request_t *rq, ferry_request_info_t *info) {
    int r = fi_request_check(rq);

    r = r == 0 ? fi_check_output(info, "ferry_request_info") : r;
    r = r == 0 ? fi_check_size(info->size, sizeof *info, "ferry_request_info_t") : r;
    if (r < 0) {
        return r;
    }
    *info = (ferry_request_info_t){.size = sizeof *info,
                                   .method = rq->method->name,
                                   .client_node = rq->far ? rq->far->node : rq->m->link->peer->id,
                                   .client = rq->far ? rq->far->client : rq->m->link->tx,
                                   .time_left =
                                       rq->call.deadline == FI_NEVER ? FERRY_FOREVER : fi_time_left(rq->call.deadline),
                                   .attempt = rq->attempt,
                                   .one_way = (rq->call.flags & FI_CALL_ONE_WAY) != 0,
                                   .streams = (rq->call.flags & FI_CALL_STREAMS) != 0};
    return 0;
}
