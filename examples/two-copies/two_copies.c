/* SPDX-License-Identifier: MIT
 *
 * two_copies.c - a message is copied only when someone changes it while somebody else still holds it.
 *
 * An editor sends a message of 1 MiB to a reader, which is another process, and edits it: after the reader has
 * released it (0 copies), after the reader has accepted it (1 copy), and before it has (1 copy).  Every claim is
 * checked where it can be seen: the memory that both processes map, the blocks that the pool has in use, and the bytes
 * that the reader reads while the editor writes.  The exit status is 1 if one claim does not hold.
 */
#include "two_copies.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct editing {
    ferry_sender_t *pages, *orders;
    ferry_receiver_t *seen;
    ferry_msg_t *page;
    place_t sent;                /**< where the message was when it was sent */
    ferry_sender_stats_t before; /**< the sender's counters just before the edit */
    unsigned claims, wrong;
} editing_t;

int failed(const char *what) {
    fprintf(stderr, "two-copies: %s: %s\n", what, ferry_last_error());
    return -1;
}

/** Prints a claim, and whether it holds. */
__attribute__((format(printf, 3, 4))) static void claim(editing_t *e, bool holds, const char *sentence, ...) {
    va_list args;
    va_start(args, sentence);
    printf("   %s  ", holds ? "yes" : "NO ");
    vprintf(sentence, args);
    putchar('\n');
    va_end(args);
    e->claims++;
    e->wrong += !holds;
}

static int order(editing_t *e, order_t what) {
    uint32_t number = what;
    return ferry_send(e->orders, &number, sizeof(number), PATIENCE) < 0 ? failed("giving an order") : 0;
}

static int hear(editing_t *e, seen_t *seen) {
    size_t size;
    return ferry_recv_into(e->seen, seen, sizeof(*seen), PATIENCE, &size) < 0 ? failed("hearing the reader") : 0;
}

static int ask(editing_t *e, order_t what, seen_t *seen) {
    return order(e, what) < 0 ? -1 : hear(e, seen);
}

/** Makes a message, writes `version` into it and sends it. */
static int send_page(editing_t *e, char version) {
    void *data;
    if (ferry_msg_new(e->pages, PAGE_BYTES, PATIENCE, &data, &e->page) < 0) {
        return failed("making the message");
    }
    page_write(data, version);
    if (ferry_send_msg(e->pages, e->page, PATIENCE) < 0) {
        return failed("sending the message");
    }
    return place_of(e->page, &e->sent);
}

/** The reader's mapping and the editor's: the same bytes of the same file, and only the editor may write. */
static void claim_same_memory(editing_t *e, const seen_t *seen) {
    const place_t *here = &e->sent, *there = &seen->place;
    printf("        editor's map: %s\n        reader's map: %s\n", here->map, there->map);
    claim(e, here->inode != 0 && here->inode == there->inode && here->offset == there->offset,
          "both look at the same memory: inode %" PRIu64 ", offset 0x%" PRIx64 " here; inode %" PRIu64
          ", offset 0x%" PRIx64 " there",
          here->inode, here->offset, there->inode, there->offset);
    claim(e,
          here->map_inode == here->inode && here->map_offset == here->offset && there->map_inode == there->inode &&
              there->map_offset == there->offset,
          "/proc/self/maps says the same in both processes");
    claim(e, here->rights[1] == 'w' && there->rights[1] == '-', "the editor may write there (%s), the reader not (%s)",
          here->rights, there->rights);
}

/** Edits the message and checks that this took `copies` copies. */
static int edit(editing_t *e, int copies, char version) {
    e->before = (ferry_sender_stats_t){0};
    ferry_sender_stats_t after = {0};
    void *data;
    if (ferry_sender_stats(e->pages, &e->before) < 0) {
        return failed("asking for the counters");
    }
    int made = ferry_msg_edit(e->page, &data);
    if (made < 0 || ferry_sender_stats(e->pages, &after) < 0) {
        return failed("editing the message");
    }
    page_write(data, version);
    place_t now;
    if (place_of(e->page, &now) < 0) {
        return -1;
    }
    bool moved = now.inode != e->sent.inode || now.offset != e->sent.offset;
    claim(e, made == copies, "ferry_msg_edit made %d %s", made, made == 1 ? "copy" : "copies");
    claim(e, after.pool_blocks == e->before.pool_blocks + (uint64_t)copies,
          "blocks of the pool in use: %" PRIu64 " before, %" PRIu64 " after", e->before.pool_blocks, after.pool_blocks);
    claim(e,
          after.copies_made == e->before.copies_made + (uint64_t)copies &&
              after.copied_bytes == e->before.copied_bytes + (uint64_t)copies * PAGE_BYTES,
          "counted: %" PRIu64 " copies of %" PRIu64 " bytes", after.copies_made - e->before.copies_made,
          after.copied_bytes - e->before.copied_bytes);
    claim(e, moved == (copies == 1), "the editor now writes at inode %" PRIu64 ", offset 0x%" PRIx64 ": %s", now.inode,
          now.offset, moved ? "elsewhere" : "in place");
    return 0;
}

/** The reader gives its message back; its block must come back to the pool. Then the editor drops its own. */
static int release_both(editing_t *e, char as_sent) {
    seen_t seen;
    ferry_sender_stats_t after = {0};
    if (ask(e, ORDER_RELEASE, &seen) < 0) {
        return -1;
    }
    claim(e, seen.version == as_sent && seen.place.inode == e->sent.inode && seen.place.offset == e->sent.offset,
          "until its release the reader has version %c, where it was sent; the editor has version %c", seen.version,
          page_version(ferry_msg_data(e->page)));
    if (ferry_sender_flush(e->pages, PATIENCE) < 0 || ferry_sender_stats(e->pages, &after) < 0) {
        return failed("waiting for the release");
    }
    claim(e, after.pool_blocks == e->before.pool_blocks,
          "the reader's version went back to the pool: %" PRIu64 " in use", after.pool_blocks);
    return ferry_msg_release(e->page) < 0 ? failed("releasing the message") : 0;
}

