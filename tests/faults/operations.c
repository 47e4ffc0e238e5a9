/* Counts the file operations of a process below one folder, and lets one of them fail, or lets the process die there.

   The library is loaded before libc (LD_PRELOAD), so that it sees what Python, Rust and C write alike. It does nothing until
   faults_watch() is called. Each operation is one line of the log: kind, nanoseconds, inode, number of bytes, path. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPEN = 1, WRITE = 2, SYNC = 4, RENAME = 8, REMOVE = 16, MKDIR = 32, RESIZE = 64, LINK = 128, MODE = 256, READ = 512 };
enum action { OBSERVE, DIE_BEFORE, DIE_HALFWAY, FAIL_ONCE, FAIL_FOREVER, MOVE_AWAY, STOP };

static char folder[PATH_MAX];
static size_t folder_length;
static int log_file = -1;
static unsigned kinds;
static long nth, count;
static enum action action;
static int error_number;

/* From now on watches operations of these kinds below a folder; at the nth (from 0) it does the action. */
void faults_watch(const char *path, int log, unsigned of_kinds, long at, int do_action, int with_error) {
    strncpy(folder, path, sizeof folder - 1);
    folder_length = strlen(folder);
    log_file = log;
    kinds = of_kinds;
    nth = at;
    count = 0;
    action = do_action;
    error_number = with_error;
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

static void move_away(void) {
    char elsewhere[PATH_MAX + 8];
    snprintf(elsewhere, sizeof elsewhere, "%s.gone", folder);
    syscall(SYS_rename, folder, elsewhere);
}

static const char *name_of(enum kind kind) {
    switch (kind) {
    case OPEN: return "open";
    case WRITE: return "write";
    case SYNC: return "sync";
    case RENAME: return "rename";
    case REMOVE: return "remove";
    case MKDIR: return "mkdir";
    case RESIZE: return "resize";
    case LINK: return "link";
    case MODE: return "mode";
    default: return "read";
    }
}

/* The path behind a descriptor; empty if there is none. */
static void path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
}

/* A path as an absolute one. */
static void absolute(int at, const char *path, char *full) {
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
        return;
    }
    char start[PATH_MAX];
    if (at == AT_FDCWD) {
        if (!getcwd(start, sizeof start)) start[0] = 0;
    } else {
        path_of(at, start);
    }
    if (snprintf(full, PATH_MAX, "%s/%s", start, path) >= PATH_MAX) full[PATH_MAX - 1] = 0;
}

static int is_below(const char *path) {
    return !strncmp(path, folder, folder_length) && (folder_length <= 1 || path[folder_length] == '/' || !path[folder_length]);
}

static void log_line(enum kind kind, unsigned long inode, size_t bytes, const char *path) {
    char line[PATH_MAX + 128];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s\t%lld\t%lu\t%zu\t%s\n", name_of(kind),
                          now.tv_sec * 1000000000LL + now.tv_nsec, inode, bytes, path);
    if (length >= (int)sizeof line) length = sizeof line - 1;
    for (int i = 0; i < length - 1; i++)
        if (line[i] == '\n') line[i] = '?';
    line[length - 1] = '\n';
    syscall(SYS_write, log_file, line, length);
}

/* What is to happen to an operation: 0 nothing, -1 it fails (errno is set), 1 the process dies half-way through it. */
static int decide(enum kind kind, const char *path, unsigned long inode, size_t bytes) {
    if (log_file < 0 || !(kinds & kind) || !is_below(path)) return 0;
    int saved = errno;
    long number = __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST);
    log_line(kind, inode, bytes, path);
    errno = saved;
    if (action == OBSERVE || number < nth || (number > nth && action != FAIL_FOREVER)) return 0;
    if (action == DIE_BEFORE) die();
    if (action == DIE_HALFWAY) return 1;
    if (action == MOVE_AWAY || action == STOP) {
        if (action == STOP) syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
        if (action == MOVE_AWAY) move_away();
        errno = saved;
        return 0;
    }
    errno = error_number;
    return -1;
}

