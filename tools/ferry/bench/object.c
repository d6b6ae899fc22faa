/* SPDX-License-Identifier: MIT */
#include "bench/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *whose(bench_way_t way) {
    return way == BENCH_FERRY ? "Ferry's" : way == BENCH_PEER ? "the other library's" : "the C library's";
}

void bench_object_failed(bench_side_t *me, bench_way_t way, int error) {
    if (error == -EBADMSG) /* the benchmark's own: it has compared */
        bench_fail(me, "what %s object guards or holds is not what it should be", whose(way));
    bench_fail(me, "a call on %s object answered %d (%s)%s%s", whose(way), error, strerror(abs(error)),
               way == BENCH_FERRY ? ": " : "", way == BENCH_FERRY ? ferry_last_error() : "");
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
