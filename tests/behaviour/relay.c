/* SPDX-License-Identifier: MIT */
#include "relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES 64                 /* connections at a time */
#define ROOM ((size_t)1 << 20)   /* bytes on their way in one direction */
#define MARKS 1024               /* pieces of them, each with the time at which it is due */
#define PIECE ((size_t)16 << 10) /* is read at once */

/* What the test wants; the relay's process looks at it when it is woken. */
typedef struct wishes {
    atomic_uint asked, done; /* numbers of the newest wish, and of that which has taken effect */
    atomic_uint cuts, accepted;
    int64_t delay;
    uint64_t rate;
    uint64_t lose_each;
    uint64_t cut_after; /* 0: not asked for */
    unsigned late;      /* connections, counted down */
    int64_t late_by;
    uint64_t stop_after; /* 0: not asked for */
    unsigned cut_one;    /* its place and 1; 0: not asked for */
    bool cut, refuses, swallows, abandons, holds;
} wishes_t;

struct relay {
    wishes_t *wishes;
    pid_t pid;
    int bell; /* the end to write to */
    char space[64];
};

/* ---- the relay's process ---- */

typedef struct way {
    int from, to;
    unsigned char *bytes; /* circular, ROOM */
    size_t in, out;       /* ever put in, ever taken out */
    struct {
        size_t end;
        int64_t due;
    } marks[MARKS]; /* circular */
    unsigned first_mark, next_mark;
    int64_t free_at; /* throttled: when the line is free for more */
    size_t most;     /* bytes that are passed on, and no more; 0: all */
    bool ended;      /* `from` says no more */
} way_t;

typedef struct line {
    bool used, swallowed;
    int64_t late_by; /* what is said after the greeting */
    way_t ways[2];
} line_t;

static struct place {
    wishes_t *wishes;
    int listener, bell, port, engine_port;
    uint64_t random;
    uint64_t left; /* bytes until all are cut; 0: not asked for */
    line_t *newest;
    line_t lines[LINES];
} place;

static double chance(void) {
    place.random ^= place.random << 13;
    place.random ^= place.random >> 7;
    place.random ^= place.random << 17;
    return (double)(place.random >> 11) / (double)(1ull << 53);
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    check(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, LINES) == 0);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    check(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.sin_port);
}

/* Both sides see a reset. */
static void cut(line_t *line) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < 2; i++) {
        (void)setsockopt(line->ways[i].from, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(line->ways[i].from);
        free(line->ways[i].bytes);
    }
    line->used = false;
    atomic_fetch_add(&place.wishes->cuts, 1);
}

static void cut_all(bool only_swallowed) {
    for (int i = 0; i < LINES; i++)
        if (place.lines[i].used && (!only_swallowed || place.lines[i].swallowed))
            cut(&place.lines[i]);
}

static void accept_one(void) {
    struct sockaddr_in engine = {.sin_family = AF_INET, .sin_port = htons((uint16_t)place.engine_port)};
    int on = 1, i = 0;
    int near = accept4(place.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0)
        return;
    engine.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (i < LINES && place.lines[i].used)
        i++;
    if (i == LINES || connect(far, (struct sockaddr *)&engine, sizeof engine) < 0) {
        close(near);
        close(far);
        return;
    }
    (void)fcntl(far, F_SETFL, O_NONBLOCK);
    (void)setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    atomic_fetch_add(&place.wishes->accepted, 1);
    line_t *line = &place.lines[i];
    *line = (line_t){.used = true};
    place.newest = line;
    if (place.wishes->late > 0) {
        place.wishes->late--;
        line->late_by = place.wishes->late_by;
    }
    line->ways[0].from = line->ways[1].to = near;
    line->ways[1].from = line->ways[0].to = far;
    for (int k = 0; k < 2; k++) {
        line->ways[k].bytes = malloc(ROOM);
        check(line->ways[k].bytes != NULL);
    }
}

static size_t room_in(const way_t *way) {
    size_t free_bytes = ROOM - (way->in - way->out);
    size_t to_edge = ROOM - way->in % ROOM;
    size_t room = free_bytes < to_edge ? free_bytes : to_edge;
    if (way->most > 0 && way->most - way->in < room)
        room = way->most - way->in;
    return way->next_mark - way->first_mark == MARKS || way->ended ? 0 : room < PIECE ? room : PIECE;
}

static int64_t due_of(way_t *way, size_t bytes, int64_t now) {
    if (place.wishes->rate > 0) {
        int64_t begin = way->free_at > now ? way->free_at : now;
        way->free_at = begin + (int64_t)((double)bytes * 1e9 / (double)place.wishes->rate);
        now = way->free_at;
    }
    return now + place.wishes->delay;
}

