/* SPDX-License-Identifier: MIT
 *
 * interleave.c - runs the scenarios; with a name, only those that it matches (with * and ?).
 */
#include "interleave_tests.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    const group_t groups[] = {barrier_group(), buffer_group(), cell_group(),     event_group(),
                              mutex_group(),   rwlock_group(), semaphore_group()};
    size_t count = 0;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        count += groups[i].count;
    struct CMUnitTest *all = calloc(count, sizeof *all);
    if (!all)
        return 1;
    struct CMUnitTest *at = all;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; at += groups[i++].count)
        memcpy(at, groups[i].tests, groups[i].count * sizeof *at);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("interleave", all, count, NULL, NULL);
    free(all);
    return failed != 0;
}
