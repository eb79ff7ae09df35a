/* The child of every supervisor: reports its start, then serves ComfyUI's routes.
 *
 * It reports its start to the FIFO named by BENCH_STARTS as three 64-bit numbers: port, pid, and
 * the nanoseconds of CLOCK_MONOTONIC, read before anything else. Link it statically, so that
 * loading libraries is not measured. `GET /flood/BYTES/CHUNK` writes BYTES bytes to stdout before
 * the response, in lines of CHUNK bytes with one write(2) each. `/ws` is a websocket that sends one
 * message, which reports an empty queue.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char BODY[] =
    "{\"system\": {\"python_version\": \"3\"}, \"devices\": [],"
    " \"exec_info\": {\"queue_remaining\": 0}, \"queue_running\": [], \"queue_pending\": []}";

static const char STATUS[] =
    "{\"type\": \"status\", \"data\": {\"status\": {\"exec_info\": {\"queue_remaining\": 0}}}}";

static void report_start(const char *port, struct timespec began)
{
    const char *fifo = getenv("BENCH_STARTS");
    int64_t start[] = {atoi(port), getpid(), began.tv_sec * 1000000000LL + began.tv_nsec};
    int fd = fifo == NULL ? -1 : open(fifo, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, start, sizeof start) != sizeof start)
        exit(3);
    close(fd);
}

static int listen_on(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16) != 0)
        exit(1);
    return fd;
}

static void flood(long long bytes, size_t chunk)
{
    char *line = malloc(chunk);
    memset(line, 'x', chunk);
    line[chunk - 1] = '\n';
    for (; bytes > 0; bytes -= chunk)
        if (write(STDOUT_FILENO, line, chunk) != (ssize_t)chunk)
            exit(2);
    free(line);
}

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* Compute the SHA-1 (RFC 3174) of a text of 56 to 119 characters, which is two blocks. */
static void digest_of(const char *text, uint8_t digest[20])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t padded[128] = {0};
    size_t length = strlen(text);
    memcpy(padded, text, length);
    padded[length] = 0x80;
    padded[126] = length * 8 >> 8, padded[127] = length * 8;
    for (uint8_t *block = padded; block < padded + sizeof padded; block += 64) {
        uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
        for (int i = 16; i < 80; i++)
            w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t mixed = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999
                           : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                           : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                                    : (b ^ c ^ d) + 0xCA62C1D6;
            mixed += rotated(a, 5) + e + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = mixed;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = state[i / 4] >> (24 - i % 4 * 8);
}

/* Answer the handshake of RFC 6455, and send STATUS in one frame. */
static void become_websocket(int client, const char *key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[120], proof[29] = "";
    uint8_t digest[21] = {0}, head[] = {0x81, sizeof STATUS - 1};
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    digest_of(text, digest);
    for (int i = 0; i < 7; i++) {
        uint32_t three = digest[3 * i] << 16 | digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            proof[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    proof[27] = '=';
    dprintf(client,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: %s\r\n\r\n", proof);
    if (write(client, head, sizeof head) < 0 || write(client, STATUS, sizeof STATUS - 1) < 0)
        close(client);
}

static void answer(int client)
{
    static const char KEY[] = "Sec-WebSocket-Key: ";
    char *key;
    char request[4096] = "";
    long long bytes;
    size_t chunk;
    if (read(client, request, sizeof request - 1) > 0) {
        if (sscanf(request, "GET /flood/%lld/%zu ", &bytes, &chunk) == 2 && chunk > 0)
            flood(bytes, chunk);
        if ((key = strstr(request, KEY)) != NULL) {
            become_websocket(client, key + strlen(KEY));
            return;
        }
        dprintf(client,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                "Content-Length: %zu\r\n\r\n%s", sizeof BODY - 1, BODY);
    }
    close(client);
}

int main(int argc, char **argv)
{
    struct timespec began;
    const char *port = "0";
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--port") == 0)
            port = argv[i + 1];
    report_start(port, began);
    for (int listener = listen_on(port);;)
        answer(accept(listener, NULL, NULL));
}
