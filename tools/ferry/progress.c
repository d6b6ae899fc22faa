/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "say.h"
#include "units.h"

static const int64_t draw_interval = 200 * 1000 * 1000;
static const int64_t idle_interval = 1000 * 1000 * 1000;

void progress_init(progress_t *p, const common_t *common, const char *verb, bool disturbs) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    bool wanted = common->progress == PROGRESS_YES;
    bool refused = common->progress == PROGRESS_NO || common->quiet;

    *p = (progress_t){.verb = verb, .started = now_ns()};
    p->figures = wanted || (terminal && !refused && !disturbs);
    p->notes = wanted || (terminal && !refused);
}

int64_t progress_slice(const progress_t *p, int64_t limit) {
    if (!p->figures && !p->notes)
        return limit;
    /* Once the rate on show has come down to nothing, there is little to redraw. */
    int64_t slice = p->unchanged > PROGRESS_WINDOW ? idle_interval : draw_interval;
    return limit >= 0 && limit < slice ? limit : slice;
}

/* "sent 1,234 records, 3.2 MiB" and, when `ns` is known, the rates. */
static void describe(const progress_t *p, uint64_t records, uint64_t bytes, char *text, size_t cap) {
    char count[UNITS_TEXT];
    char size[UNITS_TEXT];

    snprintf(text, cap, "%s %s record%s, %s", p->verb, show_count(records, count), records == 1 ? "" : "s",
             show_bytes((double)bytes, size));
}

static void describe_rate(uint64_t records, uint64_t bytes, int64_t ns, char *text, size_t cap) {
    char count[UNITS_TEXT];
    char size[UNITS_TEXT];
    double seconds = (double)(ns > 0 ? ns : 1) / 1e9;

    snprintf(text, cap, "%s/s, %s/s", show_count((uint64_t)((double)records / seconds), count),
             show_bytes((double)bytes / seconds, size));
}

/* The line itself; `line` has room for it. */
static void compose(progress_t *p, int64_t now, uint64_t records, uint64_t bytes, const char *note, char *line,
                    size_t cap) {
    unsigned at = p->draws % PROGRESS_WINDOW;
    /* The slot to be overwritten is the oldest look; before the window is full, the start is. */
    int64_t since = p->draws < PROGRESS_WINDOW ? p->started : p->times[at];
    uint64_t records_then = p->draws < PROGRESS_WINDOW ? 0 : p->records[at];
    uint64_t bytes_then = p->draws < PROGRESS_WINDOW ? 0 : p->bytes[at];
    p->times[at] = now;
    p->records[at] = records;
    p->bytes[at] = bytes;
    p->draws++;

    char total[120] = "";
    char rate[120] = "";
    if (p->figures) {
        describe(p, records, bytes, total, sizeof total);
        describe_rate(records - records_then, bytes - bytes_then, now - since, rate, sizeof rate);
    }
    snprintf(line, cap, "%s%s%s%s%s%s", total, p->figures ? " (" : "", rate, p->figures ? ")" : "",
             note != NULL && p->figures ? "; " : "", note != NULL ? note : "");
}

void progress_show(progress_t *p, uint64_t records, uint64_t bytes, const char *note) {
    char line[400];

    if (!p->figures && !p->notes)
        return;
    int64_t now = now_ns();
    if (now < p->next)
        return;
    p->next = now + draw_interval;
    p->unchanged = records == p->last_records && note == p->last_note ? p->unchanged + 1 : 0;
    p->last_records = records;
    p->last_note = note;
    if (!p->figures && note == NULL)
        return;
    compose(p, now, records, bytes, note, line, sizeof line);
    say_passing(line);
}

void progress_end(progress_t *p, uint64_t records, uint64_t bytes) {
    char total[120];
    char rate[120];
    char took[UNITS_TEXT];
    int64_t ns = now_ns() - p->started;

    say_wipe();
    if (!p->figures)
        return;
    describe(p, records, bytes, total, sizeof total);
    describe_rate(records, bytes, ns, rate, sizeof rate);
    say("%s in %s (%s)", total, show_duration((double)ns, took), rate);
}
