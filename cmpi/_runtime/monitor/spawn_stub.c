/* spawn_stub.py in C, which takes a tenth of the memory and of the time to start.

       spawn_stub PYTHON SCRIPT START [SOCKET]

   It does what SCRIPT does (see there) up to the point where a monitor is needed here, and then becomes
   PYTHON with SCRIPT. Whatever goes wrong before, the script does as well.

   Sources: RFC 7693 (BLAKE2b); unix(7) for SCM_RIGHTS and SO_PEERCRED. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEY = 32, NONCE = 16, PROOF = 32, MAGIC = 8, PATH = 4096 };
enum word { NOTHING = 0, IN_ORDER = 'f', KILLED = 'k' };

extern char **environ;

/* -- the proof (see cmpi/_core/protocol/authentication.py) -- */

static const uint64_t iv[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate(uint64_t x, int n) { return (x >> n) | (x << (64 - n)); }

static uint64_t little(const uint8_t *bytes)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | bytes[i];
    return x;
}

static void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x, v[d] = rotate(v[d] ^ v[a], 32), v[c] += v[d], v[b] = rotate(v[b] ^ v[c], 24);
    v[a] += v[b] + y, v[d] = rotate(v[d] ^ v[a], 16), v[c] += v[d], v[b] = rotate(v[b] ^ v[c], 63);
}

static void compress(uint64_t *h, const uint8_t *block, uint64_t end, int last)
{
    uint64_t v[16], m[16];
    for (int i = 0; i < 8; i++)
        v[i] = h[i], v[i + 8] = iv[i];
    v[12] ^= end;
    if (last)
        v[14] = ~v[14];
    for (int i = 0; i < 16; i++)
        m[i] = little(block + 8 * i);
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = sigma[round % 10];
        for (int i = 0; i < 4; i++)
            mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[2 * i + 8]], m[s[2 * i + 9]]);
    }
    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
    explicit_bzero(m, sizeof m);
    explicit_bzero(v, sizeof v);
}

/* blake2b(first + second, key=key, person=who, digest_size=PROOF); `first` and `second` are nonces. */
static void prove(const uint8_t *key, const char *who, const uint8_t *first, const uint8_t *second, uint8_t *proof)
{
    uint8_t parameters[64] = {PROOF, KEY, 1, 1}, block[128] = {0};
    uint64_t h[8];
    memcpy(parameters + 48, who, strlen(who));
    for (int i = 0; i < 8; i++)
        h[i] = iv[i] ^ little(parameters + 8 * i);
    memcpy(block, key, KEY);
    compress(h, block, sizeof block, 0);
    explicit_bzero(block, sizeof block);
    memcpy(block, first, NONCE);
    memcpy(block + NONCE, second, NONCE);
    compress(h, block, sizeof block + 2 * NONCE, 1);
    for (int i = 0; i < PROOF; i++)
        proof[i] = (uint8_t)(h[i / 8] >> 8 * (i % 8));
}

/* -- files in the job's folder -- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* Redirects output as cmpi/_runtime/own_output.py does. */
static void write_to_own_output(const char *folder)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/own-output", folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    dup2(fd, 1);
    dup2(fd, 2);
    close(fd);
}

/* Writes the file of cmpi/_runtime/linux/pid_files.py. */
static void announce(const char *path, const char *start)
{
    const char *rank = getenv("PMIX_RANK") ? getenv("PMIX_RANK") : variable("PMI_RANK");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    dprintf(fd, "start %s %d\n%s", start, atoi(rank), variable("OMPI_PARENT_PORT"));
    close(fd);
}

static int read_secret(const char *folder, uint8_t *key)
{
    char path[PATH];
    if (snprintf(path, sizeof path, "%s/secret", folder) >= (int)sizeof path)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t nbytes = fd < 0 ? -1 : read(fd, key, KEY);
    if (fd >= 0)
        close(fd);
    return nbytes == KEY ? 0 : -1;
}

/* -- the fork server -- */

static int sock = -1;
static volatile sig_atomic_t told;

