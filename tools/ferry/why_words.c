/* SPDX-License-Identifier: MIT
 *
 * why_words.c - `ferry why`: threads, and what they wait for, in words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json_look.h"
#include "say.h"
#include "why.h"

static const why_words_t words[] = {
    {"unknown", "", "something", "", "held by", "lets go", "let go"},
    [FERRY_FOR_MUTEX] = {"mutex", "", "mutex", "", "held by", "lets go", "let go"},
    [FERRY_FOR_READ] = {"read", "", "rwlock", " to read", "held by", "lets go", "let go"},
    [FERRY_FOR_WRITE] = {"write", "", "rwlock", " to write", "held by", "lets go", "let go"},
    [FERRY_FOR_UNIT] = {"unit", "a unit of ", "semaphore", "", "held by", "lets go", "let go"},
    [FERRY_FOR_BARRIER] = {"barrier", "", "barrier", "", "missing is", "arrives", "arrive"},
    [FERRY_FOR_EVENT] = {"event", "", "event", "", "to be set by", "sets it", "set it"},
    [FERRY_FOR_ROOM] = {"room", "room in ", "channel", "", "full at", "makes room", "make room"},
    [FERRY_FOR_PROCESS] = {"process", "its ", "child process", "", "in it is", "ends it", "end"},
    [FERRY_FOR_REGION] = {"region", "its turn in ", "region", "", "held by", "lets go", "let go"},
    [FERRY_FOR_CELL] = {"cell", "a value in ", "cell", "", "to be put by", "puts it", "put it"},
    [FERRY_FOR_BUFFER] = {"buffer", "an item or room in a buffer of ", "region", "", "to be served by", "serves it",
                          "serve it"},
    [FERRY_FOR_REPLY] = {"reply", "the answer to ", "call", "", "served by", "answers", "answer"},
};

const why_words_t *why_words(const ferry_look_wait_t *wait) {
    size_t what = (size_t)wait->what;
    return &words[what < sizeof words / sizeof words[0] ? what : 0];
}

/* Lives its process where it has another number than here? Then those of its threads are numbers there, too. */
static bool lives_elsewhere(const ferry_look_node_t *node) {
    return node != NULL && node->own_pid != 0 && node->own_pid != node->pid;
}

/* What it is here, if it can be seen, and what it is there. */
static void process_text(const ferry_look_node_t *node, char *text, size_t cap) {
    if (node == NULL || (node->pid == 0 && node->own_pid == 0))
        snprintf(text, cap, "?"); /* in a PID namespace that cannot be seen from here */
    else if (lives_elsewhere(node) && node->pid != 0)
        snprintf(text, cap, "%" PRId32 " = %" PRId32, node->pid, node->own_pid);
    else
        snprintf(text, cap, "%" PRId32, node->pid != 0 ? node->pid : node->own_pid);
}

/* "1234" or "1234/1236 worker", or "12/15 worker in PID namespace 4026532201". */
static void numbers_text(const ferry_look_node_t *node, int32_t tid, const char *thread, char *text) {
    char process[32], thread_there[100] = "", place[64] = "";

    process_text(node, process, sizeof process);
    if (tid != 0)
        snprintf(thread_there, sizeof thread_there, "/%" PRId32 "%s%.60s", tid, thread[0] != '\0' ? " " : "", thread);
    if (lives_elsewhere(node) && node->pid_namespace != 0)
        snprintf(place, sizeof place, " in PID namespace %" PRIu64, node->pid_namespace);
    else if (lives_elsewhere(node))
        snprintf(place, sizeof place, " in another PID namespace");
    snprintf(text, WHY_TEXT, "%s%s%s", process, thread_there, place);
}

static void thread_text(const why_t *why, uint64_t id, int32_t tid, const char *thread, char *text) {
    const ferry_look_node_t *node = why_node(why, id);
    char numbers[WHY_TEXT];

    numbers_text(node, tid, thread, numbers);
    char name[200];
    snprintf(text, WHY_TEXT, "%s[%.180s]", node_text(node, name, sizeof name), numbers);
    make_plain(text);
}

void why_waiter_text(const why_t *why, const ferry_look_wait_t *wait, char *text) {
    thread_text(why, wait->node, wait->tid, wait->thread, text);
}

void why_holder_text(const why_t *why, const ferry_look_holder_t *holder, char *text) {
    if (holder->wait >= 0)
        why_waiter_text(why, ferry_look_wait(why->look, (size_t)holder->wait), text);
    else
        thread_text(why, holder->node, holder->tid, "", text);
}

void why_object_text(const why_t *why, const ferry_look_wait_t *wait, char *text) {
    const char *object = why_words(wait)->object;
    const char *elsewhere = why_elsewhere(why, wait->node);
    const char *slash = elsewhere != NULL ? strrchr(elsewhere, '/') : NULL;

    if (wait->what == FERRY_FOR_PROCESS)
        snprintf(text, WHY_TEXT, "%s %" PRId32, object, wait->pid);
    else if (elsewhere == NULL)
        snprintf(text, WHY_TEXT, "%s \"%s\"", object, wait->name);
    else
        snprintf(text, WHY_TEXT, "%s \"%s\" in space '%s'", object, wait->name, slash != NULL ? slash + 1 : elsewhere);
    make_plain(text);
}

void why_wanted_text(const why_t *why, const ferry_look_wait_t *wait, char *text) {
    char object[WHY_TEXT];

    why_object_text(why, wait, object);
    snprintf(text, WHY_TEXT, "%s%.300s%s", why_words(wait)->before, object, why_words(wait)->after);
}

void why_where_text(const ferry_look_wait_t *wait, char *text) {
    const char *slash = strrchr(wait->where, '/');

    snprintf(text, WHY_TEXT, "%s", slash != NULL ? slash + 1 : wait->where);
    make_plain(text);
}

const char *why_silence(const ferry_look_node_t *node) {
    return silence(node != NULL && node->starved != 0, node != NULL && node->other_version != 0);
}
