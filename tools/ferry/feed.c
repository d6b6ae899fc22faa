/* SPDX-License-Identifier: MIT
 *
 * feed.c - where the records of `send` and `pub` come from: arguments, files, standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "sending.h"
#include "stop.h"
#include "transfer.h"
#include "units.h"

static int feed_arguments(sending_t *s) {
    int status = 0;

    for (size_t i = 0; i < s->n_arguments && status == 0; i++) {
        record_t record = {.data = s->arguments[i], .len = strlen(s->arguments[i])};
        status = sending_put(s, &record);
    }
    return status;
}

/* Before each read: shows progress, and when somebody waits for that (or for --timeout) does not sit in read itself. */
static int before_read(void *arg, int fd) {
    sending_t *s = arg;

    s->look = true;
    while (s->slice >= 0) {
        if (stop_signal() != 0)
            return -ESHUTDOWN;
        if (sending_timed_out(s))
            return -ETIME;
        progress_show(&s->progress, s->records, s->bytes, NULL);
        sending_set_slice(s);
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, poll_timeout(s->slice)) != 0)
            break;
    }
    return stop_signal() != 0 ? -ESHUTDOWN : 0;
}

static int feed_stream(sending_t *s, int fd, const char *name) {
    record_t record;

    records_in_start(&s->in, fd, name);
    for (;;) {
        int result = records_in_next(&s->in, &record);
        if (result == 0)
            return 0;
        if (result == -ETIME)
            return STATUS_TIMED_OUT;
        if (stop_signal() != 0)
            return STATUS_FAILED;
        if (result == -EINTR)
            continue;
        if (result < 0) {
            say("%s", s->in.error);
            return STATUS_FAILED;
        }
        int status = sending_put(s, &record);
        if (status != 0)
            return status;
    }
}

static int send_filled(sending_t *s, ferry_msg_t *message, size_t len) {
    int result = ferry_msg_set_size(message, len);
    int status = 0;

    if (result == 0)
        result = ferry_msg_set_tag(message, TAG_WHOLE);
    if (result < 0)
        return library_failed(result);
    sending_before(s);
    do
        result = ferry_send_msg(s->tx, message, s->slice);
    while (result < 0 && (status = sending_retry(s, result)) == 0);
    if (result < 0)
        return status;
    sending_after(s, len);
    return 0;
}

static int feed_whole_file(sending_t *s, int fd, const char *name, size_t size) {
    ferry_msg_t *message;
    void *data;
    int status = 0;
    int result;

    if (size > sending_limit(s)) {
        char bytes[UNITS_TEXT];
        char limit[UNITS_TEXT];
        say("%s has %s, more than this sender may hold (%s); give it more with --quota", name,
            show_bytes((double)size, bytes), show_bytes((double)sending_limit(s), limit));
        return STATUS_FAILED;
    }
    do
        result = ferry_msg_new(s->tx, size, s->slice, &data, &message);
    while (result < 0 && (status = sending_retry(s, result)) == 0);
    if (result < 0)
        return status;
    ssize_t len = read_fully(fd, data, size); /* straight into the message: the file is copied once in all */
    if (len >= 0) {
        status = send_filled(s, message, (size_t)len);
    } else {
        status = STATUS_FAILED;
        if (stop_signal() == 0)
            say("cannot read %s: %s", name, strerror((int)-len));
    }
    ferry_msg_release(message);
    return status;
}

static int feed_descriptor(sending_t *s, int fd, const char *name) {
    struct stat st;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0;

    /* Files under /proc say that they are empty, so an empty one is read like a stream. */
    if (s->whole && regular && st.st_size > 0)
        return feed_whole_file(s, fd, name, (size_t)st.st_size);
    return feed_stream(s, fd, name);
}

static int feed_file(sending_t *s, const char *name) {
    if (strcmp(name, "-") == 0)
        return feed_descriptor(s, STDIN_FILENO, "standard input");
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say("cannot open '%s': %s", name, strerror(errno));
        return STATUS_FAILED;
    }
    int status = feed_descriptor(s, fd, name);
    close(fd);
    return status;
}

int sending_feed(sending_t *s) {
    framing_t framing = s->nul ? FRAMING_NULS : s->whole ? FRAMING_WHOLE : s->framed ? FRAMING_FRAMED : FRAMING_LINES;
    int status = 0;

    s->in = (records_in_t){.framing = framing, .limit = sending_limit(s), .before_read = before_read, .arg = s};
    if (s->files.n > 0) {
        for (size_t i = 0; i < s->files.n && status == 0; i++)
            status = feed_file(s, s->files.items[i]);
        for (size_t i = 0; i < s->n_arguments && status == 0; i++)
            status = feed_file(s, s->arguments[i]);
    } else if (s->n_arguments > 0) {
        status = feed_arguments(s);
    } else {
        status = feed_descriptor(s, STDIN_FILENO, "standard input");
    }
    records_in_done(&s->in);
    return status;
}
