/* SPDX-License-Identifier: MIT
 *
 * versions.c - two versions of Ferry in one space: neither sees the other, and whoever waits is told why.
 *
 * The other version is a stranger that shares with this one what every version has: names in the directory, and where
 * a frame says which version it is of.
 */
#include "raw.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OTHER_MAGIC ((FI_WIRE_MAGIC & 0xffffffu) | (uint32_t)'2' << 24)
#define STRANGER UINT64_C(0xabc)

/* Its frames may have another size. */
typedef struct greeting {
    uint32_t magic;
    char rest[sizeof(fi_frame_t)];
} greeting_t;

static void expect_told(const char *sentence) {
    char who[64];
    snprintf(who, sizeof who, "process %ld speaks version 2", (long)getpid());
    if (!strstr(sentence, "another version of Ferry") || !strstr(sentence, who))
        fprintf(stderr, "# the sentence is \"%s\"\n", sentence);
    check(strstr(sentence, "another version of Ferry") != NULL && strstr(sentence, who) != NULL);
}

/* ---- it comes to us ---- */

static void dial_with_frames_of(size_t size) {
    const greeting_t words = {.magic = OTHER_MAGIC};
    ferry_t *node = open_node("test");
    raw_mail_t mail;
    raw_t raw;
    check(strcmp(ferry_warning(node), "") == 0);
    check(raw_connect(&raw, ferry_node_id(node)));
    check(raw_send_bytes(&raw, &words, size, NULL, 0));
    check_is(raw_receive(&raw, &mail, PATIENCE), 1);
    check_is(mail.frame.magic, FI_WIRE_MAGIC);
    check_is(mail.frame.type, FI_HELLO);
    raw_drop(&mail);
    check(raw_hung_up(&raw, PATIENCE));
    expect_told(ferry_warning(node));
    raw_close(&raw);
    close_node(node);
}

static void who_is_dialled_by_another_version_answers_and_tells_his_program(void) {
    dial_with_frames_of(sizeof(fi_frame_t) - 8);
    dial_with_frames_of(sizeof(fi_frame_t));
    dial_with_frames_of(sizeof(greeting_t));
}

/* ---- it was there before us ---- */

typedef struct stranger {
    char socket[512], entry[512];
    int listener, enough[2];
    pthread_t thread;
} stranger_t;

static void hang_up_in_its_own_words(int fd) {
    const greeting_t words = {.magic = OTHER_MAGIC};
    char question[sizeof(fi_frame_t)];
    if (recv(fd, question, sizeof question, 0) > 0) /* who only looks whether it lives says nothing */
        (void)send(fd, &words, sizeof words, MSG_NOSIGNAL);
    close(fd);
}

static void *be_there(void *arg) {
    stranger_t *s = arg;
    struct pollfd items[2] = {{.fd = s->listener, .events = POLLIN}, {.fd = s->enough[0], .events = POLLIN}};
    while (poll(items, 2, -1) >= 0 && items[1].revents == 0) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        check(fd >= 0);
        hang_up_in_its_own_words(fd);
    }
    return NULL;
}

/* With a sender on "lines". */
static void stranger_begin(stranger_t *s) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char name[20];
    name_of_node(STRANGER, name);
    snprintf(s->socket, sizeof s->socket, "%s/test/n-%s", getenv("FERRY_DIR"), name);
    snprintf(s->entry, sizeof s->entry, "%s/test/e-lines:sq:%s:1:00000000", getenv("FERRY_DIR"), name);
    check(strlen(s->socket) < sizeof at.sun_path);
    memcpy(at.sun_path, s->socket, strlen(s->socket));
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    check(s->listener >= 0 && bind(s->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(s->listener, 8) == 0);
    FILE *entry = fopen(s->entry, "we");
    check(entry && fputs("ferry-entry 1\n", entry) >= 0 && fclose(entry) == 0);
    check(pipe2(s->enough, O_CLOEXEC) == 0);
    check(pthread_create(&s->thread, NULL, be_there, s) == 0);
}

static void stranger_end(stranger_t *s) {
    check(write(s->enough[1], "x", 1) == 1);
    check(pthread_join(s->thread, NULL) == 0);
    (void)unlink(s->socket); /* unless it was expelled */
    (void)unlink(s->entry);
    close(s->listener);
    close(s->enough[0]);
    close(s->enough[1]);
}

static void who_waits_for_another_version_is_told_that_it_does_not_see_it(void) {
    ferry_t *node = open_node("test");
    stranger_t s;
    ferry_msg_t *m;
    stranger_begin(&s);
    ferry_receiver_t *rx = open_receiver(node, "lines", FERRY_QUEUE, NULL);
    check_is(ferry_recv(rx, 10 * MILLISECOND, &m), -ETIMEDOUT);
    expect_told(ferry_last_error());
    expect_told(ferry_warning(node));
    close_receiver(rx);
    stranger_end(&s);
    close_node(node);
}

static const ferry_look_node_t *find(const ferry_look_t *look, uint64_t id) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        if (ferry_look_node(look, i)->id == id)
            return ferry_look_node(look, i);
    }
    return NULL;
}

static void a_look_tells_which_node_is_of_another_version(void) {
    ferry_t *node = open_node("test");
    ferry_look_t *look;
    stranger_t s;
    stranger_begin(&s);
    check_is(ferry_look("test", NULL, &look), 0);
    const ferry_look_node_t *ours = find(look, ferry_node_id(node));
    const ferry_look_node_t *other = find(look, STRANGER);
    check(ours && ours->answered == 1 && ours->other_version == 0);
    check(other && other->answered == 0 && other->other_version == 1 && other->pid == getpid());
    ferry_look_close(look);
    stranger_end(&s);
    close_node(node);
}

static void note_silent(const ferry_purged_t *p, void *arg) {
    check(p->node == STRANGER && p->answered == 0 && p->other_version == 1 && p->starved == 0);
    ++*(int *)arg;
}

static void who_purges_and_kicks_learns_which_node_is_of_another_version(void) {
    ferry_t *node = open_node("test");
    ferry_kicked_t kicked = {.size = sizeof kicked};
    stranger_t s;
    int silent = 0;
    stranger_begin(&s);
    check_is(ferry_purge("test", NULL, "lines", 0, note_silent, &silent), 1);
    check_is(silent, 1);
    check_is(ferry_kick("test", NULL, ferry_node_id(node), &kicked), 0);
    check(kicked.told == 1 && kicked.other_version == 0 && kicked.silent == 0); /* the stranger has no link to it */
    close_node(node);
    check_is(ferry_kick("test", NULL, STRANGER, &kicked), 0);
    check(kicked.told == 0 && kicked.other_version == 1 && kicked.starved == 0);
    stranger_end(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_is_dialled_by_another_version_answers_and_tells_his_program),
        TEST(who_waits_for_another_version_is_told_that_it_does_not_see_it),
        TEST(a_look_tells_which_node_is_of_another_version),
        TEST(who_purges_and_kicks_learns_which_node_is_of_another_version),
    };
    return run_suite("versions", tests, sizeof tests / sizeof tests[0], argc, argv);
}
