/* SPDX-License-Identifier: MIT
 *
 * raw_links.c - see raw.h: links made by hand, up to where the lies begin.
 */
#include "raw.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const void *map_peer(int fd, size_t *bytes) {
    struct stat st;
    check(fstat(fd, &st) == 0 && st.st_size > 0);
    *bytes = (size_t)st.st_size;
    void *at = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, fd, 0);
    check(at != MAP_FAILED);
    return at;
}

static void unmap(const void *at, size_t bytes) {
    union {
        const void *from;
        void *to;
    } drop_const = {at};
    if (at)
        munmap(drop_const.to, bytes);
}

/* ---- as a sender ---- */

uint64_t raw_find_receiver(raw_t *raw, uint64_t tx, const char *channel, ferry_kind_t kind) {
    raw_mail_t mail;
    fi_frame_t f = raw_frame(FI_MEET_SENDER, tx, 0);
    f.kind = (uint16_t)kind;
    strcpy(f.text, channel);
    check(raw_send(raw, &f, NULL, 0));
    raw_await(raw, FI_MEET_RECEIVER, &mail);
    uint64_t rx = mail.frame.rx;
    raw_drop(&mail);
    raw_await(raw, FI_SETTLED, &mail);
    return rx;
}

int raw_offer(raw_t *raw, uint64_t tx, uint64_t rx, ferry_kind_t kind, int ring, uint64_t start, unsigned flags,
              int *ctl) {
    raw_mail_t mail;
    fi_frame_t f = raw_frame(FI_OFFER, tx, rx);
    f.kind = (uint16_t)kind;
    f.a = start;
    f.b = 1;
    f.flags = flags;
    f.figures[0] = 1;
    if (!raw_send(raw, &f, &ring, 1))
        return -1;
    for (;;) {
        int r = raw_receive(raw, &mail, PATIENCE);
        check(r >= 0);
        if (r == 0)
            return -1;
        if (mail.frame.type == FI_ACCEPT && mail.frame.tx == tx) {
            *ctl = mail.fds[0];
            return 1;
        }
        raw_drop(&mail);
        if (mail.frame.type == FI_REFUSE && mail.frame.tx == tx)
            return 0;
    }
}

void raw_out_offer(raw_t *raw, raw_out_t *out, uint64_t tx, const char *channel, ferry_kind_t kind, uint32_t lines,
                   unsigned flags) {
    int ctl;
    *out = (raw_out_t){.raw = raw, .tx = tx, .lines = lines, .pos = lines};
    out->rx = raw_find_receiver(raw, tx, channel, kind);
    int ring = raw_ring(lines, &out->ring);
    out->ring_bytes = fi_ring_bytes(lines);
    check_is(raw_offer(raw, tx, out->rx, kind, ring, lines, flags, &ctl), 1);
    close(ring);
    out->ctl = map_peer(ctl, &out->ctl_bytes);
    close(ctl);
}

void raw_out_live(raw_out_t *out) {
    fi_frame_t f = raw_frame(FI_LIVE, out->tx, out->rx);
    f.a = 1; /* the ring, as raw_offer names it */
    check(raw_send(out->raw, &f, NULL, 0));
}

void raw_out_open(raw_t *raw, raw_out_t *out, uint64_t tx, const char *channel, ferry_kind_t kind, uint32_t lines,
                  unsigned flags) {
    raw_out_offer(raw, out, tx, channel, kind, lines, flags);
    raw_out_live(out);
}

void raw_publish(raw_out_t *out, uint64_t word) {
    uint32_t at = (uint32_t)(out->pos % out->lines);
    struct fi_record *rec = (struct fi_record *)(void *)raw_line(out->ring, at);
    uint64_t lines = fi_record_lines(fi_word_len(word), fi_word_flags(word));
    if (lines <= out->lines - at) { /* a lie clears nothing: what stands before it is to be read */
        uint32_t next = (uint32_t)((at + lines) % out->lines);
        __atomic_store_n(&((struct fi_record *)(void *)raw_line(out->ring, next))->word, 0, __ATOMIC_RELAXED);
    }
    rec->seq = out->pos;
    __atomic_store_n(&rec->word, word, __ATOMIC_RELEASE);
    out->pos += lines;
}

void raw_say(raw_out_t *out, const void *data, uint32_t size) {
    unsigned char *line = raw_line(out->ring, (uint32_t)(out->pos % out->lines));
    check(16 + size <= FI_LINE);
    memcpy(line + 16, data, size);
    raw_publish(out, fi_record_word(size, FI_REC_INLINE, 0, 1));
}

void raw_out_close(raw_out_t *out) {
    unmap(out->ring, out->ring_bytes);
    unmap(out->ctl, out->ctl_bytes);
}

/* ---- as a receiver ---- */

void raw_in_open(raw_t *raw, raw_in_t *in, uint64_t rx, const char *channel, ferry_kind_t kind, unsigned flags) {
    raw_mail_t mail;
    int ends[2];
    *in = (raw_in_t){.raw = raw, .rx = rx};
    int memory = raw_good_page(&in->page);
    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    in->bell_rd = ends[0];
    in->bell_wr = ends[1];
    fi_frame_t f = raw_frame(FI_MEET_RECEIVER, 0, rx);
    f.kind = (uint16_t)kind;
    f.flags = flags;
    strcpy(f.text, channel);
    check(raw_send(raw, &f, (int[]){memory, in->bell_wr}, 2));
    close(memory);
    raw_await(raw, FI_OFFER, &mail);
    in->tx = mail.frame.tx;
    in->start = mail.frame.a;
    in->ring = map_peer(mail.fds[0], &in->ring_bytes);
    raw_drop(&mail);
    in->lines = in->ring->ident.lines;
    int ctl = raw_ctl(in->lines, in->start, &in->ctl);
    in->ctl_bytes = fi_ctl_bytes(in->lines, false);
    check(raw->ctl_count < 2);
    raw->ctls[raw->ctl_count++] = in->ctl;
    f = raw_frame(FI_ACCEPT, in->tx, rx);
    check(raw_send(raw, &f, &ctl, 1));
    close(ctl);
    raw_await(raw, FI_LIVE, &mail);
}

uint64_t raw_first_word(const raw_in_t *in) {
    const unsigned char *lines = (const unsigned char *)(in->ring + 1);
    const struct fi_record *first = (const struct fi_record *)(const void *)(lines + in->start % in->lines * FI_LINE);
    return __atomic_load_n(&first->word, __ATOMIC_ACQUIRE);
}

void raw_in_close(raw_in_t *in) {
    unmap(in->ring, in->ring_bytes);
    unmap(in->ctl, in->ctl_bytes);
    raw_page_drop(in->page);
    close(in->bell_rd);
    close(in->bell_wr);
}
