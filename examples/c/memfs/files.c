/* Calls that take a file descriptor. */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "memfs.h"

/** The file behind a descriptor that may be written to, or NULL and what to answer. */
static struct inode *writable(struct call *c, long *answer) {
  struct inode *i = handle(c->a[0]);
  long flags = i ? raw(SYS_fcntl, c->a[0], F_GETFL, 0, 0) : 0;
  *answer = !i ? PASS : !is_file(i) || (flags & O_ACCMODE) == O_RDONLY ? -EINVAL : 0;
  return *answer ? NULL : i;
}

long on_ftruncate(struct call *c) {
  long answer;
  struct inode *i = writable(c, &answer);
  return i ? content_resize(i, c->a[1]) : answer;
}

/** Reserving is growing; holes there are none. */
long on_fallocate(struct call *c) {
  long answer;
  struct inode *i = writable(c, &answer);
  if (!i) return answer;
  if (c->a[1]) return -EOPNOTSUPP;
  if (c->a[2] < 0 || c->a[3] <= 0) return -EINVAL;
  return c->a[2] + c->a[3] > i->size ? content_resize(i, c->a[2] + c->a[3]) : 0;
}

/**
 * Mapped is a copy: right for private mappings, and for shared ones that are only read while nobody writes. A
 * shared one to write to is refused. By the next function, which wants to know of new code.
 */
long on_mmap(struct call *c) {
  struct inode *i = handle(c->a[4]);
  size_t length = (size_t)c->a[1], at = (size_t)c->a[5];
  if (!i || (c->a[3] & MAP_ANONYMOUS)) return PASS;
  long flags = raw(SYS_fcntl, c->a[4], F_GETFL, 0, 0);
  if ((flags & O_PATH) || flags < 0) return -EBADF;
  if (!is_file(i)) return -ENODEV;
  if ((flags & O_ACCMODE) == O_WRONLY) return -EACCES;
  if ((c->a[3] & MAP_TYPE) != MAP_PRIVATE && (c->a[2] & PROT_WRITE)) return -ENODEV;
  if (at % 4096) return -EINVAL;
  struct call map = {.nr = SYS_mmap};
  long kind = (c->a[3] & ~MAP_TYPE) | MAP_PRIVATE | MAP_ANONYMOUS;
  memcpy(map.a, (long[6]){c->a[0], c->a[1], PROT_READ | PROT_WRITE, kind, -1, 0}, sizeof map.a);
  long r = pass(&map);
  if (r < 0 && r > -4096) return r;
  if (at < (size_t)i->size) {
    size_t there = (size_t)i->size - at;
    memcpy((void *)r, i->content + at, there < length ? there : length);
  }
  if (c->a[2] == (PROT_READ | PROT_WRITE)) return r;
  struct call protect = {.nr = SYS_mprotect, .a = {r, c->a[1], c->a[2]}};
  long s = pass(&protect);
  return s < 0 ? s : r;
}

long on_fchmod(struct call *c) {
  struct inode *i = handle(c->a[0]);
  return i ? set_mode(i, c->a[1]) : PASS;
}

long on_fchown(struct call *c) {
  struct inode *i = handle(c->a[0]);
  return i ? set_owner(i, c->a[1], c->a[2]) : PASS;
}

long on_fchdir(struct call *c) {
  struct inode *i = handle(c->a[0]);
  if (!i) return PASS;
  if (!is_dir(i)) return -ENOTDIR;
  if (!own_memory()) return -ENOENT;
  cwd = i;
  return 0;
}

/** What is about the descriptor is the kernel's. */
long on_ioctl(struct call *c) {
  uint32_t request = (uint32_t)c->a[1];
  return request == FIOCLEX || request == FIONCLEX || request == FIONBIO ? PASS : -ENOTTY;
}

/* Callers of these have another way, and take it. */
long on_refused(struct call *c) { return (void)c, -EOPNOTSUPP; }
long on_invalid(struct call *c) { return (void)c, -EINVAL; }
long on_exdev(struct call *c) { return (void)c, -EXDEV; }
long on_eperm(struct call *c) { return (void)c, -EPERM; }
