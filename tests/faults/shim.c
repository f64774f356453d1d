/* Counts the calls that change files below one folder, and breaks one of them.

   Loaded before libc (LD_PRELOAD), so that Python, FFmpeg and Arrow alike come through here. What to
   do stands in a small shared file, which also holds the count: several processes count together.
   It does nothing until `faults_arm` is called, or TV_FAULTS names that file. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL, FAIL_HALF };
enum { PASS, BREAK_BEFORE, BREAK_AFTER, BREAK_HALF, REFUSE, REFUSE_HALF };

/* The same as `shim.Control`. */
struct control {
  int64_t at;       /* which call to break, from 1 */
  int64_t count;    /* calls so far */
  int32_t kind;     /* one of the first enum */
  int32_t error;    /* the errno of FAIL */
  int32_t sticky;   /* whether later calls that need room fail too; 2: whether all do */
  int32_t fired;    /* whether it has happened */
  int32_t group;    /* whether to kill the whole process group */
  int32_t unused;
  char below[1024];   /* the folder */
  char journal[1024]; /* where the calls are listed */
  char backup[1024];  /* where what a rename replaces is kept, or empty */
};

static struct control *control;
static int journal = -1;


void faults_arm(const char *path) {
  int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (shared == MAP_FAILED) return;
  struct control *found = shared;
  fd = syscall(SYS_openat, AT_FDCWD, found->journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  journal = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 40);
  syscall(SYS_close, fd);
  __atomic_store_n(&control, found, __ATOMIC_SEQ_CST);
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("TV_FAULTS");
  if (path && *path) faults_arm(path);
}

static int is_below(const char *path) {
  size_t length = strlen(control->below);
  return !strncmp(path, control->below, length) && (path[length] == '/' || !path[length]);
}

/* Write the whole path of a name, and say whether the call is one of ours. */
static int named(int dirfd, const char *name, char *out) {
  if (!control || !name) return 0;
  size_t used = 0;
  if (name[0] != '/') {
    char link[64];
    if (dirfd == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 2);
    if (got < 0) return 0;
    used = got;
    out[used++] = '/';
  }
  if (used + strlen(name) >= PATH_MAX) return 0;
  strcpy(out + used, name);
  return is_below(out);
}

static int opened(int fd, char *out) {
  if (!control || fd < 0) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
  if (got < 0) return 0;
  out[got] = 0;
  return is_below(out);
}

static void die(void) {
  pid_t whom = control->group ? 0 : (pid_t)syscall(SYS_getpid);
  for (;;) {
    syscall(SYS_kill, whom, SIGKILL);
    usleep(1000);
  }
}

/* Count one call of kind `op` and say what is to become of it. */
static int point(char op, int64_t *number) {
  int64_t n = *number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (control->kind == COUNT || n < control->at) return PASS;
  if (n == control->at) {
    control->fired = 1;
    switch (control->kind) {
      case KILL_BEFORE: die(); break;
      case KILL_AFTER: return BREAK_AFTER;
      case KILL_HALF: return op == 'w' ? BREAK_HALF : BREAK_AFTER;
      case FAIL: return REFUSE;
      case FAIL_HALF: return op == 'w' ? REFUSE_HALF : REFUSE;
    }
  }
  if (!control->fired || (control->kind != FAIL && control->kind != FAIL_HALF)) return PASS;
  int needs_room = op == 'c' || op == 'w' || op == 'm' || op == 'l';
  return control->sticky == 2 || (control->sticky && needs_room) ? REFUSE : PASS;
}

