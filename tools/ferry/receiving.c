/* SPDX-License-Identifier: MIT
 *
 * receiving.c - taking records from a channel and writing them out, and all the ways in which that ends.
 */
#include "receiving.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "units.h"

enum { BATCH = 128 };

int receiving_open(receiving_t *r) {
    bool durable = r->durable || r->replay_text != NULL;
    const ferry_contract_t contract = {
        .size = sizeof contract, .type_name = r->type, .durable = durable ? FERRY_DURABLE : FERRY_DURABLE_ANY};
    const ferry_receiver_options_t options = {.size = sizeof options,
                                              .contract = &contract,
                                              .max_held = (uint32_t)r->max_held,
                                              .may_lose = r->may_lose,
                                              .no_history = r->no_history,
                                              .tap = r->tap,
                                              .depth = (uint32_t)r->depth,
                                              .newest = (ferry_newest_t)r->newest,
                                              .replay = r->replay,
                                              .replay_from = r->replay_from,
                                              .plain = r->plain,
                                              .senders = r->follow ? UINT32_MAX : (uint32_t)r->senders};

    int result = ferry_receiver_open(r->node, r->channel, r->kind, &options, &r->rx);

    common_warn(&r->common, r->node);
    return result;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* What a result of the writing side means. */
static step_t written(int result, int *status) {
    if (result == 0)
        return STEP_ON;
    if (result == -EPIPE)
        return STEP_ENDED;
    *status = STATUS_FAILED;
    if (result == -EFBIG)
        say("a record is longer than 4 GiB, which --framed cannot say; it was given back");
    else if (result != -ESHUTDOWN)
        say("cannot write to standard output: %s; what was not written was given back", strerror(-result));
    return STEP_STATUS;
}

static step_t flush(receiving_t *r, int *status) {
    if (r->on_terminal && r->out.n_held > 0)
        say_wipe();
    step_t step = written(records_out_flush(&r->out), status);
    progress_show(&r->progress, r->out.records, r->out.bytes, NULL);
    return step;
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

/* How long to wait for a message: until --idle, --timeout or the next draw. */
static int64_t patience(const receiving_t *r) {
    int64_t now = now_ns();
    int64_t left = FERRY_FOREVER;

    if (r->timeout >= 0)
        left = r->started + r->timeout - now;
    if (r->idle >= 0 && (r->timeout < 0 || r->last_message + r->idle - now < left))
        left = r->last_message + r->idle - now;
    if (left < 0 && (r->timeout >= 0 || r->idle >= 0))
        left = 0;
    return progress_slice(&r->progress, left);
}

/* Whether --idle or --timeout has passed. */
static step_t out_of_patience(const receiving_t *r, int *status) {
    char text[UNITS_TEXT];
    int64_t now = now_ns();

    if (r->idle >= 0 && now - r->last_message >= r->idle)
        return STEP_ENDED;
    if (r->timeout < 0 || now - r->started < r->timeout)
        return STEP_ON;
    say("timed out after %s", show_duration((double)r->timeout, text));
    *status = STATUS_TIMED_OUT;
    return STEP_STATUS;
}

/*
 * Waits until a message is there, or the output is closed: a reader that has seen enough must not wait for the next
 * message to be told. The descriptor is watched for errors only.
 */
static step_t wait_for_message(receiving_t *r, int *status) {
    ferry_pollitem_t items[2] = {{.receiver = r->rx, .events = FERRY_POLL_IN}, {.fd = r->out.fd}};
    int result = ferry_poll(items, 2, patience(r));

    if (stop_signal() != 0) {
        *status = STATUS_FAILED;
        return STEP_STATUS;
    }
    if (result < 0 && result != -EINTR && result != -ETIMEDOUT && result != -EAGAIN) {
        *status = library_failed(result);
        return STEP_STATUS;
    }
    if (result > 0 && (items[1].revents & (FERRY_POLL_ERR | FERRY_POLL_END)) != 0)
        return STEP_ENDED;
    if (result > 0)
        return STEP_ON;
    int senders = ferry_receiver_senders(r->rx);
    const char *note = r->kind == FERRY_QUEUE ? "waiting for a sender..." : "waiting for a publisher...";
    progress_show(&r->progress, r->out.records, r->out.bytes, senders == 0 ? note : NULL);
    if (senders > 0 && !r->progress.figures)
        say_wipe();
    return out_of_patience(r, status);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* What comes next is decided when it is taken: each record is written before that. */
static bool picks(const receiving_t *r) {
    return r->newest != FERRY_NEWEST_ALL || r->depth > 0;
}

static size_t batch_size(const receiving_t *r) {
    size_t most = picks(r) ? 1 : BATCH;

    if (r->count > 0 && r->count - r->taken < most)
        most = (size_t)(r->count - r->taken);
    return records_out_room(&r->out) < most ? records_out_room(&r->out) : most;
}

static step_t took(receiving_t *r, ferry_msg_t **messages, size_t n, int *status) {
    r->taken += n;
    r->last_message = r->idle >= 0 ? now_ns() : 0;
    if (r->on_terminal)
        say_wipe();
    step_t step = written(records_out_add(&r->out, messages, n), status);
    if (step != STEP_ON)
        return step;
    bool enough = r->count > 0 && r->taken >= r->count;
    if (enough || picks(r) || records_out_room(&r->out) < BATCH)
        step = flush(r, status);
    progress_show(&r->progress, r->out.records, r->out.bytes, NULL);
    if (step == STEP_ON && enough)
        return STEP_ENDED;
    return step == STEP_ON && r->timeout >= 0 ? out_of_patience(r, status) : step;
}

/* Nothing could be taken now: first what was taken is written out and acknowledged, then `result` says what to do. */
static step_t took_nothing(receiving_t *r, int result, int *status) {
    step_t step = flush(r, status);

    if (step != STEP_ON)
        return step;
    switch (result) {
    case -EAGAIN:
    case -ETIMEDOUT:
        return wait_for_message(r, status);
    case -EPIPE:
        return STEP_ENDED;
    case -EINTR:
    case -EDQUOT: /* as many as --max-held were held; now none is */
        return STEP_ON;
    default:
        if (lost_one_sender(result)) {
            r->broken = true;
            return STEP_ON;
        }
        *status = stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
        return STEP_STATUS;
    }
}

int receiving_run(receiving_t *r) {
    ferry_msg_t *messages[BATCH];
    int status = STATUS_OK;
    step_t step = STEP_ON;

    while (step == STEP_ON) {
        if (stop_signal() != 0)
            return STATUS_FAILED;
        int n = ferry_recv_batch(r->rx, messages, batch_size(r), FERRY_NOW);
        step = n > 0 ? took(r, messages, (size_t)n, &status) : took_nothing(r, n, &status);
    }
    return step == STEP_ENDED && r->broken ? STATUS_NO : status;
}
