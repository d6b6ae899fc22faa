/* SPDX-License-Identifier: MIT */
#include "bench/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of /proc/PID/smaps_rollup: "Name:   123 kB". */
static bool is_line(const char *line, const char *name, uint64_t *bytes) {
    size_t len = strlen(name);

    if (strncmp(line, name, len) != 0 || line[len] != ':')
        return false;
    *bytes = strtoull(line + len + 1, NULL, 10) * 1024;
    return true;
}

static bool read_rollup(bench_memory_t *memory) {
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    uint64_t anon = 0;
    uint64_t shmem = 0;
    bool found = false;

    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        found |= is_line(line, "Anonymous", &memory->anonymous);
        is_line(line, "Pss_Anon", &anon);
        is_line(line, "Pss_Shmem", &shmem);
    }
    fclose(file);
    memory->pss = anon + shmem;
    return found;
}

static void note_file(bench_file_t *files, size_t *n, uint64_t inode, uint64_t bytes) {
    for (size_t i = 0; i < *n; i++) {
        if (files[i].inode == inode) {
            files[i].bytes = files[i].bytes > bytes ? files[i].bytes : bytes;
            return;
        }
    }
    if (*n < BENCH_MAX_FILES)
        files[(*n)++] = (bench_file_t){.inode = inode, .bytes = bytes};
}

static bool read_maps(bench_memory_t *memory) {
    FILE *file = fopen("/proc/self/maps", "re");
    char line[4352];

    if (file == NULL)
        return false;
    memory->n = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t from, to, offset, inode;
        if (strstr(line, " /memfd:") != NULL &&
            sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64, &from, &to, &offset, &inode) == 4)
            note_file(memory->file, &memory->n, inode, offset + (to - from));
    }
    fclose(file);
    return true;
}

bool bench_memory_read(bench_memory_t *memory) {
    memory->anonymous = 0;
    memory->pss = 0;
    return read_rollup(memory) && read_maps(memory);
}

uint64_t bench_memory_files(const bench_memory_t *const *memories, size_t n) {
    static bench_file_t all[BENCH_MAX_FILES];
    size_t files = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < memories[i]->n; j++)
            note_file(all, &files, memories[i]->file[j].inode, memories[i]->file[j].bytes);
    }
    for (size_t i = 0; i < files; i++)
        bytes += all[i].bytes;
    return bytes;
}
