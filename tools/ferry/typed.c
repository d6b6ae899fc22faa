/* SPDX-License-Identifier: MIT */
#include "typed.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"
#include "tool.h"

/* Says the module's sentence about `what`, and frees it. */
static int failed(const char *what, char *error, int status) {
    if (error != NULL)
        make_plain(error);
    say("%s%s%s", what, error != NULL ? ": " : "", error != NULL ? error : "");
    free(error);
    return status;
}

/* --- the module -------------------------------------------------------------------------------------------------- */

/* In that place, seen from the folder of the tool; NULL: it is not there, and dlerror() says why. */
static void *load(const char *folder, const char *place) {
    char path[2 * PATH_MAX];

    snprintf(path, sizeof path, "%s/%s%s", folder, place, FERRY_JSON_FILE);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static int find_module(const ferry_json_api_t **json) {
    char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    void *module = NULL;

    if (n > 0) {
        folder[n] = '\0';
        *strrchr(folder, '/') = '\0';
        module = load(folder, "");
        if (module == NULL)
            module = load(folder, "../lib/ferry/");
    }
    if (module == NULL) {
        const char *why = n > 0 ? dlerror() : "the tool's own place is not known";
        say("this service speaks protobuf, and the module that makes JSON of it cannot be loaded (%s): install Ferry's "
            "part for protobuf, or say --raw to send and see bytes",
            why != NULL ? why : "for no reason that was told");
        return STATUS_FAILED;
    }
    *json = dlsym(module, FERRY_JSON_SYMBOL);
    if (*json != NULL && (*json)->version == FERRY_JSON_VERSION)
        return 0;
    say("the module %s is of another version than this tool: install both anew, or say --raw to send and see bytes",
        FERRY_JSON_FILE);
    return STATUS_FAILED;
}

int typed_open(typed_t *t, const void *descriptor, size_t size) {
    char *error = NULL;
    int status = find_module(&t->json);

    if (status != 0)
        return status;
    if (t->json->open(descriptor, size, &t->schema, &error) == 0)
        return 0;
    t->json = NULL;
    return failed("the service's descriptor cannot be read (--raw does without)", error, STATUS_FAILED);
}

void typed_close(typed_t *t) {
    if (t->json != NULL)
        t->json->close(t->schema);
    *t = (typed_t){0};
}

/* --- messages ---------------------------------------------------------------------------------------------------- */

int typed_encode(const typed_t *t, const char *type, const char *text, size_t len, char **bytes, size_t *size) {
    char *error = NULL;
    void *made = NULL;

    if (t->json->encode(t->schema, type, text, len, &made, size, &error) == 0) {
        *bytes = made;
        return 0;
    }
    return failed("wrong argument", error, STATUS_USAGE);
}

int typed_decode(const typed_t *t, const char *type, const void *bytes, size_t size, char **text, size_t *len) {
    char *error = NULL;

    if (t->json->decode(t->schema, type, bytes, size, 0, text, len, &error) == 0)
        return 0;
    return failed("wrong result", error, STATUS_FAILED);
}
