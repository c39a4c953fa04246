/* Calls that take a path. */
#include <linux/openat2.h>
#include <utime.h>
#include "memfs.h"

long pass_outside(struct call *c, int argument, const struct place *p) {
  strcpy(c->outside, p->outside);
  c->a[argument] = (long)c->outside;
  c->changed = true;
  return PASS;
}

/** The file that a call names, or (as a negative number, PASS among them) what becomes of the call. */
static long find(struct call *c, int dirfd, int path, enum follow follow, struct place *p) {
  long r = lookup(dirfd < 0 ? AT_FDCWD : c->a[dirfd], (void *)c->a[path], follow, p);
  return r == OUTSIDE ? pass_outside(c, path, p) : r;
}

static long find_existing(struct call *c, int dirfd, int path, enum follow follow, struct place *p) {
  long r = find(c, dirfd, path, follow, p);
  return r ? r : p->inode ? 0 : -ENOENT;
}

static long create(struct place *p, uint32_t mode) {
  if (p->inode) return -EEXIST;
  struct inode *i = inode_new(mode);
  if (!i) return -ENOSPC;
  long r = dir_add(p->dir, p->name, i);
  if (r < 0) {
    release(i, sizeof *i);
    return r;
  }
  p->inode = i;
  return 0;
}

static long open_found(struct place *p, int flags, uint32_t mode) {
  bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if ((flags & O_TMPFILE) == O_TMPFILE) return -EOPNOTSUPP;
  if (flags & O_PATH) flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (p->inode && (flags & O_CREAT) && (flags & O_EXCL)) return -EEXIST;
  if (!p->inode) {
    if (!(flags & O_CREAT)) return -ENOENT;
    if (p->slash) return -EISDIR;
    long r = create(p, S_IFREG | (mode & 07777));
    if (r < 0) return r;
  }
  struct inode *i = p->inode;
  if (is_link(i) && !(flags & O_PATH)) return -ELOOP;
  if ((flags & O_DIRECTORY) && !is_dir(i)) return -ENOTDIR;
  if (is_dir(i) && (writes || (flags & O_CREAT))) return -EISDIR;
  long fd = handle_open(i, flags);
  if (fd >= 0 && (flags & O_TRUNC) && writes && i->size) content_resize(i, 0);
  return fd;
}

static enum follow follows(int flags) {
  return (flags & O_NOFOLLOW) || ((flags & O_CREAT) && (flags & O_EXCL)) ? NOFOLLOW : FOLLOW;
}

long on_openat(struct call *c) {
  static struct place p;
  long r = find(c, 0, 1, follows((int)c->a[2]), &p);
  return r ? r : open_found(&p, (int)c->a[2], (uint32_t)c->a[3]);
}

/** RESOLVE_… is not looked at. */
long on_openat2(struct call *c) {
  static struct place p;
  struct open_how how;
  if (user_read(&how, (void *)c->a[2], sizeof how) != sizeof how) return PASS;
  long r = find(c, 0, 1, follows((int)how.flags), &p);
  return r ? r : open_found(&p, (int)how.flags, (uint32_t)how.mode);
}

long on_mkdirat(struct call *c) {
  static struct place p;
  long r = find(c, 0, 1, NAME, &p);
  return r ? r : create(&p, S_IFDIR | ((uint32_t)c->a[2] & 01777));
}

/** Devices, sockets and pipes are the kernel's. */
long on_mknodat(struct call *c) {
  static struct place p;
  uint32_t mode = (uint32_t)c->a[2];
  long r = find(c, 0, 1, NAME, &p);
  if (r) return r;
  if ((mode & S_IFMT) && !S_ISREG(mode)) return -EPERM;
  return p.slash ? -ENOENT : create(&p, S_IFREG | (mode & 07777));
}

long on_unlinkat(struct call *c) {
  static struct place p;
  bool directory = c->a[2] & AT_REMOVEDIR;
  long r = find_existing(c, 0, 1, NAME, &p);
  if (r) return r;
  struct inode *i = p.inode;
  if (!p.dir) return directory ? i == image->root ? -EBUSY : -EINVAL : -EISDIR;
  if (directory && !is_dir(i)) return -ENOTDIR;
  if (directory && i->entries) return -ENOTEMPTY;
  if (!directory && is_dir(i)) return -EISDIR;
  dir_remove(p.dir, p.name);
  if (directory || !i->links) orphan(i);
  return 0;
}

