/* SPDX-License-Identifier: MIT */
#include "bench/object.h"

#include <stdlib.h>
#include <string.h>

void bench_object_failed(bench_side_t *me, bench_way_t way, int error) {
    if (way == BENCH_FERRY)
        bench_fail(me, "a call on Ferry's object answered %d (%s): %s", error, strerror(abs(error)),
                   ferry_last_error());
    bench_fail(me, "a call on the C library's object answered %d (%s)", error, strerror(abs(error)));
}

ferry_sync_options_t bench_object_options(const bench_side_t *me) {
    return (ferry_sync_options_t){.wait = me->settings->wait};
}

void bench_object_row(bench_row_t *row, const char *bench, const char *work, const bench_settings_t *settings) {
    bench_row_text(row, "bench", "bench", bench);
    if (work != NULL)
        bench_row_text(row, "work", "work", work);
    bench_row_text(row, "between", "between", bench_between_word(settings->between));
    bench_row_text(row, "wait", "wait", bench_wait_word(settings->wait));
    bench_row_text(row, "cores", "cores", bench_pin_word(settings->pin));
    bench_row_add(row, "processes", "sides", BENCH_NUMBER, settings->parties);
}