/* List one call that is done: number, kind, inode, size, path, other path. */
static void note(int64_t n, char op, int fd, const char *path, const char *other) {
  struct stat facts;
  char line[2 * PATH_MAX + 128];
  int saved = errno;
  int known = (fd >= 0 ? fstat(fd, &facts) : fstatat(AT_FDCWD, path, &facts, AT_SYMLINK_NOFOLLOW)) == 0;
  int length = snprintf(line, sizeof line, "%lld\t%c\t%llu\t%lld\t%s\t%s\n", (long long)n, op,
                        known ? (unsigned long long)facts.st_ino : 0ULL,
                        known ? (long long)facts.st_size : -1LL, path, other ? other : "");
  if (length > 0) syscall(SYS_write, journal, line, length);
  errno = saved;
}

static void after(int action, int64_t n, char op, int ok, int fd, const char *path, const char *other) {
  if (ok) note(n, op, fd, path, other);
  if (action == BREAK_AFTER || action == BREAK_HALF) die();
}

#define REFUSED(action) ((action) == REFUSE || (action) == REFUSE_HALF)

/* A call on a path that returns 0 or -1. */
#define ON_PATH(op, dirfd, name, call) \
  char path[PATH_MAX]; \
  if (!named(dirfd, name, path)) return call; \
  int64_t n; \
  int action = point(op, &n); \
  if (REFUSED(action)) { errno = control->error; return -1; } \
  int result = call; \
  after(action, n, op, result == 0, -1, path, NULL); \
  return result

/* open and its kin: a point where it may create or empty a file. */
static int open_at(int dirfd, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  if (!(flags & (O_CREAT | O_TRUNC)) || !named(dirfd, name, path))
    return syscall(SYS_openat, dirfd, name, flags, mode);
  int64_t n;
  int action = point('c', &n);
  if (REFUSED(action)) { errno = control->error; return -1; }
  int fd = syscall(SYS_openat, dirfd, name, flags, mode);
  after(action, n, 'c', fd >= 0, fd, path, NULL);
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, name, flags, mode); }
int openat(int dirfd, const char *name, int flags, ...) { MODE(flags) return open_at(dirfd, name, flags, mode); }
int openat64(int dirfd, const char *name, int flags, ...) { MODE(flags) return open_at(dirfd, name, flags, mode); }
int creat(const char *name, mode_t mode) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* write and its kin; `part` is the same call with half of the bytes. */
#define ON_FILE(fd, whole, part) \
  char path[PATH_MAX]; \
  if (!opened(fd, path)) return whole; \
  int64_t n; \
  int action = point('w', &n); \
  if (action == REFUSE) { errno = control->error; return -1; } \
  ssize_t result = action == BREAK_HALF || action == REFUSE_HALF ? part : whole; \
  after(action, n, 'w', result >= 0, fd, path, NULL); \
  return result

#define HALF(count) ((count) > 1 ? (count) / 2 : (count))

ssize_t write(int fd, const void *data, size_t count) {
  ON_FILE(fd, syscall(SYS_write, fd, data, count), syscall(SYS_write, fd, data, HALF(count)));
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
  ON_FILE(fd, syscall(SYS_pwrite64, fd, data, count, at), syscall(SYS_pwrite64, fd, data, HALF(count), at));
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
  ON_FILE(fd, syscall(SYS_pwrite64, fd, data, count, at), syscall(SYS_pwrite64, fd, data, HALF(count), at));
}
ssize_t writev(int fd, const struct iovec *some, int count) {
  ON_FILE(fd, syscall(SYS_writev, fd, some, count),
          syscall(SYS_write, fd, some->iov_base, HALF(some->iov_len)));
}
ssize_t sendfile(int fd, int from, off_t *at, size_t count) {
  ON_FILE(fd, syscall(SYS_sendfile, fd, from, at, count), syscall(SYS_sendfile, fd, from, at, HALF(count)));
}
ssize_t sendfile64(int fd, int from, off64_t *at, size_t count) {
  ON_FILE(fd, syscall(SYS_sendfile, fd, from, at, count), syscall(SYS_sendfile, fd, from, at, HALF(count)));
}
ssize_t copy_file_range(int from, off64_t *a, int fd, off64_t *b, size_t count, unsigned flags) {
  ON_FILE(fd, syscall(SYS_copy_file_range, from, a, fd, b, count, flags),
          syscall(SYS_copy_file_range, from, a, fd, b, HALF(count), flags));
}
int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *what = va_arg(rest, void *);
  va_end(rest);
  char path[PATH_MAX];
  if (request != FICLONE || !opened(fd, path)) return syscall(SYS_ioctl, fd, request, what);
  int64_t n;
  int action = point('w', &n);
  if (REFUSED(action)) { errno = control->error; return -1; }
  int result = syscall(SYS_ioctl, fd, request, what);
  after(action, n, 'w', result == 0, fd, path, NULL);
  return result;
}

