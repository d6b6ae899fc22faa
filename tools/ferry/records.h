/* SPDX-License-Identifier: MIT
 *
 * records.h - how a stream of bytes is cut into records, and put together again.
 *
 * A message carries a record's content and nothing else: a line travels without its newline, so that a program which
 * receives "hello" gets five bytes, and one that sends five bytes appears as a line. The delimiter is the receiving
 * side's affair. Two kinds of record are no such thing, and say so by their tag:
 *
 *   TAG_WHOLE   a whole file: written as it is, nothing before or after it.
 *   TAG_LAST    a last line (or last -0 record) that had no delimiter: the delimiter is withheld until another
 *               record follows, so one sender's stream is reproduced byte for byte, while the lines of several
 *               senders never run into each other.
 */
#ifndef FERRY_TOOL_RECORDS_H
#define FERRY_TOOL_RECORDS_H

#include <stdint.h>

typedef enum framing {
    FRAMING_LINES = 0, /* a newline after each */
    FRAMING_NULS = 1,  /* a NUL byte after each */
    FRAMING_WHOLE = 2, /* reading: all of a file is one record; writing: nothing between records */
    FRAMING_FRAMED = 3 /* before each, its length in four bytes, the least significant first */
} framing_t;

/* ASCII "FerryAll" and "FerryEnd": unlikely to be another program's own tag. */
static const uint64_t TAG_WHOLE = UINT64_C(0x4665727279416c6c);
static const uint64_t TAG_LAST = UINT64_C(0x4665727279456e64);

#endif
