/* SPDX-License-Identifier: MIT
 *
 * json_driver.c - ferry-json for the shell: json-driver MODULE DESCRIPTOR encode|decode TYPE [lines|unset|proto]...
 * From standard input to standard output; an error is one line on standard error, and the status is its errno value.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ferry-json.h"

static char *read_all(FILE *f, size_t *size) {
    char *bytes = NULL;
    *size = 0;
    for (size_t room = 65536;; room *= 2) {
        bytes = realloc(bytes, room);
        if (bytes == NULL) {
            abort();
        }
        *size += fread(bytes + *size, 1, room - *size, f);
        if (*size < room) {
            return bytes;
        }
    }
}

static char *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(125);
    }
    char *bytes = read_all(f, size);
    fclose(f);
    return bytes;
}

static uint32_t read_flags(char **words) {
    uint32_t flags = 0;
    for (; *words != NULL; words++) {
        flags |= strcmp(*words, "lines") == 0   ? FERRY_JSON_LINES
                 : strcmp(*words, "unset") == 0 ? FERRY_JSON_UNSET
                                                : FERRY_JSON_PROTO;
    }
    return flags;
}

static int tell(int r, char *error, const ferry_json_api_t *json) {
    if (r < 0) {
        fprintf(stderr, "%s\n", error != NULL ? error : "(no sentence)");
    }
    json->free_bytes(error);
    return -r;
}

static int translate(const ferry_json_api_t *json, ferry_json_schema_t *schema, char **words) {
    size_t size = 0, out_size = 0;
    char *in = read_all(stdin, &size), *error = NULL, *text = NULL;
    void *out = NULL;
    int r;
    if (strcmp(words[0], "encode") == 0) {
        r = json->encode(schema, words[1], in, size, &out, &out_size, &error);
    } else {
        r = json->decode(schema, words[1], in, size, read_flags(words + 2), &text, &out_size, &error);
        out = text;
    }
    if (r == 0) {
        fwrite(out, 1, out_size, stdout);
    }
    if ((r == 0) != (out != NULL) || (r == 0 && text != NULL && text[out_size] != '\0')) {
        abort();
    }
    json->free_bytes(out);
    free(in);
    return tell(r, error, json);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        return 125;
    }
    void *module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const ferry_json_api_t *json = module != NULL ? dlsym(module, FERRY_JSON_SYMBOL) : NULL;
    if (json == NULL || json->version != FERRY_JSON_VERSION) {
        fprintf(stderr, "%s: it is no module of this version: %s\n", argv[1], module == NULL ? dlerror() : "");
        return 125;
    }
    size_t size = 0;
    char *descriptor = read_file(argv[2], &size), *error = NULL;
    ferry_json_schema_t *schema = NULL;
    int r = json->open(descriptor, size, &schema, &error);
    free(descriptor);
    if (r < 0) {
        return tell(r, error, json);
    }
    r = translate(json, schema, argv + 3);
    json->close(schema);
    json->close(NULL);
    return r;
}
