/* SPDX-License-Identifier: MIT
 *
 * The names of objects in a space's directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "node/contract.h"
#include "node/object.h"

void fi_object_entry_name(const fi_object_entry_t *e, char name[FI_OBJECT_NAME_MAX]) {
    snprintf(name, FI_OBJECT_NAME_MAX, "o-%s:%c:%016" PRIx64 ":%016" PRIx64, e->name, (int)e->kind, e->node,
             e->instance);
}

/* As for entries of ends: a name is one exactly if writing what was read gives it again. */
static bool parse(const char *name, fi_object_entry_t *e) {
    char again[FI_OBJECT_NAME_MAX];
    char kind;

    memset(e, 0, sizeof *e);
    if (strlen(name) >= sizeof again ||
        sscanf(name, "o-%103[^:]:%c:%16" SCNx64 ":%16" SCNx64, e->name, &kind, &e->node, &e->instance) != 4) {
        return false;
    }
    e->kind = (uint32_t)kind;
    fi_object_entry_name(e, again);
    return strcmp(name, again) == 0 && e->node != 0 && fi_name_check("object", e->name, 100) == 0;
}

struct walk {
    const char *name;
    int (*each)(const fi_object_entry_t *e, void *arg);
    void *arg;
};

static int visit(const char *name, void *arg) {
    const struct walk *w = arg;
    fi_object_entry_t e;

    if (strncmp(name, "o-", 2) != 0 || !parse(name, &e) || (w->name && strcmp(e.name, w->name) != 0)) {
        return 0;
    }
    return w->each(&e, w->arg);
}

int fi_object_each(fi_space_t *s, const char *name, int (*each)(const fi_object_entry_t *e, void *arg), void *arg) {
    struct walk w = {.name = name, .each = each, .arg = arg};

    return fi_space_each_name(s, visit, &w);
}

/* The name says all, so the file is empty, and appears in one step. */
int fi_object_entry_write(fi_space_t *s, const fi_object_entry_t *e) {
    char name[FI_OBJECT_NAME_MAX];

    fi_object_entry_name(e, name);
    int fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, s->group ? 0640 : 0600);
    if (fd < 0) {
        return fi_fail_errno(errno, "cannot write the name of an object in \"%s\"", s->path);
    }
    if (s->group) {
        (void)fchmod(fd, 0640); /* whatever the umask: members may see what is open */
    }
    close(fd);
    return 0;
}

void fi_object_entry_remove(fi_space_t *s, const fi_object_entry_t *e) {
    char name[FI_OBJECT_NAME_MAX];

    fi_object_entry_name(e, name);
    (void)unlinkat(s->dirfd, name, 0);
}
