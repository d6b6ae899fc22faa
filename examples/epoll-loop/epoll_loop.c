/* SPDX-License-Identifier: MIT
 *
 * epoll_loop.c - a receiver inside somebody else's event loop: a chat, `epoll-loop NAME`, in as many terminals as you
 * like.  One epoll waits for three things: messages, lines from standard input, and a timer.
 *
 * The rule that makes it right: ferry_receiver_fd is level-triggered and may be readable when no message is there, so
 * after each wake-up take messages with FERRY_NOW until -EAGAIN; never read the descriptor.
 */
#include <errno.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

typedef struct chat {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    const char *name;
    char line[1024]; /**< what was typed and has no end yet */
    size_t typed;
    unsigned received;
} chat_t;

/** Prints everything that is there. 0; 1: the other side of the loop shall end; negative errno. */
static int on_messages(chat_t *c) {
    ferry_msg_t *m;
    int r;
    while ((r = ferry_recv(c->rx, FERRY_NOW, &m)) == 0) {
        ferry_msg_info_t info = {0};
        ferry_msg_info(m, &info);
        if (info.sender_node != ferry_node_id(c->node)) { /* a topic reaches everyone, also who sent it */
            printf("%.*s\n", (int)ferry_msg_size(m), (const char *)ferry_msg_data(m));
            fflush(stdout);
            c->received++;
        }
        ferry_msg_release(m);
    }
    return r == -EAGAIN ? 0 : r;
}

static int say(chat_t *c, const char *text, size_t size) {
    size_t name = strlen(c->name);
    void *data;
    int r = ferry_claim(c->tx, name + 2 + size, FERRY_FOREVER, &data); /* written straight into the sender's memory */
    if (r < 0) {
        return r;
    }
    memcpy(data, c->name, name);
    memcpy((char *)data + name, ": ", 2);
    memcpy((char *)data + name + 2, text, size);
    return ferry_commit(c->tx, name + 2 + size);
}

/** Sends the lines that were typed. 1: end of input. */
static int on_input(chat_t *c) {
    ssize_t n = read(STDIN_FILENO, c->line + c->typed, sizeof(c->line) - c->typed);
    if (n <= 0) {
        return n == 0 || errno == EINTR ? n == 0 : -errno;
    }
    c->typed += (size_t)n;
    char *end;
    while ((end = memchr(c->line, '\n', c->typed)) != NULL || c->typed == sizeof(c->line)) {
        size_t size = end != NULL ? (size_t)(end - c->line) : c->typed; /* a very long line goes in pieces */
        int r = say(c, c->line, size);
        if (r < 0) {
            return r;
        }
        size_t gone = end != NULL ? size + 1 : size;
        c->typed -= gone;
        memmove(c->line, c->line + gone, c->typed);
    }
    return 0;
}

static int on_timer(chat_t *c, int timer) {
    uint64_t ticks;
    if (read(timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN) {
        return -errno;
    }
    ferry_sender_stats_t s = {0};
    int r = ferry_sender_stats(c->tx, &s);
    if (r == 0) {
        fprintf(stderr, "[%u receivers, %u messages heard]\n", s.receivers, c->received);
    }
    return r;
}

static int watch(int epoll, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

/** The loop. 0: end of input; negative errno. */
static int loop(chat_t *c, int epoll, int timer) {
    int messages = ferry_receiver_fd(c->rx), r;
    if (messages < 0 || (r = watch(epoll, messages)) < 0 || (r = watch(epoll, timer)) < 0) {
        return messages < 0 ? messages : r;
    }
    if ((r = watch(epoll, STDIN_FILENO)) < 0) {
        return r; /* -EPERM: a regular file is always readable, and epoll does not take it */
    }
    for (;;) {
        struct epoll_event e;
        int n = epoll_wait(epoll, &e, 1, -1);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        r = n <= 0 ? 0 : e.data.fd == messages ? on_messages(c) : e.data.fd == timer ? on_timer(c, timer) : on_input(c);
        if (r != 0) {
            return r > 0 ? 0 : r;
        }
    }
}

static int chat(chat_t *c) {
    /* Who comes late hears the last 16 lines of everyone who is still there. */
    ferry_contract_t contract = {.type_name = "text", .quota = 1 << 20, .retain = 16};
    ferry_receiver_options_t options = {.contract = &contract};
    int r = ferry_sender_open(c->node, "chat", FERRY_TOPIC, &contract, &c->tx);
    if (r == 0) {
        r = ferry_receiver_open(c->node, "chat", FERRY_TOPIC, &options, &c->rx);
    }
    if (r < 0) {
        return r;
    }
    struct itimerspec every = {.it_value.tv_sec = 5, .it_interval.tv_sec = 5};
    int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &every, NULL) != 0) {
        r = -errno;
    } else {
        r = loop(c, epoll, timer);
    }
    close(timer);
    close(epoll); /* before the receiver: its descriptor is in this set */
    ferry_receiver_close(c->rx);
    ferry_sender_close(c->tx, (int64_t)1000 * 1000 * 1000, NULL);
    return r;
}

int main(int argc, char **argv) {
    if (argc != 2 || *argv[1] == '-') {
        fputs("Usage: epoll-loop NAME\nA chat: lines of standard input go to everybody else who runs it.\n", stderr);
        return 2;
    }
    chat_t c = {.name = argv[1]};
    int r = ferry_open("demo", NULL, &c.node);
    if (r == 0) {
        r = chat(&c);
    }
    if (r < 0) {
        const char *why = ferry_last_error();
        fprintf(stderr, "epoll-loop: %s\n", *why != '\0' ? why : strerror(-r));
    }
    ferry_close(c.node);
    return r == 0 ? 0 : 1;
}