/* False: the line was lost at this. */
static bool survives(line_t *line, way_t *way, size_t bytes) {
    uint64_t each = place.wishes->lose_each;
    if (each > 0 && chance() < (double)bytes / (double)each) {
        cut(line);
        return false;
    }
    if (place.left > 0 && place.left <= bytes) { /* the other side gets this much of it, and then the end */
        size_t at = way->in % ROOM;
        (void)!write(way->to, way->bytes + at, place.left);
        place.left = 0;
        cut_all(false);
        return false;
    }
    place.left -= place.left > 0 ? bytes : 0;
    return true;
}

/* Takes in what has come. False: the line has ended. */
static bool take_in(line_t *line, way_t *way) {
    static unsigned char nowhere[PIECE];
    size_t room = line->swallowed ? sizeof nowhere : room_in(way);
    if (room == 0)
        return true;
    ssize_t n = read(way->from, line->swallowed ? nowhere : way->bytes + way->in % ROOM, room);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || (cut(line), false);
    if (n == 0) {
        way->ended = true;
        return true;
    }
    if (line->swallowed)
        return true;
    if (!survives(line, way, (size_t)n))
        return false;
    bool late = way == &line->ways[1] && way->in > 0;
    way->in += (size_t)n;
    way->marks[way->next_mark % MARKS].end = way->in;
    way->marks[way->next_mark++ % MARKS].due = due_of(way, (size_t)n, monotonic()) + (late ? line->late_by : 0);
    return true;
}

