/* A disk that is slow, takes nothing, or has not yet written what it was given: for what lies below $SHIM_FOLDER.
 *
 * Loaded with LD_PRELOAD. The harness sets, in the file $SHIM_CONTROL, how long a write and a sync take, and the error
 * that everything that changes something is refused with (0: none). In $SHIM_LOG a line "device inode size" says how
 * much of a file has been brought to the disk; 0 when it is made.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    double write_delay, sync_delay;
    int refuse;
};

static volatile struct control *control;
static const char *folder;
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM_CONTROL"), *log = getenv("SHIM_LOG");
    const char *concerned = getenv("SHIM_FOLDER");
    folder = concerned ? strdup(concerned) : NULL; /* setproctitle writes over the environment */
    int fd = path ? REAL(open)(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return;
    control = map;
    if (log) log_fd = REAL(open)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

static int below(const char *path) { return control && folder && path && !strncmp(path, folder, strlen(folder)); }

static int concerns(int fd) {
    char link[40], path[PATH_MAX];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static void pause_for(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (seconds > 0 && nanosleep(&left, &left) && errno == EINTR) {}
}

static int refused(void) {
    if (control->refuse) errno = control->refuse;
    return control->refuse;
}

static void note(int fd) {
    struct stat about;
    char line[96];
    if (log_fd < 0 || fstat(fd, &about)) return;
    unsigned long device = about.st_dev, inode = about.st_ino;
    int length = snprintf(line, sizeof line, "%lu %lu %ld\n", device, inode, (long)about.st_size);
    if (REAL(write)(log_fd, line, length) != length) return;
}

#define CHANGE(fd, call)                                                                                               \
    do {                                                                                                               \
        if (concerns(fd)) {                                                                                            \
            pause_for(control->write_delay);                                                                           \
            if (refused()) return -1;                                                                                  \
        }                                                                                                              \
        return call;                                                                                                   \
    } while (0)

ssize_t write(int fd, const void *data, size_t size) { CHANGE(fd, REAL(write)(fd, data, size)); }
ssize_t writev(int fd, const struct iovec *data, int count) { CHANGE(fd, REAL(writev)(fd, data, count)); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { CHANGE(fd, REAL(pwrite)(fd, data, size, at)); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { CHANGE(fd, REAL(pwrite64)(fd, data, size, at)); }
int ftruncate(int fd, off_t size) { CHANGE(fd, REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { CHANGE(fd, REAL(ftruncate64)(fd, size)); }

#define SYNC(name)                                                                                                     \
    int name(int fd) {                                                                                                 \
        int mine = concerns(fd);                                                                                       \
        if (mine) {                                                                                                    \
            pause_for(control->sync_delay);                                                                            \
            if (refused()) return -1;                                                                                  \
        }                                                                                                              \
        int result = REAL(name)(fd);                                                                                   \
        if (mine && !result) note(fd);                                                                                 \
        return result;                                                                                                 \
    }

SYNC(fsync)
SYNC(fdatasync)

static int opened(int fd, int flags) {
    struct stat about;
    if (fd >= 0 && (flags & (O_WRONLY | O_RDWR)) && !fstat(fd, &about) && S_ISREG(about.st_mode) && !about.st_size)
        note(fd);
    return fd;
}

#define CHANGES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        int mine = below(path) && CHANGES(flags);                                                                      \
        if (mine && refused()) return -1;                                                                              \
        int fd = REAL(name)(path, flags, mode);                                                                        \
        return mine ? opened(fd, flags) : fd;                                                                          \
    }

#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        int mine = below(path) && CHANGES(flags);                                                                      \
        if (mine && refused()) return -1;                                                                              \
        int fd = REAL(name)(at, path, flags, mode);                                                                    \
        return mine ? opened(fd, flags) : fd;                                                                          \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                                    \
    FILE *name(const char *restrict path, const char *restrict mode) {                                                 \
        int mine = below(path) && strpbrk(mode, "wa+");                                                                \
        if (mine && refused()) return NULL;                                                                            \
        FILE *file = REAL(name)(path, mode);                                                                           \
        if (mine && file) opened(fileno(file), O_WRONLY);                                                              \
        return file;                                                                                                   \
    }

FOPEN(fopen)
FOPEN(fopen64)

#define NAMES(path, call)                                                                                              \
    do {                                                                                                               \
        if (below(path) && refused()) return -1;                                                                       \
        return call;                                                                                                   \
    } while (0)

int mkdir(const char *path, mode_t mode) { NAMES(path, REAL(mkdir)(path, mode)); }
int rmdir(const char *path) { NAMES(path, REAL(rmdir)(path)); }
int unlink(const char *path) { NAMES(path, REAL(unlink)(path)); }
int rename(const char *from, const char *to) { NAMES(to, REAL(rename)(from, to)); }
int truncate(const char *path, off_t size) { NAMES(path, REAL(truncate)(path, size)); }
