/* SPDX-License-Identifier: MIT
 *
 * platform/process.h - who we are, and whether somebody else still lives.
 *
 * A pidfd names one process for good, also across PID namespaces: unlike a process id it is never reused, and unlike a
 * socket it is not kept open by a forked child.  No call here blocks.
 */
#ifndef FI_PLATFORM_PROCESS_H
#define FI_PLATFORM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** A pidfd of this process, the caller's to close. Errors: -EMFILE, -ENFILE; -ENOMEM; -ENOSYS. */
int fi_pidfd_self(int *fd);

/**
 * Is a received descriptor a pidfd, and of process `expected_pid` (as the socket told; 0: not visible from here)?
 * A process that has ended meanwhile is accepted: fi_pidfd_dead tells. 0; -EPROTO no; -ENOSYS /proc is not mounted;
 * -EMFILE, -ENFILE.
 */
int fi_pidfd_check(int fd, pid_t expected_pid);

/** Has the process ended? A zombie has. */
bool fi_pidfd_dead(int fd);

/**
 * A number of the program that the process `pid` executes now (0: this one), which is the same as long as it does not
 * execute another one. 0: not known, since the process is another user's, hides, cannot be seen from here, or is in
 * between.
 */
uint64_t fi_process_program(pid_t pid);

/**
 * Has the process `pid` fewer than `count` descriptors left, by its own limit (`ulimit -n`)? False also where that is
 * not known, since the process is another user's, hides, or cannot be seen from here (0).
 */
bool fi_process_lacks_descriptors(pid_t pid, unsigned count);

/** 64 unpredictable bits from the kernel, never 0. */
uint64_t fi_random64(void);

/** Inode of this process's PID namespace, as lsns(8) shows it; 0: not known. See pid_namespaces(7). */
uint64_t fi_process_pid_namespace(void);

/** Name of the running program without its directory; static storage. */
const char *fi_program_name(void);

#endif
