/* What every supervisor keeps here: it says when it began, then answers as ComfyUI does.
 *
 * Its start goes to the FIFO named by BENCH_STARTS as three 64-bit numbers: port, pid, and the
 * nanoseconds of CLOCK_MONOTONIC before it did anything else. Linked statically it begins as soon
 * as the kernel has executed it, so that none of its own time counts. `GET /flood/BYTES/CHUNK` makes it write so
 * many bytes to its stdout, in lines of CHUNK bytes and a write each, before it answers.
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
    " \"exec_info\": {\"queue_remaining\": 0}}";

static void say_start(const char *port, struct timespec began)
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

static void answer(int client)
{
    char request[4096] = "";
    long long bytes;
    size_t chunk;
    if (read(client, request, sizeof request - 1) > 0) {
        if (sscanf(request, "GET /flood/%lld/%zu ", &bytes, &chunk) == 2 && chunk > 0)
            flood(bytes, chunk);
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
    say_start(port, began);
    for (int door = listen_on(port);;)
        answer(accept(door, NULL, NULL));
}