static int edit_after_release(editing_t *e) {
    seen_t taken, released;
    puts("\n1. Edited after the reader has released it: 0 copies");
    if (send_page(e, 'A') < 0 || ask(e, ORDER_TAKE, &taken) < 0) {
        return -1;
    }
    claim_same_memory(e, &taken);
    claim(e, taken.version == 'A', "the reader reads version %c", taken.version);
    if (ask(e, ORDER_RELEASE, &released) < 0) {
        return -1;
    }
    if (ferry_sender_flush(e->pages, PATIENCE) < 0) {
        return failed("waiting for the release");
    }
    return edit(e, 0, 'B') < 0 || ferry_msg_release(e->page) < 0 ? -1 : 0;
}

/** Has the time come that began at `from` and lasts 0.1 s? */
static bool tenth_second_since(const struct timespec *from) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - from->tv_sec) * 1000000000L + (now.tv_nsec - from->tv_nsec) > 100000000L;
}

/** Writes version after version while the reader reads its own. */
static int write_while_it_reads(editing_t *e, char as_sent) {
    seen_t seen;
    void *data;
    if (ask(e, ORDER_WATCH, &seen) < 0) {
        return -1;
    }
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    int versions = 0;
    /* Long enough for the reader to run meanwhile even where both share one processor. */
    while (!tenth_second_since(&began)) {
        /* Nobody holds the editor's version, so each of these edits is in place: 0 copies. */
        if (ferry_msg_edit(e->page, &data) != 0) {
            return failed("editing the message once more");
        }
        page_write(data, (char)('a' + versions++ % 26));
    }
    if (ask(e, ORDER_LOOK, &seen) < 0) {
        return -1;
    }
    claim(e, seen.readings > 2 && seen.broken == 0 && seen.version == as_sent,
          "while the editor wrote %d versions, the reader read its own %" PRIu64 " times: %" PRIu64 " not as sent",
          versions, seen.readings, seen.broken);
    return 0;
}

static int edit_after_acceptance(editing_t *e) {
    seen_t taken;
    puts("\n2. Edited after the reader has accepted it: 1 copy");
    if (send_page(e, 'C') < 0 || ask(e, ORDER_TAKE, &taken) < 0) {
        return -1;
    }
    claim_same_memory(e, &taken);
    if (edit(e, 1, 'D') < 0 || write_while_it_reads(e, 'C') < 0) {
        return -1;
    }
    return release_both(e, 'C');
}

static int edit_before_acceptance(editing_t *e) {
    seen_t taken;
    puts("\n3. Edited before the reader has accepted it: 1 copy");
    if (send_page(e, 'E') < 0 || edit(e, 1, 'F') < 0 || ask(e, ORDER_TAKE, &taken) < 0) {
        return -1;
    }
    claim_same_memory(e, &taken);
    claim(e, taken.version == 'E', "the reader accepts only now, and gets version %c, as sent", taken.version);
    return release_both(e, 'E');
}

static int editor(const char *space) {
    ferry_t *node;
    editing_t e = {0};
    ferry_options_t options = {.name = "editor"};
    ferry_contract_t small = {.quota = 16 << 20};
    if (ferry_open(space, &options, &node) < 0) {
        return failed("opening the space");
    }
    int err = 0;
    if (ferry_sender_open(node, "pages", FERRY_QUEUE, &small, &e.pages) < 0 ||
        ferry_sender_open(node, "orders", FERRY_QUEUE, NULL, &e.orders) < 0 ||
        ferry_receiver_open(node, "seen", FERRY_QUEUE, NULL, &e.seen) < 0) {
        err = failed("opening its ends");
    } else if (ferry_sender_wait(e.pages, 1, PATIENCE) < 0 || ferry_sender_wait(e.orders, 1, PATIENCE) < 0) {
        err = failed("waiting for the reader");
    }
    if (err == 0) {
        err = edit_after_release(&e) < 0 || edit_after_acceptance(&e) < 0 || edit_before_acceptance(&e) < 0 ? -1 : 0;
    }
    if (err == 0) {
        order(&e, ORDER_END);
        ferry_sender_close(e.orders, PATIENCE, NULL);
        ferry_sender_close(e.pages, PATIENCE, NULL);
        ferry_receiver_close(e.seen);
        printf("\n%u claims, %u do not hold.\n", e.claims, e.wrong);
    }
    ferry_close(node);
    return err == 0 && e.wrong == 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    const char *space = argc > 1 ? argv[1] : "two-copies";
    if (argc > 2 || *space == '-') {
        fputs(
            "Usage: two-copies [SPACE]\nShows when a message is copied: only when it is changed while another process "
            "holds it.\n",
            stderr);
        return 2;
    }
    pid_t parent = getpid();
    pid_t child = fork(); /* before any node is opened: a node belongs to the process that opened it */
    if (child < 0) {
        perror("two-copies: fork");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() == parent ? reader(space) : 1);
    }
    printf("An editor (process %d) sends %zu bytes to a reader (process %d), and edits them.\n", parent, PAGE_BYTES,
           child);
    int result = editor(space), status = 0;
    if (result != 0) {
        kill(child, SIGTERM);
    }
    waitpid(child, &status, 0);
    return result == 0 && status == 0 ? 0 : 1;
}
