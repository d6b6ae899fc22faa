/* SPDX-License-Identifier: MIT
 *
 * frames.c - a camera that must not wait: frames of 1 MiB to three processes, one of which is too slow.
 *
 * The contract says FERRY_HOLD_NEVER, so the camera's pace is its own.  Each viewer reads the frames where the camera
 * wrote them.  The slow one asks for the newest only, so it looks at what is there now and not at what was there eight
 * frames ago; it is told how many it has missed, and never sees a frame change under its eyes: what a viewer holds is
 * not reused.
 */
#include <errno.h>
#include <ferry/ferry.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES ((size_t)1 << 20)
#define FRAMES 200u
#define VIEWERS 3u
#define SLOW_MS 100L

static const int64_t minute = (int64_t)60 * 1000 * 1000 * 1000;
/* Eight frames of memory: what the slowest viewer can be behind before it starts to lose. */
static const ferry_contract_t camera_is = {
    .type_name = "frame", .type_size = FRAME_BYTES, .hold = FERRY_HOLD_NEVER, .quota = 8 * FRAME_BYTES + (1 << 20)};

static int failed(const char *what) {
    fprintf(stderr, "frames: %s: %s\n", what, ferry_last_error());
    return -1;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/** Every 64 bits of a frame depend on its number and their position. */
static uint64_t pixel(uint64_t frame, size_t i) {
    return frame * 0x9e3779b97f4a7c15u + i;
}

static bool is_whole(const uint64_t *pixels, uint64_t frame) {
    for (size_t i = 0; i < FRAME_BYTES / sizeof(*pixels); i++) {
        if (pixels[i] != pixel(frame, i)) {
            return false;
        }
    }
    return true;
}

static int camera(ferry_t *node) {
    ferry_sender_t *tx;
    if (ferry_sender_open(node, "camera", FERRY_TOPIC, &camera_is, &tx) < 0 ||
        ferry_sender_wait(tx, VIEWERS, minute) < 0) {
        return failed("the camera: waiting for its viewers");
    }
    for (uint64_t frame = 1; frame <= FRAMES; frame++) {
        ferry_msg_t *m;
        void *data;
        /* Taken from the pool: frames that nobody holds any more, or that the slow viewer loses by this. */
        if (ferry_msg_new(tx, FRAME_BYTES, minute, &data, &m) < 0) {
            return failed("the camera: memory for a frame");
        }
        uint64_t *pixels = data;
        for (size_t i = 0; i < FRAME_BYTES / sizeof(*pixels); i++) {
            pixels[i] = pixel(frame, i);
        }
        ferry_msg_set_tag(m, frame);
        if (ferry_send_msg(tx, m, minute) < 0) {
            return failed("the camera: sending a frame");
        }
        ferry_msg_release(m);
        pause_ms(4);
    }
    ferry_sender_stats_t s = {0};
    ferry_sender_stats(tx, &s);
    printf("camera: sent %" PRIu64 " frames by pointer, %" PRIu64 " copies made\n", s.messages, s.copies_made);
    fflush(stdout);
    return ferry_sender_close(tx, minute, NULL) < 0 || s.copies_made != 0 ? -1 : 0;
}

/** Views all frames, taking `work_ms` for each. 0 when each was whole and every missing one was announced. */
static int viewer(ferry_t *node, unsigned number, long work_ms) {
    ferry_receiver_options_t options = {.contract = &camera_is,
                                        .newest = work_ms < SLOW_MS ? FERRY_NEWEST_ALL : FERRY_NEWEST_ONLY};
    ferry_receiver_t *rx;
    ferry_msg_t *m;
    uint64_t seen = 0, lost = 0, broken = 0, last = 0;
    if (ferry_receiver_open(node, "camera", FERRY_TOPIC, &options, &rx) < 0) {
        return failed("a viewer: opening");
    }
    int r;
    while ((r = ferry_recv(rx, minute, &m)) == 0) {
        ferry_msg_info_t info = {0};
        ferry_msg_info(m, &info);
        pause_ms(work_ms); /* meanwhile the camera goes on, and this frame stays as it was sent */
        broken += !is_whole(ferry_msg_data(m), info.tag) || info.tag != last + info.lost_before + 1;
        lost += info.lost_before;
        last = info.tag;
        seen++;
        ferry_msg_release(m);
    }
    if (r != -EPIPE) {
        return failed("a viewer: receiving");
    }
    ferry_receiver_close(rx);
    printf("viewer %u (%ld ms per frame): saw %" PRIu64 " frames, lost %" PRIu64 ", broken %" PRIu64 "\n", number,
           work_ms, seen, lost, broken);
    fflush(stdout);
    /* 200 frames in about a second are far too many for who takes 0.1 s each: some must have been lost. */
    return seen + lost == FRAMES && broken == 0 && (work_ms < SLOW_MS || lost > 0) ? 0 : -1;
}

/** One process: number 0 is the camera. */
static int run(unsigned number) {
    ferry_t *node;
    if (ferry_open("demo", NULL, &node) < 0) {
        return failed("opening the space");
    }
    int r = number == 0 ? camera(node) : viewer(node, number, number == VIEWERS ? SLOW_MS : 1);
    ferry_close(node);
    return r;
}

int main(void) {
    pid_t parent = getpid();
    pid_t children[VIEWERS + 1];
    int result = 0;
    for (unsigned i = 0; i <= VIEWERS; i++) {
        children[i] = fork(); /* first fork, then open: a node belongs to one process */
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(getppid() == parent && run(i) == 0 ? 0 : 1);
        }
        if (children[i] < 0) {
            perror("frames: fork");
            return 1;
        }
    }
    for (unsigned left = VIEWERS + 1; left > 0; left--) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned i = 0; i <= VIEWERS; i++) {
            children[i] = children[i] == pid ? 0 : children[i];
            if (status != 0 && children[i] > 0) {
                kill(children[i], SIGTERM); /* it may wait for the one that failed */
            }
        }
        result = status != 0 ? 1 : result;
    }
    return result;
}
