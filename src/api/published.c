/* SPDX-License-Identifier: MIT */
#include "region/published.h"
#include "api/check.h"
#include "net/mirror.h"
#include "net/publisher.h"
#include "platform/cancel.h"
#include "platform/clock.h"
#include "platform/save.h"

#define YIELD_NS INT64_C(1000000000) /* for copies of a writer that is gone (net/mirror.h) */
#define NAP_NS INT64_C(10000000)

/* ---- writing ---- */

/* Nobody elsewhere writes it: who is in the way here may be a copy that has not noticed that its writer has gone. */
static int open_when_free(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_writer_options_t *options,
                          ferry_region_writer_t **writer) {
    int r = fi_writer_open(node, name, bytes, options, writer);
    int64_t deadline = fi_deadline(YIELD_NS);

    if (r == -EEXIST) {
        fi_publisher_ask_to_yield(node->net, name);
    }
    while (r == -EEXIST && fi_time_left(deadline) > 0 && !fi_node_is_shut(node)) {
        fi_sleep_until(fi_now_ns() + NAP_NS);
        r = fi_writer_open(node, name, bytes, options, writer);
    }
    return r;
}

/* In a space that spans machines: serves readers elsewhere, too. */
static int open_far(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_writer_options_t *options,
                    ferry_region_writer_t **out) {
    ferry_region_writer_t *writer;
    fi_publisher_t *publisher;

    int r = fi_name_check("region", name, 100);
    r = r == 0 ? fi_publisher_claim(node->net, name, &publisher) : r;
    if (r < 0) {
        return r;
    }
    r = open_when_free(node, name, bytes, options, &writer);
    if (r == 0) {
        r = fi_publisher_start(publisher, writer, options ? options->type_name : NULL);
        if (r < 0) {
            (void)fi_writer_close(writer);
        }
    }
    if (r < 0) {
        fi_publisher_drop(publisher);
        return r;
    }
    *out = writer;
    return 0;
}

static int writer_open_uncancelled(ferry_t *node, const char *name, uint64_t bytes,
                                   const ferry_region_writer_options_t *options, ferry_region_writer_t **writer) {
    int r = fi_check_output(writer, "ferry_region_writer_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_region_writer_options_t");
    }
    if (r == 0 && node->net) {
        return open_far(node, name, bytes, options, writer);
    }
    return r < 0 ? r : fi_writer_open(node, name, bytes, options, writer);
}

int ferry_region_writer_open(ferry_t *node, const char *name, uint64_t bytes,
                             const ferry_region_writer_options_t *options, ferry_region_writer_t **writer) {
    int cancel = fi_cancel_here();

    int r = writer_open_uncancelled(node, name, bytes, options, writer);
    fi_cancel_restore(cancel);
    return r;
}

static bool is_open(const ferry_region_writer_t *w) {
    return fi_likely(w && w->head.magic == FI_WRITER_MAGIC && w->head.generation == fi_process_generation);
}

void *ferry_region_writer_data(const ferry_region_writer_t *writer) {
    return is_open(writer) ? writer->data : NULL;
}

static int outside(const ferry_region_writer_t *w, uint64_t bytes) {
    return fi_fail(-EINVAL, "%llu bytes from there do not lie in the %llu bytes of the region \"%s\"",
                   (unsigned long long)bytes, (unsigned long long)w->bytes, w->name);
}

int ferry_region_touch(ferry_region_writer_t *writer, const void *at, uint64_t bytes) {
    if (fi_unlikely(!is_open(writer))) {
        return fi_published_check(writer, FI_WRITER_MAGIC, "writer");
    }
    uint64_t offset = (uint64_t)((uintptr_t)at - (uintptr_t)writer->data);
    if (fi_unlikely(offset > writer->bytes || bytes > writer->bytes - offset)) {
        return outside(writer, bytes);
    }
    if (fi_likely(bytes > 0)) {
        fi_marks_add(&writer->touched, offset, bytes);
    }
    return 0;
}

int ferry_region_publish(ferry_region_writer_t *writer, int64_t timeout, uint64_t *version) {
    return fi_writer_publish(writer, timeout, version);
}

int ferry_region_writer_stats(ferry_region_writer_t *writer, ferry_region_writer_stats_t *stats) {
    int r = fi_check_output(stats, "ferry_region_writer_stats");
    if (r == 0) {
        r = fi_check_size(stats->size, sizeof *stats, "ferry_region_writer_stats_t");
    }
    return r < 0 ? r : fi_writer_stats(writer, stats);
}

