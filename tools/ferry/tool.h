/* SPDX-License-Identifier: MIT
 *
 * tool.h - what every command of the tool shares: exit statuses, the settings every command knows, and the
 * commands themselves.
 */
#ifndef FERRY_TOOL_H
#define FERRY_TOOL_H

#include <stdbool.h>
#include <stddef.h>

#include <ferry/ferry.h>

/* Exit statuses; a command ended by a signal shows as 128 and the signal's number. */
enum {
    STATUS_OK = 0,
    STATUS_NO = 1,            /* a negative answer: not everything was delivered, nothing is there */
    STATUS_USAGE = 2,         /* the command line is wrong */
    STATUS_NOT_OBTAINED = 75, /* a lock could not be had at once, or would never come (EX_TEMPFAIL of sysexits.h) */
    STATUS_TIMED_OUT = 124,   /* --timeout passed */
    STATUS_FAILED = 125,      /* Ferry or the system failed */
    STATUS_CANNOT_RUN = 126,  /* the command that was to be run is there, but cannot be */
    STATUS_NOT_FOUND = 127    /* there is no such command to run */
};

/* Whether progress is shown. */
enum { PROGRESS_AUTO = 0, PROGRESS_YES = 1, PROGRESS_NO = 2 };

/* Options that stand before or after any command. */
typedef struct common {
    const char *space; /* NULL: none was named */
    const char *directory;
    const char *group;
    bool quiet;
    bool json;
    int progress;
} common_t;

/* The space to use when the command needs exactly one: --space, else $FERRY_SPACE, else "default". */
const char *common_space(const common_t *common);

/* Does that space span machines? */
bool space_is_far(const common_t *common);
/* The same of any space. */
bool spans_machines(const char *space);

/* Options for ferry_open, ferry_look and the like; `name` is what `ferry ls` calls the node. */
ferry_options_t common_options(const common_t *common, const char *name);

/* For commands that may meet a thousand others and run no command, which would inherit this. */
void raise_descriptor_limit(void);

/* Opens a node; on failure says why and returns the exit status in `*status`. */
bool common_open(const common_t *common, const char *name, ferry_t **node, int *status);

/* Says what is doubtful about a node's connections (ferry_warning), unless it was said already. */
void common_warn(const common_t *common, const ferry_t *node);

/* Says the library's sentence for its negative result `error`, and returns the exit status that fits. */
int library_failed(int error);

/* Does this error of a receiver concern one of its senders only, while the others are served? It is said
 * then. */
bool lost_one_sender(int error);

/* Writes what standard output still buffers; returns `status`, or STATUS_FAILED with a sentence if that failed. */
int finish_output(int status);

/* The commands: each gets its own name as argv[0] and returns an exit status. */
int command_send(int argc, char **argv);
int command_pub(int argc, char **argv);
int command_recv(int argc, char **argv);
int command_sub(int argc, char **argv);
int command_tap(int argc, char **argv);
int command_purge(int argc, char **argv);
int command_kick(int argc, char **argv);
int command_lock(int argc, char **argv);
int command_sem(int argc, char **argv);
int command_barrier(int argc, char **argv);
int command_event(int argc, char **argv);
int command_cell(int argc, char **argv);
int command_region(int argc, char **argv);
int command_work(int argc, char **argv);
int command_call(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_why(int argc, char **argv);
int command_route(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_engine(int argc, char **argv);

#endif
