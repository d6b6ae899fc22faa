/* SPDX-License-Identifier: MIT
 *
 * doctor.h - one check each of what Ferry needs, made by trying it where that is possible.
 */
#ifndef FERRY_TOOL_DOCTOR_H
#define FERRY_TOOL_DOCTOR_H

#include "tool.h"

typedef enum verdict {
    VERDICT_OK,
    VERDICT_WARN, /* Ferry works, but slower or with less room */
    VERDICT_FAIL  /* Ferry does not work here */
} verdict_t;

typedef struct finding {
    bool made; /* this check concerns us */
    verdict_t verdict;
    char found[360];  /* what is the case */
    char advice[360]; /* what to do about it; "": nothing */
} finding_t;

typedef void check_t(const common_t *common, finding_t *finding);

/* Sets verdict and what was found. */
void find(finding_t *finding, verdict_t verdict, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Sets what to do. */
void advise(finding_t *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* doctor_kernel.c: what only another kernel, or fewer filters on this process, could change */
check_t check_kernel, check_proc, check_memory_files, check_pidfd, check_barrier, check_populate;

/* doctor_limits.c: what an administrator can change */
check_t check_descriptors, check_file_size, check_memory, check_cores, check_huge_pages, check_inotify;

/* doctor_space.c: the place where processes meet */
check_t check_directory, check_room, check_leftovers, check_versions, check_message;

/* doctor_net.c: of a space that spans machines. In this order: each may build upon those before it. */
check_t check_server, check_encryption, check_login, check_connection, check_channels, check_calls, check_storage;
void doctor_net_done(void);

#endif
