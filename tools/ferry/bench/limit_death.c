/* SPDX-License-Identifier: MIT
 *
 * The limit of noticing a death: from kill() until the pidfd of the killed process polls readable.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/limits.h"

int64_t bench_death(pid_t pid) {
    struct pollfd dead = {.events = POLLIN};
    int64_t ns = -ETIMEDOUT;

    dead.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (dead.fd < 0)
        return -errno;
    int64_t from = bench_now_ns();
    kill(pid, SIGKILL);
    if (poll(&dead, 1, 5000) == 1)
        ns = bench_now_ns() - from;
    close(dead.fd);
    return ns;
}
