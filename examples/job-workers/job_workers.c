/* SPDX-License-Identifier: MIT
 *
 * job_workers.c - jobs that are done although workers crash, hang and fail.
 *
 * An office puts jobs into a queue and collects the answers; three processes work.  One of them is killed now and then
 * in the middle of a job, one falls asleep over some, and some jobs cannot be done by anybody.  The queue takes care of
 * it:
 *
 *   ferry_msg_release   a job is done: only now it leaves the office's memory
 *   ferry_msg_reject    it failed: somebody shall try again, a little later
 *   a killed worker     what it had not released goes to others
 *   ack_within          a worker that sleeps loses its job to another, and is told when it wakes up
 *   prefetch = 1        no job waits behind another one while a worker is idle
 *   max_attempts        what fails three times goes to the queue "hopeless", and says where it comes from
 *
 * A job may be done twice (its worker was killed between the answer and the release): whoever collects answers has to
 * bear that, and the office does, since each answer names its job.
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

#define JOBS 60u
#define WORKERS 3u

static const int64_t ms = 1000 * 1000;
static const int64_t minute = (int64_t)60 * 1000 * 1000 * 1000;

typedef struct job {
    uint32_t number;
    uint32_t limit; /* how many primes are below it? 0: nobody knows what is meant */
} job_t;

typedef struct answer {
    uint32_t number;
    uint32_t primes;
    uint32_t attempt;
} answer_t;

static int failed(const char *what) {
    fprintf(stderr, "job-workers: %s: %s\n", what, ferry_last_error());
    return -1;
}

static uint32_t count_primes(uint32_t limit) {
    uint32_t count = 0;

    for (uint32_t n = 2; n < limit; n++) {
        bool prime = true;
        for (uint32_t d = 2; d * d <= n && prime; d++) {
            prime = n % d != 0;
        }
        count += prime;
    }
    return count;
}

/* --- a worker ---------------------------------------------------------------------------------------------------- */

/** What goes wrong with this worker and this job, if anything does. */
static void have_bad_luck(unsigned worker, uint32_t number, uint32_t attempt) {
    if (worker == 1 && attempt == 1 && number % 7 == 3) {
        raise(SIGKILL);
    }
    if (worker == 2 && attempt == 1 && number % 11 == 5) {
        nanosleep(&(struct timespec){.tv_nsec = 300 * ms}, NULL);
    }
}

static int work_on(ferry_msg_t *m, unsigned worker, ferry_sender_t *answers) {
    ferry_msg_info_t info = {0};
    job_t job;

    ferry_msg_info(m, &info);
    memcpy(&job, ferry_msg_data(m), sizeof job);
    have_bad_luck(worker, job.number, info.attempt);
    if (job.limit == 0) {
        return ferry_msg_reject(m, 5 * ms);
    }
    if (ferry_msg_progress(m) < 0) { /* we have slept: somebody else does it */
        return ferry_msg_release(m);
    }
    answer_t answer = {job.number, count_primes(job.limit), info.attempt};
    if (ferry_send(answers, &answer, sizeof answer, minute) < 0 || ferry_sender_flush(answers, minute) < 0) {
        return failed("a worker: its answer"); /* the job is not released: it goes to others when we end */
    }
    return ferry_msg_release(m);
}

static int work(ferry_t *node, unsigned worker) {
    const ferry_receiver_options_t options = {
        .prefetch = 1, .ack_within = 100 * ms, .max_attempts = 3, .dead_letter = "hopeless"};
    ferry_receiver_t *jobs;
    ferry_sender_t *answers;
    ferry_msg_t *m;

    if (ferry_receiver_open(node, "jobs", FERRY_QUEUE, &options, &jobs) < 0 ||
        ferry_sender_open(node, "answers", FERRY_QUEUE, NULL, &answers) < 0) {
        return failed("a worker: opening its queues");
    }
    int r = 0;
    while (r == 0 && (r = ferry_recv(jobs, minute, &m)) == 0) {
        r = work_on(m, worker, answers);
        if (r == -ESTALE) {
            printf("worker %u was too slow: %s\n", worker, ferry_last_error());
            r = 0;
        }
    }
    if (r != -EPIPE) { /* the office has closed: there are no more jobs */
        return failed("a worker");
    }
    ferry_receiver_close(jobs);
    return ferry_sender_close(answers, minute, NULL);
}

/* --- the office -------------------------------------------------------------------------------------------------- */

typedef struct office {
    ferry_sender_t *jobs;
    ferry_receiver_t *answers, *hopeless;
    unsigned answered, given_up, again, twice;
    bool settled[JOBS];
} office_t;

static void settle(office_t *o, uint32_t number, unsigned *count) {
    if (number >= JOBS || o->settled[number]) {
        o->twice++;
        return;
    }
    o->settled[number] = true;
    (*count)++;
}

static void collect_answer(office_t *o) {
    answer_t answer;
    size_t size;

    while (ferry_recv_into(o->answers, &answer, sizeof answer, FERRY_NOW, &size) == 0) {
        settle(o, answer.number, &o->answered);
        o->again += answer.attempt > 1;
    }
}

