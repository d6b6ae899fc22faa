/* SPDX-License-Identifier: MIT
 *
 * host/profile.c - see profile.h.
 */
#include "host/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

const uint32_t fi_host_copy_bytes[FERRY_HOST_COPIES] = {256, 4096, 65536, 1048576};

/* One figure of a profile, and what can be true of it. */
typedef struct figure {
    const char *name;
    size_t offset;
    uint64_t least;
    uint64_t most;
} figure_t;

#define COPY(i) offsetof(ferry_host_t, copy_mbps) + (i) * sizeof(uint64_t)

static const figure_t figures[] = {
    {"wake_ns", offsetof(ferry_host_t, wake_ns), 100, 10000000},
    {"line_ns", offsetof(ferry_host_t, line_ns), 0, 100000},
    {"page_ns", offsetof(ferry_host_t, page_ns), 1, 1000000},
    {"copy_256_mbps", COPY(0), 1, 10000000},
    {"copy_4096_mbps", COPY(1), 1, 10000000},
    {"copy_65536_mbps", COPY(2), 1, 10000000},
    {"copy_1048576_mbps", COPY(3), 1, 10000000},
};

enum { FIGURES = sizeof figures / sizeof figures[0] };

static uint64_t *place(ferry_host_t *h, const figure_t *f) {
    return (uint64_t *)(void *)((char *)h + f->offset);
}

const char *fi_host_source_word(const ferry_host_t *h) {
    static const char *const words[] = {"assumed", "measured", "given"};

    return words[h->source <= FERRY_HOST_GIVEN ? h->source : FERRY_HOST_ASSUMED];
}

ferry_host_t fi_host_assumed(void) {
    return (ferry_host_t){.wake_ns = 30000, .line_ns = 80, .page_ns = 300, .copy_mbps = {16000, 20000, 12000, 9000}};
}

/* A name and a number; false: not that. The line may be changed. */
static bool split(char *line, char **name, uint64_t *value) {
    char *rest = NULL;
    char tail;

    *name = strtok_r(line, " \t\r", &rest);
    const char *number = strtok_r(NULL, " \t\r", &rest);
    return *name && number && !strtok_r(NULL, " \t\r", &rest) && number[0] >= '0' && number[0] <= '9' &&
           sscanf(number, "%19" SCNu64 "%c", value, &tail) == 1;
}

static int take_line(char *line, unsigned number, const char *what, ferry_host_t *h, unsigned *seen) {
    char *name;
    uint64_t value;

    line[strcspn(line, "#")] = '\0';
    if (line[strspn(line, " \t\r")] == '\0') {
        return 0;
    }
    if (!split(line, &name, &value)) {
        return fi_fail(-EINVAL, "%s, line %u: not a name and a whole number, as in `wake_ns 24000`", what, number);
    }
    for (unsigned i = 0; i < FIGURES; i++) {
        const figure_t *f = &figures[i];
        if (strcmp(name, f->name) != 0) {
            continue;
        }
        if (*seen & 1u << i) {
            return fi_fail(-EINVAL, "%s, line %u: %s stands there twice", what, number, name);
        }
        if (value < f->least || value > f->most) {
            return fi_fail(-EINVAL, "%s, line %u: %s is %" PRIu64 ", which cannot be: from %" PRIu64 " to %" PRIu64,
                           what, number, name, value, f->least, f->most);
        }
        *place(h, f) = value;
        *seen |= 1u << i;
        return 0;
    }
    return fi_fail(-EINVAL, "%s, line %u: \"%.40s\" is no figure of a profile", what, number, name);
}

int fi_host_parse(const char *text, size_t len, const char *what, ferry_host_t *host) {
    char copy[FI_PROFILE_MAX + 1];
    ferry_host_t h = {0};
    unsigned seen = 0;
    unsigned number = 0;

    if (len > FI_PROFILE_MAX || memchr(text, '\0', len)) {
        return fi_fail(-EINVAL, "%s is no profile: it has more than %u bytes, or is no text", what, FI_PROFILE_MAX);
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        int r = take_line(line, ++number, what, &h, &seen);
        if (r < 0) {
            return r;
        }
    }
    for (unsigned i = 0; i < FIGURES; i++) {
        if (!(seen & 1u << i)) {
            return fi_fail(-EINVAL, "%s is no whole profile: it does not say %s", what, figures[i].name);
        }
    }
    *host = h;
    return 0;
}

size_t fi_host_print(const ferry_host_t *host, char *text, size_t cap) {
    ferry_host_t h = *host;
    size_t used = (size_t)snprintf(text, cap, "# ferry host profile, %s\n", fi_host_source_word(host));

    for (unsigned i = 0; i < FIGURES && used < cap; i++) {
        used += (size_t)snprintf(text + used, cap - used, "%s %" PRIu64 "\n", figures[i].name, *place(&h, &figures[i]));
    }
    return used < cap ? used : 0;
}
