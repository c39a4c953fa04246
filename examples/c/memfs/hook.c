/* The table of calls, and the start. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include "memfs.h"

static zpoline_fn next;
/** A signal handler that interrupts the hook finds the files as well: what must not be interrupted blocks signals. */
int zpoline_reentrant = 1;

long pass(const struct call *c) { return next(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]); }

/** Arguments are numbered from 1; 0: there is none. */
struct row {
  handler *handler;
  unsigned char fd, other_fd;     /* descriptors */
  unsigned char dir, path;        /* a path, and the directory that it begins at (0: the working directory) */
  unsigned char other_dir, other_path;
  bool about_cwd; /* ours if the working directory is */
};

static const struct row rows[] = {
    [SYS_openat] = {on_openat, .dir = 1, .path = 2},
    [SYS_openat2] = {on_openat2, .dir = 1, .path = 2},
    [SYS_mkdirat] = {on_mkdirat, .dir = 1, .path = 2},
    [SYS_mknodat] = {on_mknodat, .dir = 1, .path = 2},
    [SYS_unlinkat] = {on_unlinkat, .dir = 1, .path = 2},
    [SYS_readlinkat] = {on_readlinkat, .dir = 1, .path = 2},
    [SYS_faccessat] = {on_faccessat, .dir = 1, .path = 2},
    [SYS_faccessat2] = {on_faccessat, .dir = 1, .path = 2},
    [SYS_fchmodat] = {on_fchmodat, .dir = 1, .path = 2},
    [452 /* fchmodat2 */] = {on_fchmodat, .dir = 1, .path = 2},
    [SYS_fchownat] = {on_fchownat, .dir = 1, .path = 2},
    [SYS_utimensat] = {on_utimensat, .dir = 1, .path = 2},
    [SYS_newfstatat] = {on_newfstatat, .dir = 1, .path = 2},
    [SYS_statx] = {on_statx, .dir = 1, .path = 2},
    [SYS_name_to_handle_at] = {on_refused_at, .dir = 1, .path = 2},
    [SYS_renameat2] = {on_renameat2, .dir = 1, .path = 2, .other_dir = 3, .other_path = 4},
    [SYS_linkat] = {on_linkat, .dir = 1, .path = 2, .other_dir = 3, .other_path = 4},
    [SYS_symlinkat] = {on_symlinkat, .dir = 2, .path = 3},
    [SYS_truncate] = {on_truncate, .path = 1},
    [SYS_statfs] = {on_statfs, .path = 1},
    [SYS_chdir] = {on_chdir, .path = 1},
    [SYS_getcwd] = {on_getcwd, .about_cwd = true},
    [SYS_chroot] = {on_refused_path, .path = 1},
    [SYS_setxattr] = {on_refused_path, .path = 1},
    [SYS_lsetxattr] = {on_refused_path, .path = 1},
    [SYS_getxattr] = {on_refused_path, .path = 1},
    [SYS_lgetxattr] = {on_refused_path, .path = 1},
    [SYS_listxattr] = {on_refused_path, .path = 1},
    [SYS_llistxattr] = {on_refused_path, .path = 1},
    [SYS_removexattr] = {on_refused_path, .path = 1},
    [SYS_lremovexattr] = {on_refused_path, .path = 1},
    [SYS_read] = {on_read, .fd = 1},
    [SYS_pread64] = {on_pread64, .fd = 1},
    [SYS_readv] = {on_readv, .fd = 1},
    [SYS_preadv] = {on_preadv, .fd = 1},
    [SYS_preadv2] = {on_preadv, .fd = 1},
    [SYS_write] = {on_write, .fd = 1},
    [SYS_pwrite64] = {on_pwrite64, .fd = 1},
    [SYS_writev] = {on_writev, .fd = 1},
    [SYS_pwritev] = {on_pwritev, .fd = 1},
    [SYS_pwritev2] = {on_pwritev, .fd = 1},
    [SYS_lseek] = {on_lseek, .fd = 1},
    [SYS_fstat] = {on_fstat, .fd = 1},
    [SYS_fstatfs] = {on_fstatfs, .fd = 1},
    [SYS_getdents64] = {on_getdents64, .fd = 1},
    [SYS_ftruncate] = {on_ftruncate, .fd = 1},
    [SYS_fallocate] = {on_fallocate, .fd = 1},
    [SYS_fchmod] = {on_fchmod, .fd = 1},
    [SYS_fchown] = {on_fchown, .fd = 1},
    [SYS_fchdir] = {on_fchdir, .fd = 1},
    [SYS_ioctl] = {on_ioctl, .fd = 1},
    [SYS_mmap] = {on_mmap, .fd = 5},
    [SYS_getdents] = {on_refused, .fd = 1},
    [SYS_fsetxattr] = {on_refused, .fd = 1},
    [SYS_fgetxattr] = {on_refused, .fd = 1},
    [SYS_flistxattr] = {on_refused, .fd = 1},
    [SYS_fremovexattr] = {on_refused, .fd = 1},
    [SYS_sendfile] = {on_invalid, .fd = 1, .other_fd = 2},
    [SYS_splice] = {on_invalid, .fd = 1, .other_fd = 3},
    [SYS_copy_file_range] = {on_exdev, .fd = 1, .other_fd = 3},
    [SYS_epoll_ctl] = {on_eperm, .fd = 3},
};