static void pass_on(int number)
{
    (void)number;
    told = 1;
    shutdown(sock, SHUT_WR);
}

static int receive(void *to, size_t nbytes)
{
    ssize_t got = recv(sock, to, nbytes, MSG_WAITALL);
    return got == (ssize_t)nbytes ? 0 : -1;
}

static int send_all(const void *from, size_t nbytes)
{
    for (const char *at = from; nbytes;) {
        ssize_t sent = send(sock, at, nbytes, MSG_NOSIGNAL);
        if (sent < 0)
            return -1;
        at += sent;
        nbytes -= (size_t)sent;
    }
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address))
        return -1;
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid != geteuid() ? -1 : 0;
}

/* The client's part of the handshake. */
static int authenticate(const uint8_t *key)
{
    uint8_t greeting[MAGIC + NONCE], answer[NONCE + PROOF], proof[PROOF], expected[PROOF], differs = 0;
    if (receive(greeting, sizeof greeting) || memcmp(greeting, "cmpi/1\r\n", MAGIC))
        return -1;
    if (getrandom(answer, NONCE, 0) != NONCE)
        return -1;
    prove(key, "client", greeting + MAGIC, answer, answer + NONCE);
    if (send_all(answer, sizeof answer) || receive(proof, sizeof proof))
        return -1;
    prove(key, "server", answer, greeting + MAGIC, expected);
    for (int i = 0; i < PROOF; i++)
        differs |= proof[i] ^ expected[i];
    return differs ? -1 : 0;
}

/* Sends the descriptors with the head, then the environment. */
static int send_everything(const char *start)
{
    int fds[4] = {0, 1, 2, -1}, n = 3;
    if (getenv("PMI_FD"))
        fds[n++] = atoi(getenv("PMI_FD"));
    size_t nbytes = 0;
    for (char **each = environ; *each; each++)
        nbytes += strlen(*each) + 1;
    char head[128];
    int length = snprintf(head, sizeof head, "%zu %s %d\n", nbytes ? nbytes - 1 : 0, start, (int)getpid());
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec piece = {head, (size_t)length};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
    memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * (size_t)n);
    if (length >= (int)sizeof head || sendmsg(sock, &message, MSG_NOSIGNAL) != length)
        return -1;
    for (char **each = environ; *each; each++)
        if (send_all(*each, strlen(*each) + (each[1] ? 1 : 0)))
            return -1;
    return 0;
}

/* Gives everything to the fork server and waits for the end; returns the last byte from there. */
static enum word hand_over(const char *start, const char *server, int in_batch_job)
{
    uint8_t key[KEY];
    char folder[PATH], byte, last = NOTHING;
    const char *slash = strrchr(server, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - server) : 0, server);
    int failed = read_secret(folder, key) || connect_to(server) || authenticate(key);
    explicit_bzero(key, sizeof key);
    if (failed || send_everything(start))
        return NOTHING;
    if (!in_batch_job) {
        struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
        sigaction(SIGTERM, &action, NULL);
    }
    ssize_t got;
    while ((got = recv(sock, &byte, 1, 0)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            last = byte;
    if (got < 0)
        return NOTHING;
    return last ? (enum word)last : told ? KILLED : NOTHING;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    char *python = argv[1], *script = argv[2], *start = argv[3], path[PATH];
    int in_batch_job = getenv("CMPI_BATCH") != NULL;
    const char *folder = variable("CMPI_JOB");
    if (in_batch_job)
        signal(SIGTERM, SIG_IGN);
    write_to_own_output(folder);
    snprintf(path, sizeof path, "%s/%d.pid", folder, (int)getpid());
    announce(path, start);
    enum word last = argc > 4 ? hand_over(start, argv[4], in_batch_job) : NOTHING;
    if (last == IN_ORDER) {
        unlink(path);
        return 0;
    }
    char *const finish[] = {python, "-I", "-S", script, start, last ? "killed" : NULL, NULL};
    execv(python, finish);
    perror("cmpi: cannot start Python");
    return 127;
}
