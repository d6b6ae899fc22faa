/* SPDX-License-Identifier: MIT */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "tool.h"
#include "units.h"

enum { FIRST_CAPACITY = 64 * 1024 };

/* Somebody made it non-blocking, and it is not ours alone to change. */
static void wait_until_ready(int fd, short events) {
    (void)poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1);
}

int write_fully(int fd, const void *data, size_t len, uint64_t *written) {
    const char *from = data;

    while (len > 0) {
        if (stop_signal() != 0)
            return -ESHUTDOWN;
        ssize_t n = write(fd, from, len);
        if (n >= 0) {
            from += n;
            len -= (size_t)n;
            if (written != NULL)
                *written += (uint64_t)n;
        } else if (errno == EAGAIN) {
            wait_until_ready(fd, POLLOUT);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

ssize_t read_fully(int fd, void *data, size_t size) {
    size_t have = 0;

    while (have < size) {
        if (stop_signal() != 0)
            return -ESHUTDOWN;
        ssize_t n = read(fd, (char *)data + have, size - have);
        if (n == 0)
            break;
        if (n > 0)
            have += (size_t)n;
        else if (errno == EAGAIN)
            wait_until_ready(fd, POLLIN);
        else if (errno != EINTR)
            return -errno;
    }
    return (ssize_t)have;
}

int write_output(const void *data, size_t len, bool *over) {
    int result = write_fully(STDOUT_FILENO, data, len, NULL);

    if (result < 0 && over != NULL)
        *over = true;
    if (result == 0 || result == -EPIPE)
        return STATUS_OK;
    if (result != -ESHUTDOWN)
        say("cannot write to standard output: %s", strerror(-result));
    return STATUS_FAILED;
}

/* --- what the user named ----------------------------------------------------------------------------------------- */

int source_open(source_t *source, const char *name) {
    struct stat st;
    bool standard = strcmp(name, "-") == 0;

    *source = (source_t){.name = standard ? "standard input" : name, .fd = STDIN_FILENO, .size = -1};
    if (!standard)
        source->fd = open(name, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0) {
        say("cannot open '%s': %s", name, strerror(errno));
        return STATUS_FAILED;
    }
    if (fstat(source->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    off_t at = lseek(source->fd, 0, SEEK_CUR);
    /* Files under /proc say that they are empty, so an empty one is read like a stream. */
    if (at >= 0 && at < st.st_size)
        source->size = st.st_size - at;
    return 0;
}

void source_close(source_t *source) {
    if (source->fd > STDIN_FILENO)
        close(source->fd);
    source->fd = -1;
}

ssize_t source_read(const source_t *source, void *data, size_t size) {
    ssize_t n = read_fully(source->fd, data, size);

    if (n >= 0)
        return n;
    if (n != -ESHUTDOWN)
        say("cannot read %s: %s", source->name, strerror((int)-n));
    return -1;
}

static int too_long(const source_t *source, size_t limit) {
    char text[UNITS_TEXT];

    say("%s is longer than %s, the most that is possible here", source->name, show_bytes((double)limit, text));
    return STATUS_NO;
}

int source_read_all(const source_t *source, size_t limit, char **data, size_t *len) {
    size_t capacity = source->size >= 0 ? (size_t)source->size + 1 : FIRST_CAPACITY;
    size_t have = 0;
    char *buffer = NULL;

    if (source->size >= 0 && (uint64_t)source->size > limit)
        return too_long(source, limit);
    for (;; capacity *= 2) {
        char *more = realloc(buffer, capacity);
        if (more == NULL) {
            say("no memory for %zu bytes of %s", capacity, source->name);
            free(buffer);
            return STATUS_FAILED;
        }
        buffer = more;
        ssize_t n = source_read(source, buffer + have, capacity - have);
        have += n > 0 ? (size_t)n : 0;
        if (n < 0 || have > limit) {
            free(buffer);
            return n < 0 ? STATUS_FAILED : too_long(source, limit);
        }
        if (have < capacity)
            break;
    }
    *data = buffer;
    *len = have;
    return 0;
}
