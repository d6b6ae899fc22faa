/* SPDX-License-Identifier: MIT
 *
 * engine_tls.c - certificates, made by openssl(1): an authority of the store's own, which is what clients trust, and
 * under it one certificate for the server and, if clients must prove who they are as well, one for them.
 *
 * What was made stays, so that clients keep trusting it. A server's certificate is made anew when it is for other names
 * than now, or about to expire; without the authority's key (the store holds certificates from elsewhere) nothing is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"
#include "signals.h"

#define KEY "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"

enum { NAMES = 2048, SAID = 512 };

static const char profile[] = "# What the certificates say; written by `ferry engine --tls`.\n"
                              "[req]\n"
                              "distinguished_name = dn\n"
                              "[dn]\n"
                              "[authority]\n"
                              "basicConstraints = critical, CA:TRUE, pathlen:0\n"
                              "keyUsage = critical, keyCertSign, cRLSign\n"
                              "subjectKeyIdentifier = hash\n"
                              "[client]\n"
                              "basicConstraints = critical, CA:FALSE\n"
                              "keyUsage = critical, digitalSignature\n"
                              "extendedKeyUsage = clientAuth\n"
                              "subjectKeyIdentifier = hash\n"
                              "authorityKeyIdentifier = keyid\n"
                              "[server]\n" /* which is the client of another server in a cluster */
                              "basicConstraints = critical, CA:FALSE\n"
                              "keyUsage = critical, digitalSignature\n"
                              "extendedKeyUsage = serverAuth, clientAuth\n"
                              "subjectKeyIdentifier = hash\n"
                              "authorityKeyIdentifier = keyid\n"
                              "subjectAltName = ";

/* --- openssl ----------------------------------------------------------------------------------------------------- */

static _Noreturn void become(char *const *words, int output, const sigset_t *mask) {
    int null = open("/dev/null", O_RDONLY);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(STATUS_FAILED);
    signals_give_back();
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(words[0], words);
    _exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}

/* The last of what comes, to its end. */
static void listen_to(int output, char *said) {
    char piece[SAID];
    size_t len = 0;
    ssize_t n;

    while ((n = read(output, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < n; i++) {
            if (len + 1 == SAID)
                memmove(said, said + 1, --len);
            said[len++] = piece[i];
        }
    }
    said[len] = '\0';
}

/* Runs it. Returns its exit status; what it said is in `said`. */
static int run(const engine_t *e, char *const *words, char *said) {
    int ends[2];
    int status = 0;

    said[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return STATUS_FAILED;
    pid_t pid = fork();
    if (pid == 0)
        become(words, ends[1], &e->mask);
    close(ends[1]);
    if (pid > 0)
        listen_to(ends[0], said);
    close(ends[0]);
    if (pid < 0)
        return STATUS_FAILED;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs openssl, which must succeed. `words` ends with NULL. */
static int openssl(const engine_t *e, const char *const *words) {
    char said[SAID];
    int status = run(e, (char *const *)(uintptr_t)words, said);

    if (status == 0)
        return 0;
    if (status == STATUS_NOT_FOUND) {
        say("certificates are made by openssl, which is not here: install the package openssl");
        return STATUS_NOT_FOUND;
    }
    for (char *c = said; *c != '\0'; c++)
        *c = *c == '\n' ? ' ' : *c;
    make_plain(said);
    say("openssl cannot make a certificate (status %d): %s", status, said);
    return STATUS_FAILED;
}

/* --- for which names --------------------------------------------------------------------------------------------- */

static void add(char *names, const char *kind, const char *name) {
    char one[ENGINE_HOST + 8];
    size_t len = strlen(names);

    snprintf(one, sizeof one, "%s:%s", kind, name);
    const char *found = strstr(names, one);
    size_t n = strlen(one);
    while (found != NULL && found[n] != '\0' && found[n] != ',')
        found = strstr(found + 1, one);
    if (found == NULL && len + n + 3 < NAMES)
        snprintf(names + len, NAMES - len, "%s%s", len > 0 ? ", " : "", one);
}

static void add_host(char *names, const char *host) {
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        add(names, "IP", host);
    else
        add(names, "DNS", host);
}

/* Where a server that listens everywhere can be reached. */
static void add_interfaces(char *names) {
    struct ifaddrs *all;
    char text[INET6_ADDRSTRLEN];

    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        int family = i->ifa_addr != NULL ? i->ifa_addr->sa_family : AF_UNSPEC;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)i->ifa_addr;
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)i->ifa_addr;
        if (family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) != NULL)
            add(names, "IP", text);
        if (family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) &&
            inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text) != NULL)
            add(names, "IP", text);
    }
    freeifaddrs(all);
}

static void all_names(const engine_address_t *listens, char *names) {
    char host[ENGINE_HOST];

    names[0] = '\0';
    add(names, "DNS", "localhost");
    add(names, "IP", "127.0.0.1");
    add(names, "IP", "::1");
    engine_hostname(host, sizeof host);
    add_host(names, host);
    if (engine_is_wildcard(listens->host))
        add_interfaces(names);
    else
        add_host(names, listens->host);
}

/* --- the certificates -------------------------------------------------------------------------------------------- */