static int decide_path(enum kind kind, int at, const char *path) {
    char full[PATH_MAX];
    if (log_file < 0 || !path) return 0;
    absolute(at, path, full);
    return decide(kind, full, 0, 0);
}

static int decide_fd(enum kind kind, int fd, size_t bytes) {
    char path[PATH_MAX];
    struct stat status;
    if (log_file < 0 || fd == log_file || !(kinds & kind)) return 0;
    path_of(fd, path);
    if (path[0] != '/' || !is_below(path)) return 0;
    int saved = errno;
    unsigned long inode = fstat(fd, &status) ? 0 : (unsigned long)status.st_ino;
    errno = saved;
    return decide(kind, path, inode, bytes);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* An operation that cannot be done by halves: dying half-way is dying after it. */
#define WHOLE(decision, call)                                                                                                  \
    do {                                                                                                                       \
        int decided = decision;                                                                                                \
        if (decided < 0) return -1;                                                                                            \
        __auto_type result = call;                                                                                             \
        if (decided > 0) die();                                                                                                \
        return result;                                                                                                         \
    } while (0)

#define BY_HALVES(fd, size, half, call)                                                                                        \
    do {                                                                                                                       \
        int decided = decide_fd(WRITE, fd, size);                                                                              \
        if (decided < 0) return -1;                                                                                            \
        if (decided > 0) {                                                                                                     \
            half;                                                                                                              \
            die();                                                                                                             \
        }                                                                                                                      \
        return call;                                                                                                           \
    } while (0)

static enum kind opened(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC) ? OPEN : READ; }

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPENS(name)                                                                                                            \
    int name(const char *path, int flags, ...) {                                                                               \
        va_list arguments;                                                                                                     \
        va_start(arguments, flags);                                                                                            \
        mode_t mode = mode_of(flags, arguments);                                                                               \
        va_end(arguments);                                                                                                     \
        WHOLE(decide_path(opened(flags), AT_FDCWD, path), REAL(name)(path, flags, mode));                                       \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                                                         \
    int name(int at, const char *path, int flags, ...) {                                                                       \
        va_list arguments;                                                                                                     \
        va_start(arguments, flags);                                                                                            \
        mode_t mode = mode_of(flags, arguments);                                                                               \
        va_end(arguments);                                                                                                     \
        WHOLE(decide_path(opened(flags), at, path), REAL(name)(at, path, flags, mode));                                         \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int creat(const char *path, mode_t mode) { WHOLE(decide_path(OPEN, AT_FDCWD, path), REAL(creat)(path, mode)); }

#define FOPENS(name)                                                                                                           \
    FILE *name(const char *path, const char *mode) {                                                                           \
        int decided = decide_path(strpbrk(mode, "wa+") ? OPEN : READ, AT_FDCWD, path);                                          \
        if (decided < 0) return NULL;                                                                                          \
        FILE *file = REAL(name)(path, mode);                                                                                   \
        if (decided > 0) die();                                                                                                \
        return file;                                                                                                           \
    }
FOPENS(fopen)
FOPENS(fopen64)

ssize_t write(int fd, const void *data, size_t size) {
    BY_HALVES(fd, size, syscall(SYS_write, fd, data, size / 2), REAL(write)(fd, data, size));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    BY_HALVES(fd, size, syscall(SYS_pwrite64, fd, data, size / 2, at), REAL(pwrite)(fd, data, size, at));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    BY_HALVES(fd, size, syscall(SYS_pwrite64, fd, data, size / 2, at), REAL(pwrite64)(fd, data, size, at));
}
ssize_t writev(int fd, const struct iovec *parts, int num) {
    BY_HALVES(fd, num ? parts[0].iov_len : 0, syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len / 2),
              REAL(writev)(fd, parts, num));
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    BY_HALVES(to, size, syscall(SYS_sendfile, to, from, at, 1), REAL(sendfile)(to, from, at, size));
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    BY_HALVES(to, size, syscall(SYS_sendfile, to, from, at, 1), REAL(sendfile64)(to, from, at, size));
}
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags) {
    BY_HALVES(to, size, syscall(SYS_copy_file_range, from, at, to, to_at, 1, flags),
              REAL(copy_file_range)(from, at, to, to_at, size, flags));
}

