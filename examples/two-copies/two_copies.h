/* SPDX-License-Identifier: MIT
 *
 * two_copies.h - what the two processes of this example have in common.
 *
 *     editor ──── queue "pages" ────► reader      the message that is edited
 *     editor ──── queue "orders" ───► reader      what the reader shall do next
 *     editor ◄─── queue "seen" ────── reader      what it then saw
 */
#ifndef TWO_COPIES_H
#define TWO_COPIES_H

#include <ferry/ferry.h>
#include <stdbool.h>

/** Size of the message: large enough to be sent by pointer wherever the library draws the line. */
#define PAGE_BYTES ((size_t)1 << 20)

/** No wait lasts longer: when one process fails, the other must end too. */
#define PATIENCE ((int64_t)20 * 1000 * 1000 * 1000)

/** What the editor tells the reader to do; each order is answered with one `seen_t`. */
typedef enum order {
    ORDER_TAKE = 1, /**< receive the next message and keep it */
    ORDER_WATCH,    /**< read the message again and again until the next order comes */
    ORDER_LOOK,     /**< read the message once more */
    ORDER_RELEASE,  /**< look, then give the message back */
    ORDER_END       /**< leave; not answered */
} order_t;

/** Where a message's bytes are, as Ferry says and as the kernel says. */
typedef struct place {
    uint64_t inode;      /**< as ferry_msg_place says */
    uint64_t offset;     /**< likewise */
    uint64_t map_inode;  /**< as /proc/self/maps says of the address where the message is read */
    uint64_t map_offset; /**< likewise, of the message's first byte */
    char rights[8];      /**< of that mapping: "rw-s", "r--s" */
    char map[136];       /**< the line of /proc/self/maps, perhaps cut off */
} place_t;

/** What the reader saw. */
typedef struct seen {
    place_t place;
    uint64_t readings; /**< how often the message was read from its first to its last byte */
    uint64_t broken;   /**< readings in which a byte was not that of the first reading */
    char version;      /**< the version that the message holds, 0 if its bytes are of no single version */
    char unused[7];
} seen_t;

/** Fills a page with one version: every byte depends on the version and on its own position. */
void page_write(void *page, char version);
/** The version that all bytes of a page belong to, or 0. */
char page_version(const void *page);

/** Finds out where the message's bytes are in this process. 0, or -1 after saying why. */
int place_of(const ferry_msg_t *m, place_t *place);

/** The reader's whole life. Returns the exit status of its process. */
int reader(const char *space);

/** Says on standard error what failed and the library's sentence; returns -1. */
int failed(const char *what);

#endif