/* The files of one directory, by their full or relative names. */
typedef struct paths {
    char profile[PATH_MAX], request[PATH_MAX];
    char ca[PATH_MAX], ca_key[PATH_MAX];
    char cert[PATH_MAX], key[PATH_MAX];
} paths_t;

static void name_paths(paths_t *p, const char *authority, const char *directory, const char *kind) {
    snprintf(p->profile, sizeof p->profile, "%s/%s.cnf", directory, kind);
    snprintf(p->request, sizeof p->request, "%s/%s.csr", directory, kind);
    snprintf(p->ca, sizeof p->ca, "%s/ca.pem", authority);
    snprintf(p->ca_key, sizeof p->ca_key, "%s/ca-key.pem", authority);
    snprintf(p->cert, sizeof p->cert, "%s/%s.pem", directory, kind);
    snprintf(p->key, sizeof p->key, "%s/%s-key.pem", directory, kind);
}

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

static int make_authority(const engine_t *e, const paths_t *p) {
    char subject[128];
    char host[ENGINE_HOST];

    engine_hostname(host, sizeof host);
    snprintf(subject, sizeof subject, "/O=Ferry/CN=Ferry engine authority of %.30s", host);
    const char *words[] = {"openssl",   "req",     "-x509",   "-config", p->profile, "-extensions",
                           "authority", KEY,       "-sha256", "-days",   "3650",     "-subj",
                           subject,     "-keyout", p->ca_key, "-out",    p->ca,      (char *)0};
    return openssl(e, words);
}

static int sign(const engine_t *e, const paths_t *p, const char *kind, const char *days) {
    char subject[64];
    char serial[40];
    uint64_t number = 0;

    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return STATUS_FAILED;
    snprintf(subject, sizeof subject, "/O=Ferry/CN=Ferry engine %s", kind);
    snprintf(serial, sizeof serial, "0x%016llx", (unsigned long long)(number >> 1) | 1);
    const char *request[] = {"openssl", "req",  "-new",     "-config", p->profile, KEY,      "-subj",
                             subject,   "-out", p->request, "-keyout", p->key,     (char *)0};
    const char *certificate[] = {"openssl",  "x509",     "-req",        "-in",         p->request, "-CA",   p->ca,
                                 "-CAkey",   p->ca_key,  "-sha256",     "-set_serial", serial,     "-days", days,
                                 "-extfile", p->profile, "-extensions", kind,          "-out",     p->cert, (char *)0};
    int status = openssl(e, request);
    if (status == 0)
        status = openssl(e, certificate);
    (void)unlink(p->request);
    return status;
}

/* Whether the certificate is there, for these names (its profile is the same), and good for another month. */
static bool is_good(const engine_t *e, const paths_t *p, const char *text) {
    const char *words[] = {"openssl", "x509", "-checkend", "2592000", "-noout", "-in", p->cert, (char *)0};
    char found[sizeof profile + NAMES] = "";
    char said[SAID];
    FILE *file = fopen(p->profile, "re");
    size_t n = file != NULL ? fread(found, 1, sizeof found - 1, file) : 0;

    if (file != NULL)
        fclose(file);
    found[n] = '\0';
    return strcmp(found, text) == 0 && is_there(p->key) && run(e, (char *const *)(uintptr_t)words, said) == 0;
}

static int ensure(const engine_t *e, const paths_t *p, const char *text, const char *kind, const char *days) {
    bool may_sign = is_there(p->ca_key);

    if (is_there(p->cert) && (!may_sign || is_good(e, p, text)))
        return 0;
    if (!may_sign) {
        say("%s is not there, and without %s none can be made", p->cert, p->ca_key);
        return STATUS_FAILED;
    }
    int status = engine_put_file(p->profile, text);
    return status == 0 ? sign(e, p, kind, days) : status;
}

/* The nodes of a cluster have the authority's certificate beside their own, too. */
static int copy_authority(const char *from, const char *directory) {
    char to[PATH_MAX];
    char text[16384];

    if (snprintf(to, sizeof to, "%s/ca.pem", directory) < 0 || strcmp(from, to) == 0)
        return 0;
    FILE *file = fopen(from, "re");
    size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[n] = '\0';
    return engine_put_file(to, text);
}

int engine_certificates(const engine_t *e, const char *authority, const char *directory,
                        const engine_address_t *listens) {
    paths_t p;
    char names[NAMES];
    char text[sizeof profile + NAMES];
    int status = 0;

    all_names(listens, names);
    snprintf(text, sizeof text, "%s%s\n", profile, names);
    name_paths(&p, authority, directory, "server");
    if (!is_there(p.ca)) {
        status = engine_put_file(p.profile, text);
        if (status == 0)
            status = make_authority(e, &p);
        (void)unlink(p.cert); /* of an authority that is gone */
    }
    if (status == 0)
        status = ensure(e, &p, text, "server", "825");
    if (status == 0)
        status = copy_authority(p.ca, directory);
    if (status != 0 || !e->mutual)
        return status;
    name_paths(&p, authority, authority, "client");
    snprintf(text, sizeof text, "%sDNS:client\n", profile);
    return ensure(e, &p, text, "client", "3650");
}
