/* SPDX-License-Identifier: MIT
 *
 * published.h - published regions: a topic whose messages are whole versions.
 *
 *   writer                                                  reader
 *   data (private)  --- what was touched --->  image        version --> the message in the image
 *                                              image            ^
 *                                              ...          views (handed out)
 *
 * The channel is called "@NAME" (node/contract.h) and has one sender at a time (node/entry.c).  It retains one message,
 * so that late readers find the newest version, and no reader may hold the sender back: what a reader has not begun to
 * look at gives way when the next version is published.
 *
 * An image is a block of the sender's pool, with a segment of its own, of which the writer keeps the handle.  It is
 * free when nobody else holds the block: no reader, and not the retained history.  Each image has notes of what has
 * changed since it was brought up to date; so publishing takes a free image, copies what it lacks, and sends it.
 * Nothing that a reader could see is changed in the middle, so a writer may die at any instruction.
 *
 * A reader keeps the newest version that it has taken, at rest (channel/messages.h): known, but not held.  Only views
 * hold.  If the writer has begun to write over a version at rest, a newer one has been published.
 *
 * Versions count from 1 for each writer.  Readers know the order of writers by the order in which their links came.
 */
#ifndef FI_PUBLISHED_H
#define FI_PUBLISHED_H

#include <pthread.h>

#include "channel/messages.h"
#include "ferry/region.h"
#include "region/published_marks.h"

#define FI_WRITER_MAGIC 0x57627550u    /* "PubW" */
#define FI_READER_MAGIC 0x52627550u    /* "PubR" */
#define FI_VIEW_MAGIC 0x56627550u      /* "PubV" */
#define FI_PUBLISHED_ENDED 0x58627550u /* "PubX" */

/* First in each of the handles. */
typedef struct fi_published {
    uint32_t magic;
    uint32_t generation; /* of the process that opened it */
} fi_published_t;

/* ---- writing (published_writer.c) ---- */

typedef struct fi_image {
    ferry_msg_t *message;
    fi_marks_t stale;  /* changed since it was brought up to date */
    uint64_t fresh_at; /* of the writer's publishes, the last one that brought it up to date */
} fi_image_t;

/*
 * What a space that spans machines adds to a writer (net/publisher.h). Others read images meanwhile: those are pinned,
 * which keeps the writer from changing them, and it has as many more images for that.
 */
#define FI_PINS 4u
typedef struct fi_writer_far {
    const ferry_msg_t *pinned
        [FI_PINS]; /* NULL: free; set for the newest version only, so that the writer never has to wait to see it */
    /* Before a publish: that has changed. After it: this is the newest. Before it is closed: nobody reads images from
     * now on. */
    void (*touched)(struct fi_writer_far *far, const fi_marks_t *touched);
    void (*published)(struct fi_writer_far *far, const ferry_msg_t *message, uint64_t version);
    void (*ended)(struct fi_writer_far *far);
    void (*figures)(struct fi_writer_far *far, ferry_region_writer_stats_t *stats);
} fi_writer_far_t;

struct ferry_region_writer {
    fi_published_t head;
    fi_writer_far_t *far; /* NULL: none */
    fi_sender_t *tx;
    char *data;
    uint64_t bytes;
    uint64_t room; /* the same in whole pages: of the data, and of each image */
    fi_marks_t touched;
    fi_image_t *images;
    uint32_t image_count;
    uint32_t most_images; /* that the quota allows */
    uint32_t waits;
    uint64_t quota;
    uint64_t version;
    uint64_t publishes; /* begun */
    uint64_t copied;
    uint64_t last_copied;
    char name[104];
};

int fi_writer_open(fi_node_t *n, const char *name, uint64_t bytes, const ferry_region_writer_options_t *o,
                   ferry_region_writer_t **out);
int fi_writer_publish(ferry_region_writer_t *w, int64_t timeout, uint64_t *version);
int fi_writer_stats(ferry_region_writer_t *w, ferry_region_writer_stats_t *stats);
int fi_writer_close(ferry_region_writer_t *w);

/* ---- reading (published_reader.c) ---- */

/* One that was taken; guarded by the reader's lock, but for the message's bytes. */
typedef struct fi_version {
    ferry_msg_t *message;
    uint64_t number;
    uint64_t series; /* number of its writer's link */
    uint32_t views;
} fi_version_t;

struct ferry_region_view {
    fi_published_t head;
    struct ferry_region_reader *reader;
    fi_version_t *version;
    struct fi_list link; /* among its reader's */
};

struct ferry_region_reader {
    fi_published_t head;
    fi_receiver_t *rx;
    uint64_t series; /* of the version that the program has seen last, or of the first one that came */
    bool unseen;     /* the newest version was not viewed yet */
    fi_version_t *spare;
    pthread_mutex_t lock; /* views come back from any thread. Comes before the locks of a receiver's end */
    fi_version_t *newest; /* NULL: none was taken yet */
    struct fi_list views; /* handed out */
    struct fi_list idle;  /* handles to be used again */
    void *mirror;         /* of a space that spans machines (net/mirror.h); NULL: none */
    char name[104];
};

int fi_reader_open(fi_node_t *n, const char *name, const ferry_region_reader_options_t *o, ferry_region_reader_t **out);
int fi_reader_view(ferry_region_reader_t *r, int64_t timeout, ferry_region_view_t **view);
int fi_reader_wait(ferry_region_reader_t *r, uint64_t version, int64_t timeout);
int fi_reader_fd(ferry_region_reader_t *r);
int fi_reader_close(ferry_region_reader_t *r);
/* Is there a writer on this machine? False also if the handle cannot be asked now. */
bool fi_reader_is_linked(ferry_region_reader_t *r);

int fi_view_release(ferry_region_view_t *view);

/* ---- both (published.c) ---- */

/* Is the handle, "writer", "reader" or "view", open in this process? 0, -EBADF, -ECHILD. */
int fi_published_check(const void *handle, uint32_t magic, const char *role);
/* Begins a call on one whose end of the channel is `e`. Errors: -EBADF, -EBUSY, -ECHILD, -EOWNERDEAD. */
int fi_published_enter(fi_end_t *e, uint32_t magic, const char *role, const char *name);
/* What both say of themselves when they are opened; `channel` becomes "@NAME". Error: -EINVAL. */
int fi_published_options(const char *name, const char *type_name, ferry_wait_t wait, char channel[104]);
/* How an opening failed. Returns `r`. */
int fi_published_not_open(int r, const char *role, const char *name);

#endif
