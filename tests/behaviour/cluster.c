/* SPDX-License-Identifier: MIT */
#include "cluster.h"

#include <arpa/inet.h>
#include <glob.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Servers know each other by routes to all, and answer questions at a port of their choice. */
static void write_config(const char *path, int number, const int ports[CLUSTER_SERVERS]) {
    FILE *out = fopen(path, "w");
    check(out != NULL);
    fprintf(out,
            "http: \"127.0.0.1:-1\"\nserver_name: s%d\ncluster { name: test, listen: \"127.0.0.1:%d\", routes: [\n",
            number, ports[number]);
    for (int i = 0; i < CLUSTER_SERVERS; i++)
        fprintf(out, "    \"nats-route://127.0.0.1:%d\"\n", ports[i]);
    fprintf(out, "] }\n");
    check(fclose(out) == 0);
}

/* The newest line of all logs that holds both texts; its server. Times in them can be compared. */
static engine_t *newest(const cluster_t *cluster, const char *text, const char *other) {
    char line[1024], path[300], last[32] = "";
    engine_t *found = NULL;
    for (int i = 0; i < CLUSTER_SERVERS && cluster->servers[i]; i++) {
        snprintf(path, sizeof path, "%s/log", engine_directory(cluster->servers[i]));
        FILE *log = fopen(path, "re");
        while (log && fgets(line, sizeof line, log)) {
            const char *time = strchr(line, ' '); /* "[PID] 2026/01/31 12:00:00.123456 ..." */
            if (time && strstr(line, text) && strstr(line, other) && strncmp(time, last, 27) > 0) {
                snprintf(last, sizeof last, "%.27s", time);
                found = cluster->servers[i];
            }
        }
        if (log)
            fclose(log);
    }
    return found;
}

/* The port at which the server answers questions; 0: none yet. */
static int question_port(const engine_t *server) {
    static const char before[] = "\"monitoring\"";
    char path[300], text[1024] = "";
    glob_t found;
    snprintf(path, sizeof path, "%s/*.ports", engine_directory(server));
    if (glob(path, 0, NULL, &found) == 0) {
        FILE *in = fopen(found.gl_pathv[0], "re");
        text[in ? fread(text, 1, sizeof text - 1, in) : 0] = '\0';
        if (in)
            fclose(in);
    }
    globfree(&found);
    const char *at = strstr(text, before);
    at = at ? strstr(at, "127.0.0.1:") : NULL;
    return at ? atoi(at + strlen("127.0.0.1:")) : 0;
}

/* What it says of its streams and of its cluster, in JSON. */
static void ask(const engine_t *server, char *answer, size_t size) {
    static const char question[] = "GET /jsz HTTP/1.0\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)question_port(server))};
    struct timeval limit = {.tv_sec = 1};
    size_t len = 0;
    ssize_t got = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, question, strlen(question), MSG_NOSIGNAL) > 0)
        while (len < size - 1 && (got = recv(fd, answer + len, size - 1 - len, 0)) > 0)
            len += (size_t)got;
    answer[len] = '\0';
    close(fd);
}

/* Only who leads tells how far the others have come. */
static int followers(const char *answer) {
    static const char follows[] = "\"current\": true";
    int count = 0;
    for (const char *at = strstr(answer, "\"replicas\""); at && (at = strstr(at, follows)); at += strlen(follows))
        count++;
    return count;
}

/* By one of them, which all others follow: streams made while one is missing would have fewer copies. Their logs do not
 * tell: a server that comes after the election writes nothing. */
static bool has_leader(const cluster_t *cluster) {
    char answer[4096];
    for (int i = 0; i < CLUSTER_SERVERS; i++) {
        ask(cluster->servers[i], answer, sizeof answer);
        if (followers(answer) == CLUSTER_SERVERS - 1)
            return true;
    }
    return false;
}

/* An election takes the servers 4 to 9 s, and is held anew when one of them did not run meanwhile. */
static bool await_leader(cluster_t *cluster) {
    for (int64_t end = monotonic() + 2 * PATIENCE; !has_leader(cluster); nap(50 * MILLISECOND))
        if (monotonic() > end)
            return false;
    return true;
}

static void choose_ports(int ports[CLUSTER_SERVERS]) {
    for (int i = 0; i < CLUSTER_SERVERS; i++) {
        ports[i] = engine_free_port();
        for (int k = 0; k < i; k++)
            check(ports[k] != ports[i]);
    }
}

static void start_servers(cluster_t *cluster) {
    char path[300];
    int ports[CLUSTER_SERVERS];
    choose_ports(ports);
    size_t len = (size_t)snprintf(cluster->space, sizeof cluster->space, "nats://");
    for (int i = 0; i < CLUSTER_SERVERS; i++) {
        snprintf(path, sizeof path, "%s/s%d.conf", getenv("FERRY_DIR"), i);
        write_config(path, i, ports);
        const char *const arguments[] = {"-c", path, NULL};
        cluster->servers[i] = engine_start_with(arguments);
        remove(path);
        len += (size_t)snprintf(cluster->space + len, sizeof cluster->space - len, "%s%s", i ? "," : "",
                                engine_url(cluster->servers[i]) + strlen("nats://"));
    }
    snprintf(cluster->space + len, sizeof cluster->space - len, "/test");
}

static void stop_servers(const cluster_t *cluster) {
    for (int i = 0; i < CLUSTER_SERVERS; i++)
        engine_stop(cluster->servers[i]);
}

/* Servers that have no leader after 40 s get none in 60 s either (seen once): maybe somebody else has taken one's
 * port. */
cluster_t *cluster_start(void) {
    static cluster_t *known __attribute__((used)); /* as in engine_start_with */
    cluster_t *cluster = calloc(1, sizeof *cluster);
    check(cluster != NULL);
    known = cluster;
    start_servers(cluster);
    if (await_leader(cluster))
        return cluster;
    fprintf(stderr, "# no server of the cluster leads: starting others\n");
    stop_servers(cluster);
    start_servers(cluster);
    if (!await_leader(cluster))
        check_failed("a server of the cluster leads", __FILE__, __LINE__);
    return cluster;
}

ferry_t *cluster_node(const cluster_t *cluster, const char *machine) {
    engine_machine(cluster->servers[0], machine);
    return open_node(cluster->space);
}

engine_t *cluster_leader(const cluster_t *cluster, const char *stream) {
    engine_t *leader = newest(cluster, "new stream leader", stream);
    check(leader != NULL);
    return leader;
}

void cluster_stop(cluster_t *cluster) {
    stop_servers(cluster);
    free(cluster);
}
