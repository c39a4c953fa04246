/* read, write and their kin. The position is that of the kernel's descriptor. */
#include <sys/uio.h>
#include "memfs.h"

/** Position argument of calls without one. */
#define CURRENT (-1L)

/** -errno where the descriptor is not open for this. */
static long may_transfer(const struct inode *i, long flags, bool writes) {
  if (flags < 0) return flags;
  if (flags & O_PATH) return -EBADF;
  if ((flags & O_ACCMODE) == (writes ? O_RDONLY : O_WRONLY)) return -EBADF;
  if (is_dir(i)) return writes ? -EBADF : -EISDIR;
  return is_file(i) ? 0 : -EINVAL;
}

static long transfer(long fd, const struct iovec *parts, size_t count, long position, bool writes) {
  struct inode *i = handle(fd);
  if (!i) return PASS;
  long flags = raw(SYS_fcntl, fd, F_GETFL, 0, 0);
  long r = may_transfer(i, flags, writes);
  if (r < 0) return r;
  if (position < CURRENT) return -EINVAL;
  long at = position == CURRENT ? raw(SYS_lseek, fd, 0, SEEK_CUR, 0) : position;
  if (at < 0) return at;
  if (writes && (flags & O_APPEND)) at = i->size;
  long done = 0;
  for (size_t k = 0; k < count; k++) {
    long n = writes ? content_write(i, at + done, parts[k].iov_base, parts[k].iov_len)
                    : content_read(i, at + done, parts[k].iov_base, parts[k].iov_len);
    if (n < 0 && !done) return n;
    if (n > 0) done += n;
    if (n < (long)parts[k].iov_len) break;
  }
  if (position == CURRENT) raw(SYS_lseek, fd, at + done, SEEK_SET, 0);
  return done;
}

static long one(struct call *c, long position, bool writes) {
  struct iovec part = {(void *)c->a[1], (size_t)c->a[2]};
  if (part.iov_len > 0x7ffff000) part.iov_len = 0x7ffff000; /* MAX_RW_COUNT */
  return transfer(c->a[0], &part, 1, position, writes);
}

static long many(struct call *c, long position, bool writes) {
  static struct iovec parts[IOV_MAX];
  size_t count = (size_t)c->a[2];
  if (count > IOV_MAX) return -EINVAL;
  if (user_read(parts, (void *)c->a[1], count * sizeof *parts) != (long)(count * sizeof *parts)) return -EFAULT;
  return transfer(c->a[0], parts, count, position, writes);
}

/** A position of our own meaning, -1, must not come from the program, but where it has that meaning. */
static long given(struct call *c) {
  bool may_be_current = c->nr == SYS_preadv2 || c->nr == SYS_pwritev2;
  return c->a[3] == CURRENT && !may_be_current ? CURRENT - 1 : c->a[3];
}

long on_read(struct call *c) { return one(c, CURRENT, false); }
long on_write(struct call *c) { return one(c, CURRENT, true); }
long on_pread64(struct call *c) { return one(c, given(c), false); }
long on_pwrite64(struct call *c) { return one(c, given(c), true); }
long on_readv(struct call *c) { return many(c, CURRENT, false); }
long on_writev(struct call *c) { return many(c, CURRENT, true); }
long on_preadv(struct call *c) { return many(c, given(c), false); }
long on_pwritev(struct call *c) { return many(c, given(c), true); }

/** Without holes: all is data, and the hole is at the end. */
long on_lseek(struct call *c) {
  struct inode *i = handle(c->a[0]);
  long at = c->a[1];
  if (!i) return PASS;
  switch (c->a[2]) {
    case SEEK_END:
      at += i->size;
      break;
    case SEEK_DATA:
      if (at < 0 || at >= i->size) return -ENXIO;
      break;
    case SEEK_HOLE:
      if (at < 0 || at >= i->size) return -ENXIO;
      at = i->size;
      break;
    default:
      return PASS;
  }
  return raw(SYS_lseek, c->a[0], at, SEEK_SET, 0);
}
