/* SPDX-License-Identifier: MIT */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const char usual_host[] = "wake_ns 24000\nline_ns 210\npage_ns 3500\ncopy_256_mbps 40000\ncopy_4096_mbps 74000\n"
                          "copy_65536_mbps 50000\ncopy_1048576_mbps 43000\n";

const char *in_directory(const char *name) {
    static char path[4096];

    check(snprintf(path, sizeof path, "%s/%s", getenv("FERRY_DIR"), name) < (int)sizeof path);
    return path;
}

void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");

    check(f != NULL);
    check(fputs(text, f) >= 0 && fclose(f) == 0);
    check_is(chmod(path, mode), 0);
}

void give_profile(const char *text) {
    char path[4096];

    snprintf(path, sizeof path, "%s", in_directory("given"));
    write_file(path, text, 0600);
    check_is(setenv("FERRY_HOST_PROFILE", path, 1), 0);
}

const ferry_route_link_t *only_link(const char *channel, ferry_route_t **route) {
    check_is(ferry_route("test", channel, NULL, route), 0);
    check_is(ferry_route_links(*route), 1);
    return ferry_route_link(*route, 0);
}
