/* SPDX-License-Identifier: MIT */
#include "net/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "base/error.h"
#include "node/node.h"

#define LIBRARY "libnats.so.3.4" /* its interface changes with the second number */

fi_nats_t fi_nats;

static const struct {
    const char *name;
    size_t at;
} functions[] = {
#define FI_NATS_ENTRY(name) {#name, offsetof(fi_nats_t, name)},
    FI_NATS_FUNCTIONS(FI_NATS_ENTRY)
#undef FI_NATS_ENTRY
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int loaded;          /* 0 or a negative errno */
static const char *lacking; /* a function's name */
static uint32_t generation; /* of the process that loaded it */

/* It stays loaded: its threads and its thread-local memory outlive any node. */
static void load(void) {
    generation = fi_process_generation;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        loaded = -ENOPKG;
        return;
    }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *address = dlsym(library, functions[i].name);
        if (!address) {
            lacking = functions[i].name;
            loaded = -ENOPKG;
            return;
        }
        *(void **)((char *)&fi_nats + functions[i].at) = address;
    }
    loaded = fi_nats.nats_Open(-1) == NATS_OK ? 0 : -ENOMEM;
}

int fi_nats_load(void) {
    pthread_once(&once, load);
    if (generation != fi_process_generation) {
        return fi_fail(
            -ECHILD,
            "this process was forked by one that had a networked space open, whose library does not work in its "
            "children: open the space before that one does, or exec first");
    }
    if (loaded == 0) {
        return 0;
    }
    if (lacking) {
        return fi_fail(loaded, "%s has no function %s: install the package libnats3.4", LIBRARY, lacking);
    }
    return fi_fail(loaded, loaded == -ENOPKG ? "a networked space needs the library " LIBRARY
                                               ": install the package libnats3.4"
                                             : "the library " LIBRARY " cannot start: not enough memory");
}