int ferry_region_writer_close(ferry_region_writer_t *writer) {
    int cancel = fi_cancel_here();

    int r = writer ? fi_writer_close(writer) : 0;
    fi_cancel_restore(cancel);
    return r;
}

/* ---- reading ---- */

/* NULL: the space is of one machine, or the handle is not open. */
static fi_mirror_t *mirror_of(const ferry_region_reader_t *r) {
    bool open = r && r->head.magic == FI_READER_MAGIC && r->head.generation == fi_process_generation;
    return open ? r->mirror : NULL;
}

static int close_reader(ferry_region_reader_t *reader) {
    fi_mirror_t *m = mirror_of(reader);

    int r = fi_reader_close(reader);
    if (r == 0 && m) {
        fi_mirror_leave(m);
    }
    return r;
}

static int reader_open_uncancelled(ferry_t *node, const char *name, const ferry_region_reader_options_t *options,
                                   ferry_region_reader_t **reader) {
    int r = fi_check_output(reader, "ferry_region_reader_open");
    r = r == 0 ? fi_check_node(node) : r;
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_region_reader_options_t");
    }
    if (r < 0) {
        return r;
    }
    ferry_region_reader_t *opened;
    r = fi_reader_open(node, name, options, &opened);
    if (r == 0 && node->net) {
        r = fi_mirror_join(node->net, opened, options);
        if (r < 0) {
            (void)close_reader(opened);
        }
    }
    if (r == 0) {
        *reader = opened;
    }
    return r;
}

int ferry_region_reader_open(ferry_t *node, const char *name, const ferry_region_reader_options_t *options,
                             ferry_region_reader_t **reader) {
    int cancel = fi_cancel_here();

    int r = reader_open_uncancelled(node, name, options, reader);
    fi_cancel_restore(cancel);
    return r;
}

int ferry_region_view(ferry_region_reader_t *reader, int64_t timeout, ferry_region_view_t **view) {
    int r = fi_check_output(view, "ferry_region_view");
    if (r == 0 && fi_unlikely(mirror_of(reader))) {
        return fi_mirror_view(mirror_of(reader), reader, timeout, view);
    }
    return r < 0 ? r : fi_reader_view(reader, timeout, view);
}

int ferry_region_wait(ferry_region_reader_t *reader, uint64_t version, int64_t timeout) {
    if (fi_unlikely(mirror_of(reader))) {
        return fi_mirror_wait(mirror_of(reader), reader, version, timeout);
    }
    return fi_reader_wait(reader, version, timeout);
}

int ferry_region_reader_fd(ferry_region_reader_t *reader) {
    return fi_reader_fd(reader);
}

int ferry_region_reader_close(ferry_region_reader_t *reader) {
    int cancel = fi_cancel_here();

    int r = reader ? close_reader(reader) : 0;
    fi_cancel_restore(cancel);
    return r;
}

/* ---- views ---- */

static const ferry_msg_t *message_of(const ferry_region_view_t *v) {
    bool open = v && v->head.magic == FI_VIEW_MAGIC && v->head.generation == fi_process_generation;
    return open ? v->version->message : NULL;
}

const void *ferry_view_data(const ferry_region_view_t *view) {
    const ferry_msg_t *m = message_of(view);
    return m ? m->data : NULL;
}

uint64_t ferry_view_size(const ferry_region_view_t *view) {
    const ferry_msg_t *m = message_of(view);
    return m ? m->size : 0;
}

uint64_t ferry_view_version(const ferry_region_view_t *view) {
    return message_of(view) ? view->version->number : 0;
}

int ferry_view_place(const ferry_region_view_t *view, ferry_msg_place_t *place) {
    int r = fi_check_output(place, "ferry_view_place");
    r = r == 0 ? fi_published_check(view, FI_VIEW_MAGIC, "view") : r;
    return r < 0 ? r : ferry_msg_place(view->version->message, place);
}

int ferry_view_save(const ferry_region_view_t *view, const char *path) {
    int r = fi_published_check(view, FI_VIEW_MAGIC, "view");
    if (r == 0 && !path) {
        r = fi_fail(-EINVAL, "ferry_view_save needs the name of a file, not NULL");
    }
    if (r < 0) {
        return r;
    }
    int cancel = fi_cancel_here();
    r = fi_save_file(path, view->version->message->data, view->version->message->size);
    fi_cancel_restore(cancel);
    return r;
}

int ferry_view_release(ferry_region_view_t *view) {
    return view ? fi_view_release(view) : 0;
}