static void become(struct call *c, long nr, long a, long b, long d, long e, long f) {
  c->nr = nr;
  memcpy(c->a, (long[6]){a, b, d, e, f, 0}, sizeof c->a);
}

/** Calls that newer ones have made superfluous. */
static void modernise(struct call *c) {
  const long *a = c->a;
  switch (c->nr) {
    case SYS_open: return become(c, SYS_openat, AT_FDCWD, a[0], a[1], a[2], 0);
    case SYS_creat: return become(c, SYS_openat, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1], 0);
    case SYS_stat: return become(c, SYS_newfstatat, AT_FDCWD, a[0], a[1], 0, 0);
    case SYS_lstat: return become(c, SYS_newfstatat, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW, 0);
    case SYS_access: return become(c, SYS_faccessat, AT_FDCWD, a[0], a[1], 0, 0);
    case SYS_mkdir: return become(c, SYS_mkdirat, AT_FDCWD, a[0], a[1], 0, 0);
    case SYS_mknod: return become(c, SYS_mknodat, AT_FDCWD, a[0], a[1], a[2], 0);
    case SYS_unlink: return become(c, SYS_unlinkat, AT_FDCWD, a[0], 0, 0, 0);
    case SYS_rmdir: return become(c, SYS_unlinkat, AT_FDCWD, a[0], AT_REMOVEDIR, 0, 0);
    case SYS_rename: return become(c, SYS_renameat2, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
    case SYS_renameat: return become(c, SYS_renameat2, a[0], a[1], a[2], a[3], 0);
    case SYS_link: return become(c, SYS_linkat, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
    case SYS_symlink: return become(c, SYS_symlinkat, a[0], AT_FDCWD, a[1], 0, 0);
    case SYS_readlink: return become(c, SYS_readlinkat, AT_FDCWD, a[0], a[1], a[2], 0);
    case SYS_chmod: return become(c, SYS_fchmodat, AT_FDCWD, a[0], a[1], 0, 0);
    case SYS_chown: return become(c, SYS_fchownat, AT_FDCWD, a[0], a[1], a[2], 0);
    case SYS_lchown: return become(c, SYS_fchownat, AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW);
  }
}

static bool path_may_be_ours(const struct call *c, int dir, int path) {
  char first[6] = "";
  if (!path) return false;
  long from = dir ? c->a[dir - 1] : AT_FDCWD;
  if ((int)from == AT_FDCWD ? cwd != NULL : maybe_ours(from)) return true;
  if (user_read(first, (char *)c->a[path - 1], 5) < 2) return false;
  /* Others are, where they begin like the mount point, or may name a descriptor. */
  if (first[0] != '/') return first[0] == strrchr(mount_point, '/')[1];
  return first[1] == mount_point[1] || first[1] == '/' || !strcmp(first, "/proc") || !strcmp(first, "/dev/");
}

static bool may_be_ours(const struct call *c, const struct row *row) {
  if (row->about_cwd) return cwd != NULL;
  return (row->fd && maybe_ours(c->a[row->fd - 1])) || (row->other_fd && maybe_ours(c->a[row->other_fd - 1])) ||
         path_may_be_ours(c, row->dir, row->path) || path_may_be_ours(c, row->other_dir, row->other_path);
}

static bool is_fork(long nr, const long *a) {
  uint64_t flags = 0;
  if (nr == SYS_clone3) user_read(&flags, (void *)a[0], sizeof flags);
  return nr == SYS_fork || (nr == SYS_clone && !(a[0] & CLONE_VM)) || (nr == SYS_clone3 && !(flags & CLONE_VM));
}

/** What the kernel is about to do with descriptors. */
static void before(const struct call *c) {
  const long *a = c->a;
  if (c->nr == SYS_close) handle_closed(a[0]);
  if (c->nr == SYS_close_range && !(a[2] & 4 /* CLOSE_RANGE_CLOEXEC */))
    for (uint64_t fd = (uint32_t)a[0]; fd <= (uint32_t)a[1] && fd < 1 << 20; fd++) handle_closed((long)fd);
}

/** What the kernel has done. */
static void after(const struct call *c, long result) {
  const long *a = c->a;
  if (result < 0) return;
  if (c->nr == SYS_dup || c->nr == SYS_dup2 || c->nr == SYS_dup3) handle_duplicated(a[0], result);
  if (c->nr == SYS_fcntl && (a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC)) handle_duplicated(a[0], result);
  if ((c->nr == SYS_chdir || c->nr == SYS_fchdir) && own_memory()) cwd = NULL;
  if (c->nr == SYS_umask) umask_now = (uint32_t)a[0] & 0777;
  if (result == 0 && is_fork(c->nr, a)) process_begins();
}

/**
 * Not inlined: calls that are not ours should need little stack. In a signal handler the hook may be on the program's
 * alternate one.
 */
__attribute__((noinline)) static long serve(struct call *c, const struct row *row) {
  char outside[PATH_MAX];
  c->outside = outside;
  uint64_t mask = enter();
  long answer = row->handler(c);
  leave(mask);
  return answer == PASS && c->changed ? pass(c) : answer;
}

static long hook(long nr, long a1, long a2, long a3, long a4, long a5, long a6) {
  struct call c = {.nr = nr, .a = {a1, a2, a3, a4, a5, a6}};
  if (nr == SYS_execve || nr == SYS_execveat) return on_exec(&c);
  struct call modern = c;
  modernise(&modern);
  bool known = (unsigned long)modern.nr < sizeof rows / sizeof *rows && rows[modern.nr].handler;
  const struct row *row = &rows[known ? modern.nr : 0];
  if (known && may_be_ours(&modern, row)) {
    long answer = serve(&modern, row);
    if (answer != PASS) return answer;
  }
  before(&c);
  long result = pass(&c);
  after(&c, result);
  return result;
}

static int fail(const char *why) {
  dprintf(STDERR_FILENO, "memfs: %s\n", why);
  return 1;
}

int __hook_init(long placeholder, void *slot) {
  (void)placeholder;
  const char *at = getenv("MEMFS_MOUNT");
  if (!at) at = "/mem";
  size_t n = strlen(at);
  if (at[0] != '/' || n < 2 || n >= NAME_MAX || at[1] == '/' || at[n - 1] == '/')
    return fail("MEMFS_MOUNT has to be an absolute path, without a slash at its end");
  strcpy(mount_point, at);
  umask_now = (uint32_t)umask(0);
  umask((mode_t)umask_now);
  process_begins();
  if (!image_map(getenv("MEMFS_IMAGE")))
    return fail("the memory cannot be mapped; is MEMFS_IMAGE a file that can be written to?");
  handles_adopt();
  cwd_inherit();
  next = zpoline_install(slot, hook);
  return 0;
}
