/* SPDX-License-Identifier: MIT
 *
 * place.c - where a message's bytes are: Ferry's word, and the kernel's.
 */
#include "two_copies.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void page_write(void *page, char version) {
    unsigned char *bytes = page;
    for (size_t i = 0; i < PAGE_BYTES; i++) {
        bytes[i] = (unsigned char)((size_t)(unsigned char)version + i * 7);
    }
}

char page_version(const void *page) {
    /* volatile: another process may be writing, and every reading shall really read. */
    const volatile unsigned char *bytes = page;
    unsigned char version = bytes[0];
    for (size_t i = 1; i < PAGE_BYTES; i++) {
        if (bytes[i] != (unsigned char)(version + i * 7)) {
            return 0;
        }
    }
    return (char)version;
}

/** Looks `address` up in a line of /proc/self/maps; true when it lies in that mapping. */
static bool read_map(const char *line, uintptr_t address, place_t *place) {
    uint64_t begin, end, offset, inode;
    char rights[8];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64, &begin, &end, rights, &offset, &inode) !=
            5 ||
        address < begin || address >= end) {
        return false;
    }
    place->map_inode = inode;
    place->map_offset = offset + (address - begin);
    memcpy(place->rights, rights, sizeof(rights));
    /* The kernel fills the line up to its column for names; one space is enough here. */
    size_t n = 0;
    for (const char *c = line; *c != '\0' && *c != '\n' && n + 1 < sizeof(place->map); c++) {
        if (*c != ' ' || c[1] != ' ') {
            place->map[n++] = *c;
        }
    }
    place->map[n] = '\0';
    return true;
}

int place_of(const ferry_msg_t *m, place_t *place) {
    ferry_msg_place_t said = {0};
    if (ferry_msg_place(m, &said) < 0) {
        return failed("asking for the message's place");
    }
    place_t found = {.inode = said.inode, .offset = said.offset};
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL) {
        perror("two-copies: /proc/self/maps");
        return -1;
    }
    char line[4352]; /* a mapping's line holds a path */
    bool known = false;
    while (!known && fgets(line, sizeof(line), maps) != NULL) {
        known = read_map(line, (uintptr_t)ferry_msg_data(m), &found);
    }
    fclose(maps);
    if (!known) {
        fprintf(stderr, "two-copies: the message's address %p is not in /proc/self/maps\n", ferry_msg_data(m));
        return -1;
    }
    *place = found;
    return 0;
}