long on_readlinkat(struct call *c) {
  static struct place p;
  char first;
  if (user_read(&first, (void *)c->a[1], 1) == 1 && !first) {
    p.inode = handle(c->a[0]);
    if (!p.inode) return PASS;
  } else {
    long r = find_existing(c, 0, 1, NOFOLLOW, &p);
    if (r) return r;
  }
  if (!is_link(p.inode) || (int)c->a[3] <= 0) return -EINVAL;
  size_t n = (size_t)p.inode->size, room = (size_t)(int)c->a[3];
  return user_write((void *)c->a[2], p.inode->content, n < room ? n : room);
}

/** Everybody may read and write, as root may elsewhere; to execute, somebody must. */
long on_faccessat(struct call *c) {
  static struct place p;
  long r = find_existing(c, 0, 1, FOLLOW, &p);
  if (r) return r;
  return (c->a[2] & X_OK) && !is_dir(p.inode) && !(p.inode->mode & 0111) ? -EACCES : 0;
}

long set_mode(struct inode *i, long mode) {
  i->mode = (i->mode & S_IFMT) | ((uint32_t)mode & 07777);
  touch(i, CHANGED);
  return 0;
}

long set_owner(struct inode *i, long uid, long gid) {
  if ((uint32_t)uid != UINT32_MAX) i->uid = (uint32_t)uid;
  if ((uint32_t)gid != UINT32_MAX) i->gid = (uint32_t)gid;
  if (is_file(i)) i->mode &= ~(uint32_t)(i->mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
  touch(i, CHANGED);
  return 0;
}

long on_fchmodat(struct call *c) {
  static struct place p;
  long r = find_existing(c, 0, 1, FOLLOW, &p);
  return r ? r : set_mode(p.inode, c->a[2]);
}

static enum follow nofollow(long flags) { return flags & AT_SYMLINK_NOFOLLOW ? NOFOLLOW : FOLLOW; }

long on_fchownat(struct call *c) {
  static struct place p;
  char first;
  if ((c->a[4] & AT_EMPTY_PATH) && user_read(&first, (void *)c->a[1], 1) == 1 && !first) {
    p.inode = handle(c->a[0]);
    return p.inode ? set_owner(p.inode, c->a[2], c->a[3]) : PASS;
  }
  long r = find_existing(c, 0, 1, nofollow(c->a[4]), &p);
  return r ? r : set_owner(p.inode, c->a[2], c->a[3]);
}

static void set_time(struct timespec *t, struct timespec wanted, struct timespec now) {
  if (wanted.tv_nsec == UTIME_NOW) *t = now;
  else if (wanted.tv_nsec != UTIME_OMIT) *t = wanted;
}

long on_utimensat(struct call *c) {
  static struct place p;
  struct timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, now;
  if (!c->a[1]) {
    p.inode = handle(c->a[0]);
    if (!p.inode) return PASS;
  } else {
    long r = find_existing(c, 0, 1, nofollow(c->a[3]), &p);
    if (r) return r;
  }
  if (c->a[2] && user_read(times, (void *)c->a[2], sizeof times) != sizeof times) return -EFAULT;
  clock_gettime(CLOCK_REALTIME, &now);
  set_time(&p.inode->atime, times[0], now);
  set_time(&p.inode->mtime, times[1], now);
  p.inode->ctime = now;
  return 0;
}

long on_truncate(struct call *c) {
  static struct place p;
  long r = find_existing(c, -1, 0, FOLLOW, &p);
  if (r) return r;
  if (!is_file(p.inode)) return is_dir(p.inode) ? -EISDIR : -EINVAL;
  return content_resize(p.inode, c->a[1]);
}

long on_chdir(struct call *c) {
  static struct place p;
  long r = find_existing(c, -1, 0, FOLLOW, &p);
  if (r) return r;
  if (!is_dir(p.inode)) return -ENOTDIR;
  if (!own_memory()) return -ENOENT; /* a child of vfork must not change its parent's */
  cwd = p.inode;
  return 0;
}

/** Extended attributes, watching, mounting, …: there is no such thing here. */
long on_refused_path(struct call *c) {
  static struct place p;
  long r = find_existing(c, -1, 0, FOLLOW, &p);
  return r ? r : -EOPNOTSUPP;
}

long on_refused_at(struct call *c) {
  static struct place p;
  long r = find_existing(c, 0, 1, FOLLOW, &p);
  return r ? r : -EOPNOTSUPP;
}