/* Passes on what is due. False: the line has ended. */
static bool pass_on(line_t *line, way_t *way, int64_t now) {
    while (way->first_mark != way->next_mark && way->marks[way->first_mark % MARKS].due <= now) {
        size_t end = way->marks[way->first_mark % MARKS].end;
        size_t to_edge = ROOM - way->out % ROOM;
        size_t bytes = end - way->out < to_edge ? end - way->out : to_edge;
        ssize_t n = send(way->to, way->bytes + way->out % ROOM, bytes, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR || (cut(line), false);
        way->out += (size_t)n;
        way->first_mark += way->out == end;
    }
    if (way->ended && way->in == way->out) {
        cut(line);
        return false;
    }
    return true;
}

static void obey(void) {
    char rings[64];
    wishes_t *w = place.wishes;
    (void)!read(place.bell, rings, sizeof rings);
    unsigned asked = atomic_load(&w->asked);
    if (asked == atomic_load(&w->done))
        return;
    if (w->cut || w->refuses)
        cut_all(false);
    if (w->cut_one > 0 && place.lines[w->cut_one - 1].used)
        cut(&place.lines[w->cut_one - 1]);
    w->cut_one = 0;
    if (w->refuses && place.listener >= 0) {
        close(place.listener);
        place.listener = -1;
    } else if (!w->refuses && place.listener < 0) {
        place.listener = listen_on(place.port);
    }
    for (int i = 0; i < LINES && w->swallows; i++) {
        place.lines[i].swallowed = place.lines[i].used;
        if (place.lines[i].used && w->abandons)
            (void)shutdown(place.lines[i].ways[0].to, SHUT_RDWR);
    }
    if (!w->swallows)
        cut_all(true);
    if (w->cut_after > 0)
        place.left = w->cut_after;
    if (w->stop_after > 0)
        place.newest->ways[1].most = place.newest->ways[1].in + w->stop_after;
    w->stop_after = 0;
    w->cut = w->abandons = false;
    w->cut_after = 0;
    atomic_store(&w->done, asked);
}

/* What it waits for on one line; sooner than `*wake` if something is due. */
static void watch_line(line_t *line, struct pollfd pfds[2], int64_t *wake) {
    for (int k = 0; k < 2; k++) { /* pfds[k] is the descriptor that ways[k] reads */
        way_t *way = &line->ways[k], *back = &line->ways[1 - k];
        pfds[k] = (struct pollfd){.fd = way->from};
        if ((line->swallowed && !way->ended) || (!line->swallowed && room_in(way) > 0))
            pfds[k].events |= POLLIN;
        if (!line->swallowed && back->first_mark != back->next_mark) {
            int64_t due = back->marks[back->first_mark % MARKS].due;
            if (due <= monotonic())
                pfds[k].events |= POLLOUT;
            else if (due < *wake)
                *wake = due;
        }
        if (pfds[k].events == 0)
            pfds[k].fd = -1; /* else it would hear of the end again and again */
    }
}

static void serve_line(line_t *line, const struct pollfd pfds[2]) {
    for (int k = 0; k < 2; k++)
        if (pfds[k].revents && !take_in(line, &line->ways[k]))
            return;
    for (int k = 0; k < 2 && !line->swallowed; k++)
        if (!pass_on(line, &line->ways[k], monotonic()))
            return;
}

static void turn(void) {
    struct pollfd pfds[2 + 2 * LINES];
    int64_t now = monotonic(), wake = now + 60 * SECOND;
    bool holds = place.wishes->holds;
    pfds[0] = (struct pollfd){.fd = place.bell, .events = POLLIN};
    pfds[1] = (struct pollfd){.fd = place.wishes->swallows ? -1 : place.listener, .events = POLLIN};
    for (int i = 0; i < LINES; i++) {
        pfds[2 + 2 * i].fd = pfds[3 + 2 * i].fd = -1;
        if (place.lines[i].used && !holds)
            watch_line(&place.lines[i], &pfds[2 + 2 * i], &wake);
    }
    const struct timespec time = {(wake - now) / SECOND, (wake - now) % SECOND};
    if (ppoll(pfds, 2 + 2 * LINES, &time, NULL) < 0)
        return;
    for (int i = 0; i < LINES && !holds; i++)
        if (place.lines[i].used)
            serve_line(&place.lines[i], &pfds[2 + 2 * i]);
    if (pfds[1].revents)
        accept_one();
    if (pfds[0].revents)
        obey();
}

static void run_relay(void *arg) {
    (void)arg;
    (void)signal(SIGPIPE, SIG_IGN);
    for (;;)
        turn();
}

/* ---- the test's side ---- */

relay_t *relay_start(const engine_t *engine) {
    relay_t *relay = share(sizeof *relay);
    int bell[2];
    check(pipe2(bell, O_CLOEXEC | O_NONBLOCK) == 0);
    relay->wishes = share(sizeof *relay->wishes);
    memset(&place, 0, sizeof place);
    place.wishes = relay->wishes;
    place.listener = listen_on(0);
    place.port = port_of(place.listener);
    place.bell = bell[0];
    place.random = 88172645463325252ull;
    check(sscanf(engine_url(engine), "nats://127.0.0.1:%d", &place.engine_port) == 1);
    snprintf(relay->space, sizeof relay->space, "nats://127.0.0.1:%d/test", place.port);
    relay->bell = bell[1];
    relay->pid = child_start(run_relay, NULL);
    close(place.listener);
    close(bell[0]);
    return relay;
}

const char *relay_space(const relay_t *relay) {
    return relay->space;
}

void relay_stop(relay_t *relay) {
    child_kill(relay->pid);
    close(relay->bell);
}

static void wish(relay_t *relay) {
    unsigned number = atomic_fetch_add(&relay->wishes->asked, 1) + 1;
    check(write(relay->bell, "", 1) == 1);
    await(&relay->wishes->done, number);
}

void relay_delay(relay_t *relay, int64_t nanoseconds) {
    relay->wishes->delay = nanoseconds;
    wish(relay);
}

void relay_answer_late(relay_t *relay, unsigned connections, int64_t nanoseconds) {
    relay->wishes->late = connections;
    relay->wishes->late_by = nanoseconds;
    wish(relay);
}

void relay_throttle(relay_t *relay, uint64_t bytes_per_second) {
    relay->wishes->rate = bytes_per_second;
    wish(relay);
}

void relay_lose_each(relay_t *relay, uint64_t bytes) {
    relay->wishes->lose_each = bytes;
    wish(relay);
}

void relay_cut(relay_t *relay) {
    relay->wishes->cut = true;
    wish(relay);
}

void relay_cut_one(relay_t *relay, unsigned i) {
    relay->wishes->cut_one = i + 1;
    wish(relay);
}

void relay_cut_after(relay_t *relay, uint64_t bytes) {
    relay->wishes->cut_after = bytes;
    wish(relay);
}

void relay_stop_after(relay_t *relay, uint64_t bytes) {
    relay->wishes->stop_after = bytes;
    wish(relay);
}

void relay_refuse(relay_t *relay, bool refuses) {
    relay->wishes->refuses = refuses;
    wish(relay);
}

void relay_swallow(relay_t *relay, bool swallows) {
    relay->wishes->swallows = swallows;
    wish(relay);
}

void relay_abandon(relay_t *relay) {
    relay->wishes->swallows = relay->wishes->abandons = true;
    wish(relay);
}

void relay_hold(relay_t *relay, bool holds) {
    relay->wishes->holds = holds;
    wish(relay);
}

unsigned relay_cuts(const relay_t *relay) {
    return atomic_load(&relay->wishes->cuts);
}

unsigned relay_accepted(const relay_t *relay) {
    return atomic_load(&relay->wishes->accepted);
}
