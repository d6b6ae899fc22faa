/* SPDX-License-Identifier: MIT */
#define FERRY_TESTS_SHORT_FORMS
#include "regions.h"

ferry_region_t *open_region(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options) {
    ferry_region_t *region = NULL;
    check_is(ferry_region_open(node, name, bytes, options, &region), 0);
    return region;
}

ferry_region_t *open_region_with_root(ferry_t *node, const char *name, uint64_t bytes, uint64_t root) {
    ferry_region_options_t options = {.type_size = root};
    return open_region(node, name, bytes, &options);
}

void close_region(ferry_region_t *region) {
    check_is(ferry_region_close(region), 0);
}

ferry_ref_t allocate(ferry_region_t *region, uint64_t bytes) {
    ferry_ref_t ref = 0;
    check_is(ferry_region_alloc(region, bytes, &ref), 0);
    check(ref != 0 && ref % 16 == 0);
    check(ferry_region_span(region, ref, bytes) != NULL);
    return ref;
}

void free_block(ferry_region_t *region, ferry_ref_t ref) {
    check_is(ferry_region_free(region, &ref), 0);
    check(ref == 0);
}

ferry_region_info_t info_of_region(ferry_region_t *region) {
    ferry_region_info_t info = {0};
    check_is(ferry_region_info(region, &info), 0);
    return info;
}
