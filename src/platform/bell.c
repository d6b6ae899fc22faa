/* SPDX-License-Identifier: MIT
 *
 * platform/bell.c - see bell.h.
 *
 * A ring is one system call where the kernel knows RWF_NOSIGNAL (6.18): the write then cannot raise SIGPIPE, and with
 * RWF_NOWAIT it cannot block either.  The kernel answers EOPNOTSUPP, before it writes anything, to a flag it does not
 * know; what it knows is remembered.
 *
 * Older kernels: SIGPIPE is blocked in this thread around the write, three system calls in the common case.  If the
 * write did raise it, the signal is pending for this thread alone and is taken with sigtimedwait.  If the caller had it
 * blocked already, one may have been pending before and is the caller's to see; since a signal is pending once, ours
 * has then merged into it and nothing is to be taken.
 *
 * Why not keep a read end of the pipe in every ringer, so that there is always a reader?  A reader can steal rings, and
 * the ringer may belong to another user.
 */
#include "platform/bell.h"

#include "platform/cancel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "platform/clock.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

int fi_bell_init(fi_bell_t *bell) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return fi_fail_errno(errno, "cannot make a pipe to be woken by (see ulimit -n)");
    /* One page holds more rings than anybody needs, and pipe memory is limited per user. A refusal changes nothing. */
    (void)fcntl(ends[1], F_SETPIPE_SZ, 4096);
    *bell = (fi_bell_t){.rd = ends[0], .wr = ends[1]};
    return 0;
}

void fi_bell_done(fi_bell_t *bell) {
    if (bell->rd >= 0)
        close(bell->rd);
    if (bell->wr >= 0)
        close(bell->wr);
    *bell = (fi_bell_t){.rd = -1, .wr = -1};
}

/* What the kernel can do, found out by ringing: each level is tried once per process and left when it is refused. */
enum { QUIET_AND_PROMPT, PROMPT, PLAIN };
static uint32_t ability = QUIET_AND_PROMPT;

/* Writes one byte with the given flags; true when the kernel knows them, whatever became of the byte. */
static bool write_byte(int wr, int flags) {
    char ring = 1;
    struct iovec one = {.iov_base = &ring, .iov_len = 1};
    if (pwritev2(wr, &one, 1, -1, flags) == 1)
        return true;
    return errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS && errno != EPERM;
}

static void write_byte_here(int wr) {
    if (fi_load_relaxed32(&ability) == PROMPT) {
        if (write_byte(wr, RWF_NOWAIT))
            return;
        fi_store_relaxed32(&ability, PLAIN);
    }
    char ring = 1;
    ssize_t ignored = write(wr, &ring, 1); /* full: it is rung already; no reader: there is nobody to wake */
    (void)ignored;
}

static void ring_with_signal_blocked(int wr) {
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    if (pthread_sigmask(SIG_BLOCK, &pipe_signal, &before) != 0)
        return;
    bool was_blocked = sigismember(&before, SIGPIPE) == 1;
    bool was_pending = was_blocked && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    errno = 0;
    write_byte_here(wr);
    if (errno == EPIPE && !was_pending) {
        const struct timespec at_once = {0};
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    if (!was_blocked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void fi_bell_ring(int wr) {
    int saved = errno;
    int cancel = fi_cancel_off(); /* a call rings in the middle of its work */
    if (fi_load_relaxed32(&ability) != QUIET_AND_PROMPT) {
        ring_with_signal_blocked(wr);
    } else if (!write_byte(wr, RWF_NOWAIT | RWF_NOSIGNAL)) {
        fi_store_relaxed32(&ability, PROMPT);
        ring_with_signal_blocked(wr);
    }
    fi_cancel_restore(cancel);
    errno = saved;
}

int fi_bell_check(int fd) {
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))
        return fi_fail(-EPROTO, "a peer sent a descriptor that is not a pipe where its doorbell should be");
    if ((flags & O_ACCMODE) != O_WRONLY || (flags & O_NONBLOCK) == 0)
        return fi_fail(-EPROTO, "a peer sent a doorbell that is not a write end or that would block");
    return 0;
}

/* Bounded: what the pipe can hold, and no more while others keep ringing. */
void fi_bell_drain(int rd) {
    int saved = errno;
    char rings[4096];
    for (int i = 0; i < 16; i++) {
        ssize_t n = read(rd, rings, sizeof rings);
        if (n < (ssize_t)sizeof rings && !(n < 0 && errno == EINTR))
            break;
    }
    errno = saved;
}

bool fi_bell_is_rung(int rd) {
    int saved = errno;
    struct pollfd item = {.fd = rd, .events = POLLIN};
    bool rung = poll(&item, 1, 0) != 0; /* what fails proves nothing */
    errno = saved;
    return rung;
}

int fi_bell_wait(int rd, int64_t deadline) {
    struct pollfd item = {.fd = rd, .events = POLLIN};
    struct timespec left = fi_timespec(fi_time_left(deadline));
    int n = ppoll(&item, 1, deadline == FI_NEVER ? NULL : &left, NULL);
    if (n < 0)
        return -errno;
    return n > 0;
}
