/* SPDX-License-Identifier: MIT
 *
 * text.c - see text.h.
 */
#include "text.h"
#include "words.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** The first beginning of a line at or after `offset`. */
static const char *line_from(const share_t *s, size_t offset) {
    if (offset == 0) {
        return s->text;
    }
    const char *before = memchr(s->text + offset - 1, '\n', s->size - (offset - 1));
    return before != NULL ? before + 1 : s->text + s->size;
}

int share_open(share_t *s, const char *path, unsigned shares, unsigned number) {
    *s = (share_t){.text = "", .begin = "", .end = ""};
    s->begin = s->end = s->text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    if (st.st_size > 0) { /* an empty file cannot be mapped, and has no lines */
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            close(fd);
            return -1;
        }
        s->text = map;
        s->size = (size_t)st.st_size;
        s->begin = line_from(s, s->size / shares * number);
        s->end = number + 1 == shares ? s->text + s->size : line_from(s, s->size / shares * (number + 1));
    }
    close(fd);
    return 0;
}

void share_close(share_t *s) {
    if (s->size > 0) {
        munmap((void *)(uintptr_t)s->text, s->size);
    }
}

size_t share_next(const share_t *s, const char *at, size_t limit) {
    const char *newline = memchr(at, '\n', (size_t)(s->end - at));
    size_t line = (size_t)((newline != NULL ? newline + 1 : s->end) - at);
    if (line <= limit) {
        return line;
    }
    size_t piece = limit;
    while (piece > 0 && words_is_letter(at[piece - 1])) {
        piece--;
    }
    return piece;
}