int fsync(int fd) { WHOLE(decide_fd(SYNC, fd, 0), REAL(fsync)(fd)); }
int fdatasync(int fd) { WHOLE(decide_fd(SYNC, fd, 0), REAL(fdatasync)(fd)); }
int ftruncate(int fd, off_t size) { WHOLE(decide_fd(RESIZE, fd, size), REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { WHOLE(decide_fd(RESIZE, fd, size), REAL(ftruncate64)(fd, size)); }
int truncate(const char *path, off_t size) { WHOLE(decide_path(RESIZE, AT_FDCWD, path), REAL(truncate)(path, size)); }
int truncate64(const char *path, off64_t size) { WHOLE(decide_path(RESIZE, AT_FDCWD, path), REAL(truncate64)(path, size)); }
int posix_fallocate(int fd, off_t at, off_t size) {
    int decided = decide_fd(RESIZE, fd, size);
    if (decided < 0) return errno;
    int result = REAL(posix_fallocate)(fd, at, size);
    if (decided > 0) die();
    return result;
}

int rename(const char *from, const char *to) { WHOLE(decide_path(RENAME, AT_FDCWD, to), REAL(rename)(from, to)); }
int renameat(int at, const char *from, int to_at, const char *to) {
    WHOLE(decide_path(RENAME, to_at, to), REAL(renameat)(at, from, to_at, to));
}
int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) {
    WHOLE(decide_path(RENAME, to_at, to), REAL(renameat2)(at, from, to_at, to, flags));
}
int link(const char *from, const char *to) { WHOLE(decide_path(LINK, AT_FDCWD, to), REAL(link)(from, to)); }
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    WHOLE(decide_path(LINK, to_at, to), REAL(linkat)(at, from, to_at, to, flags));
}
int symlink(const char *target, const char *path) { WHOLE(decide_path(LINK, AT_FDCWD, path), REAL(symlink)(target, path)); }
int symlinkat(const char *target, int at, const char *path) { WHOLE(decide_path(LINK, at, path), REAL(symlinkat)(target, at, path)); }
int unlink(const char *path) { WHOLE(decide_path(REMOVE, AT_FDCWD, path), REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { WHOLE(decide_path(REMOVE, at, path), REAL(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { WHOLE(decide_path(REMOVE, AT_FDCWD, path), REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { WHOLE(decide_path(MKDIR, AT_FDCWD, path), REAL(mkdir)(path, mode)); }
int mkdirat(int at, const char *path, mode_t mode) { WHOLE(decide_path(MKDIR, at, path), REAL(mkdirat)(at, path, mode)); }
int chmod(const char *path, mode_t mode) { WHOLE(decide_path(MODE, AT_FDCWD, path), REAL(chmod)(path, mode)); }
int fchmod(int fd, mode_t mode) { WHOLE(decide_fd(MODE, fd, 0), REAL(fchmod)(fd, mode)); }
int fchmodat(int at, const char *path, mode_t mode, int flags) {
    WHOLE(decide_path(MODE, at, path), REAL(fchmodat)(at, path, mode, flags));
}

/* A file that is written through memory is seen when it is mapped. */
#define MAPS(name, offset)                                                                                                     \
    void *name(void *address, size_t size, int protection, int flags, int fd, offset at) {                                     \
        if (fd >= 0 && protection & PROT_WRITE && flags & MAP_SHARED && decide_fd(RESIZE, fd, size) < 0) return MAP_FAILED;     \
        return REAL(name)(address, size, protection, flags, fd, at);                                                           \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)