static void collect_hopeless(office_t *o) {
    ferry_msg_t *m;

    while (ferry_recv(o->hopeless, FERRY_NOW, &m) == 0) {
        ferry_msg_origin_t origin = {0};
        job_t job;
        memcpy(&job, ferry_msg_data(m), sizeof job);
        if (ferry_msg_origin(m, &origin) == 0) {
            printf("job %" PRIu32 " of \"%s\" was tried %" PRIu32 " times, in vain\n", job.number, origin.queue,
                   origin.attempts);
        }
        settle(o, job.number, &o->given_up);
        ferry_msg_release(m);
    }
}

/** Hires somebody in the place of whoever has died. */
static int replace_the_dead(pid_t *workers, unsigned *deaths, pid_t (*hire)(unsigned)) {
    for (unsigned i = 0; i < WORKERS; i++) {
        int status;
        if (waitpid(workers[i], &status, WNOHANG) == workers[i]) {
            if (!WIFSIGNALED(status)) {
                return -1;
            }
            (*deaths)++;
            workers[i] = hire(i);
        }
    }
    return 0;
}

static pid_t hire(unsigned worker) {
    pid_t office = getpid();
    ferry_t *node;

    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != office || ferry_open("job-workers", NULL, &node) < 0) {
        _exit(failed("a worker: the space") < 0);
    }
    int r = work(node, worker);
    ferry_close(node);
    fflush(stdout);
    _exit(r < 0);
}

static int open_office(ferry_t *node, office_t *o) {
    const ferry_receiver_options_t patient = {.senders = UINT32_MAX};

    if (ferry_sender_open(node, "jobs", FERRY_QUEUE, NULL, &o->jobs) < 0 ||
        ferry_receiver_open(node, "answers", FERRY_QUEUE, &patient, &o->answers) < 0 ||
        ferry_receiver_open(node, "hopeless", FERRY_QUEUE, &patient, &o->hopeless) < 0) {
        return failed("the office: opening its queues");
    }
    for (uint32_t i = 0; i < JOBS; i++) {
        job_t job = {i, i % 20 == 13 ? 0 : 1000 + 50 * i};
        if (ferry_send(o->jobs, &job, sizeof job, minute) < 0) {
            return failed("the office: handing out a job");
        }
    }
    return 0;
}

/** Until every job is answered or given up, and released: who has done one twice waits for us to take the answer,
 * too. */
static int run_office(ferry_t *node, office_t *o, pid_t *workers, unsigned *deaths) {
    if (open_office(node, o) < 0) {
        return -1;
    }
    while (o->answered + o->given_up < JOBS || ferry_sender_flush(o->jobs, FERRY_NOW) < 0) {
        ferry_pollitem_t items[] = {{.receiver = o->answers, .events = FERRY_POLL_IN},
                                    {.receiver = o->hopeless, .events = FERRY_POLL_IN}};
        if (replace_the_dead(workers, deaths, hire) < 0 || ferry_poll(items, 2, 20 * ms) < 0) {
            return failed("the office: waiting for answers");
        }
        collect_answer(o);
        collect_hopeless(o);
    }
    return 0;
}

/** Before the office closes: a worker who comes later than that would wait for another one to open. */
static int await_all(office_t *o, pid_t *workers, unsigned *deaths) {
    int r;

    while ((r = ferry_sender_wait(o->jobs, WORKERS, 20 * ms)) == -ETIMEDOUT) {
        if (replace_the_dead(workers, deaths, hire) < 0) {
            break;
        }
    }
    return r < 0 ? failed("the office: waiting for its workers") : 0;
}

static bool anybody_works(pid_t *workers) {
    bool some = false;

    for (unsigned i = 0; i < WORKERS; i++) {
        if (workers[i] > 0 && waitpid(workers[i], NULL, WNOHANG) == workers[i]) {
            workers[i] = 0;
        }
        some |= workers[i] > 0;
    }
    return some;
}

int main(void) {
    pid_t workers[WORKERS];
    unsigned deaths = 0;
    office_t o = {0};
    ferry_t *node;
    uint64_t left = 0;

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = hire(i);
    }
    if (ferry_open("job-workers", NULL, &node) < 0) {
        return failed("the office: the space") < 0;
    }
    int r = run_office(node, &o, workers, &deaths);
    r = r == 0 ? await_all(&o, workers, &deaths) : r;
    if (r == 0) {
        r = ferry_sender_close(o.jobs, minute, &left); /* the workers see that there are no more */
    }
    /* Who has done somebody else's job too waits until we take the answer. */
    while (anybody_works(workers)) {
        collect_answer(&o);
        nanosleep(&(struct timespec){.tv_nsec = 5 * ms}, NULL);
    }
    ferry_receiver_close(o.answers);
    ferry_receiver_close(o.hopeless);
    ferry_close(node);
    printf("%u jobs: %u answered (%u after more than one attempt, %u twice), %u given up; %u workers were killed\n",
           JOBS, o.answered, o.again, o.twice, o.given_up, deaths);
    return r < 0 || left > 0;
}
