/* SPDX-License-Identifier: MIT */
#include "bench/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "say.h"

bool bench_module_find(const char *file, char *path, size_t cap) {
    ssize_t len = readlink("/proc/self/exe", path, cap - 1);

    path[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(path, '/');
    size_t directory = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    snprintf(path + directory, cap - directory, "bench-peers/%s", file);
    return access(path, R_OK) == 0;
}

const void *bench_module_load(const char *path, const char *symbol) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const void *found = module != NULL ? dlsym(module, symbol) : NULL;

    if (found == NULL)
        say("cannot load %s: %s", path, dlerror());
    return found;
}