#define ON_DESCRIPTOR(op, fd, call) \
  char path[PATH_MAX]; \
  if (!opened(fd, path)) return call; \
  int64_t n; \
  int action = point(op, &n); \
  if (REFUSED(action)) { errno = control->error; return -1; } \
  int result = call; \
  after(action, n, op, result == 0, fd, path, NULL); \
  return result

int fsync(int fd) { ON_DESCRIPTOR('s', fd, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { ON_DESCRIPTOR('s', fd, syscall(SYS_fdatasync, fd)); }
int ftruncate(int fd, off_t size) { ON_DESCRIPTOR('t', fd, syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off64_t size) { ON_DESCRIPTOR('t', fd, syscall(SYS_ftruncate, fd, size)); }

int mkdir(const char *name, mode_t mode) {
  ON_PATH('m', AT_FDCWD, name, syscall(SYS_mkdirat, AT_FDCWD, name, mode));
}
int mkdirat(int dirfd, const char *name, mode_t mode) {
  ON_PATH('m', dirfd, name, syscall(SYS_mkdirat, dirfd, name, mode));
}
int unlink(const char *name) { ON_PATH('u', AT_FDCWD, name, syscall(SYS_unlinkat, AT_FDCWD, name, 0)); }
int unlinkat(int dirfd, const char *name, int flags) {
  ON_PATH('u', dirfd, name, syscall(SYS_unlinkat, dirfd, name, flags));
}
int rmdir(const char *name) {
  ON_PATH('u', AT_FDCWD, name, syscall(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR));
}

static int two_names(char op, int from_dir, const char *from, int dirfd, const char *name, long call,
                     unsigned flags) {
  char old[PATH_MAX], path[PATH_MAX];
  int ours = named(from_dir, from, old);
  if (!named(dirfd, name, path) && !ours)
    return syscall(call, from_dir, from, dirfd, name, flags);
  int64_t n;
  int action = point(op, &n);
  if (REFUSED(action)) { errno = control->error; return -1; }
  if (op == 'r' && control->backup[0]) {
    char kept[2 * PATH_MAX];
    snprintf(kept, sizeof kept, "%s/%lld", control->backup, (long long)n);
    int saved = errno;
    syscall(SYS_linkat, dirfd, name, AT_FDCWD, kept, 0);
    errno = saved;
  }
  int result = syscall(call, from_dir, from, dirfd, name, flags);
  after(action, n, op, result == 0, -1, path, old);
  return result;
}

int rename(const char *a, const char *b) { return two_names('r', AT_FDCWD, a, AT_FDCWD, b, SYS_renameat2, 0); }
int renameat(int x, const char *a, int y, const char *b) { return two_names('r', x, a, y, b, SYS_renameat2, 0); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) {
  return two_names('r', x, a, y, b, SYS_renameat2, f);
}
int link(const char *a, const char *b) { return two_names('l', AT_FDCWD, a, AT_FDCWD, b, SYS_linkat, 0); }
int linkat(int x, const char *a, int y, const char *b, int f) { return two_names('l', x, a, y, b, SYS_linkat, f); }
int symlink(const char *to, const char *name) {
  ON_PATH('l', AT_FDCWD, name, syscall(SYS_symlinkat, to, AT_FDCWD, name));
}
