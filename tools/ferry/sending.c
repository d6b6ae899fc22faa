/* SPDX-License-Identifier: MIT
 *
 * sending.c - putting records into a channel, and waiting: for room, for a receiver, for the end.
 */
#include "sending.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "say.h"
#include "stop.h"
#include "units.h"

enum { RECORDS_PER_LOOK = 64, GRACE_MS = 1000, GRACE_STEP_MS = 10 };

uint64_t sending_limit(const sending_t *s) {
    return s->quota > 0 ? s->quota : UINT64_C(64) << 20;
}

bool sending_timed_out(const sending_t *s) {
    char text[UNITS_TEXT];

    if (s->timeout < 0 || now_ns() - s->started < s->timeout)
        return false;
    say("timed out after %s", show_duration((double)s->timeout, text));
    return true;
}

/* Receivers linked now; 0 also when that cannot be told. */
static uint32_t listeners(const sending_t *s) {
    ferry_sender_stats_t stats = {.size = sizeof stats};

    return ferry_sender_stats(s->tx, &stats) == 0 ? stats.receivers : 0;
}

static const char *waiting_note(const sending_t *s) {
    if (listeners(s) > 0)
        return "waiting for the receivers...";
    return s->kind == FERRY_QUEUE ? "waiting for a receiver..." : "waiting for a subscriber...";
}

int sending_refused(const sending_t *s, int result) {
    if (stop_signal() != 0)
        return STATUS_FAILED;
    if (result != -ESTALE)
        return library_failed(result);
    if (!s->common.quiet)
        say("%s", ferry_last_error());
    return STATUS_NO;
}

int sending_retry(sending_t *s, int result) {
    if (stop_signal() != 0)
        return STATUS_FAILED;
    /* Asked first: with no time left the library does not wait, and tells what it would have waited for. */
    if (sending_timed_out(s))
        return STATUS_TIMED_OUT;
    if (result != -ETIMEDOUT && result != -EINTR && result != -EAGAIN)
        return sending_refused(s, result);
    progress_show(&s->progress, s->records, s->bytes, waiting_note(s));
    sending_set_slice(s);
    return 0;
}

void sending_set_slice(sending_t *s) {
    int64_t left = FERRY_FOREVER;

    if (s->timeout >= 0) {
        left = s->started + s->timeout - now_ns();
        if (left < 0)
            left = 0;
    }
    s->slice = progress_slice(&s->progress, left);
}

/* --- one record -------------------------------------------------------------------------------------------------- */

/* A tag needs a message of its own; only a last line and whole files have one. */
static int put_tagged(sending_t *s, const record_t *record) {
    ferry_msg_t *message;
    void *data;
    int result = ferry_msg_new(s->tx, record->len, s->slice, &data, &message);

    if (result < 0)
        return result;
    if (record->len > 0)
        memcpy(data, record->data, record->len);
    result = ferry_msg_set_tag(message, record->tag);
    if (result == 0)
        result = ferry_send_msg(s->tx, message, s->slice);
    ferry_msg_release(message);
    return result;
}

static void look_for_listeners(sending_t *s) {
    s->look = false;
    s->nobody_listens = listeners(s) == 0;
    if (!s->nobody_listens || s->warned || s->common.quiet || s->retain > 0)
        return;
    s->warned = true;
    say("nobody listens to '%s' now, so what is published is lost (--wait-for 1 waits for a subscriber)", s->channel);
}

void sending_before(sending_t *s) {
    if (s->kind == FERRY_TOPIC && (s->look || s->records % RECORDS_PER_LOOK == 0))
        look_for_listeners(s);
}

void sending_after(sending_t *s, size_t len) {
    s->records++;
    s->bytes += len;
    s->to_nobody += s->nobody_listens;
}

int sending_put(sending_t *s, const record_t *record) {
    sending_before(s);
    for (;;) {
        if (stop_signal() != 0)
            return STATUS_FAILED;
        int result = record->tag != 0 ? put_tagged(s, record) : ferry_send(s->tx, record->data, record->len, s->slice);
        if (result >= 0)
            break;
        int status = sending_retry(s, result);
        if (status != 0)
            return status;
    }
    sending_after(s, record->len);
    return 0;
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

/* After a signal the node is shut down and nothing waits any more; what receivers are just taking may still arrive. */
static void grace(const sending_t *s) {
    ferry_sender_stats_t stats = {.size = sizeof stats};
    const struct timespec step = {.tv_nsec = GRACE_STEP_MS * 1000000L};

    for (int ms = 0; ms < GRACE_MS; ms += GRACE_STEP_MS) {
        if (ferry_sender_stats(s->tx, &stats) < 0 || stats.unreleased == 0 || stats.receivers == 0)
            return;
        nanosleep(&step, NULL);
    }
}

/* Keeps retained records available for --stay. No topic has UINT_MAX subscribers, so only the time ends this wait. */
static int stay(sending_t *s) {
    int64_t end = s->stay < 0 ? INT64_MAX : now_ns() + s->stay;

    while (stop_signal() == 0) {
        int64_t left = end - now_ns();
        if (left <= 0)
            return 0;
        int64_t most = s->slice < 0 || left < s->slice ? left : s->slice;
        int result = ferry_sender_wait(s->tx, UINT_MAX, most);
        int status = result < 0 ? sending_retry(s, result) : 0;
        if (status != 0)
            return status;
    }
    return STATUS_FAILED;
}

int sending_linger(sending_t *s) {
    int status = s->stay != 0 ? stay(s) : 0;
    int64_t end = s->linger < 0 ? INT64_MAX : now_ns() + s->linger;

    while (status == 0) {
        int64_t left = end - now_ns();
        if (left < 0)
            left = 0;
        int64_t most = s->linger < 0 ? s->slice : s->slice >= 0 && s->slice < left ? s->slice : left;
        int result = ferry_sender_flush(s->tx, most);
        if (result >= 0)
            break;
        if (left == 0 && (result == -ETIMEDOUT || result == -EAGAIN)) {
            if (s->durable && !s->common.quiet)
                say("%s", ferry_last_error()); /* the server may say why */
            break;
        }
        status = sending_retry(s, result);
    }
    if (stop_signal() != 0)
        grace(s);
    return status;
}
