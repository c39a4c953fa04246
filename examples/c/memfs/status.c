/* stat, statx, statfs, getdents64. */
#include <linux/stat.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include "memfs.h"

/** Of an anonymous device, as those of other file systems without a disk. */
#define DEVICE makedev(0, 0x6d65)
#define MAGIC 0x6d656d66
#define BLOCK 4096

static uint64_t blocks(const struct inode *i) { return ((uint64_t)i->size + BLOCK - 1) / BLOCK * (BLOCK / 512); }

static long put(void *to, const void *from, size_t n) { return user_write(to, from, n) == (long)n ? 0 : -EFAULT; }

static long give_stat(const struct inode *i, void *to) {
  struct stat s = {
      .st_dev = DEVICE,
      .st_ino = inode_number(i),
      .st_nlink = i->links,
      .st_mode = i->mode,
      .st_uid = i->uid,
      .st_gid = i->gid,
      .st_size = i->size,
      .st_blksize = BLOCK,
      .st_blocks = (blkcnt_t)blocks(i),
      .st_atim = i->atime,
      .st_mtim = i->mtime,
      .st_ctim = i->ctime,
  };
  return put(to, &s, sizeof s);
}

static struct statx_timestamp stamp(struct timespec t) {
  return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec};
}

static long give_statx(const struct inode *i, void *to) {
  struct statx s = {
      .stx_mask = STATX_BASIC_STATS | STATX_BTIME,
      .stx_blksize = BLOCK,
      .stx_nlink = i->links,
      .stx_uid = i->uid,
      .stx_gid = i->gid,
      .stx_mode = (uint16_t)i->mode,
      .stx_ino = inode_number(i),
      .stx_size = (uint64_t)i->size,
      .stx_blocks = blocks(i),
      .stx_atime = stamp(i->atime),
      .stx_mtime = stamp(i->mtime),
      .stx_ctime = stamp(i->ctime),
      .stx_btime = stamp(i->btime),
      .stx_dev_major = major(DEVICE),
      .stx_dev_minor = minor(DEVICE),
  };
  return put(to, &s, sizeof s);
}

static long give_statfs(void *to) {
  struct statfs s = {
      .f_type = MAGIC,
      .f_bsize = BLOCK,
      .f_blocks = (16L << 30) / BLOCK,
      .f_bfree = (unsigned long)((16L << 30) - (long)image->used) / BLOCK,
      .f_bavail = (unsigned long)((16L << 30) - (long)image->used) / BLOCK,
      .f_namelen = NAME_MAX,
      .f_frsize = BLOCK,
  };
  return put(to, &s, sizeof s);
}

/** An empty path with AT_EMPTY_PATH, and for statx none at all, means the descriptor itself. */
static bool means_descriptor(const void *path, long flags) {
  char first;
  return (flags & AT_EMPTY_PATH) && (!path || (user_read(&first, path, 1) == 1 && !first));
}

static long stat_at(struct call *c, long flags, long (*give)(const struct inode *, void *), void *to) {
  static struct place p;
  if (means_descriptor((void *)c->a[1], flags)) {
    const struct inode *i = (int)c->a[0] == AT_FDCWD ? cwd : handle(c->a[0]);
    return i ? give(i, to) : PASS;
  }
  long r = lookup(c->a[0], (void *)c->a[1], flags & AT_SYMLINK_NOFOLLOW ? NOFOLLOW : FOLLOW, &p);
  if (r == OUTSIDE) return pass_outside(c, 1, &p);
  if (r) return r;
  return p.inode ? give(p.inode, to) : -ENOENT;
}

long on_newfstatat(struct call *c) { return stat_at(c, c->a[3], give_stat, (void *)c->a[2]); }

long on_statx(struct call *c) { return stat_at(c, c->a[2], give_statx, (void *)c->a[4]); }

long on_fstat(struct call *c) {
  const struct inode *i = handle(c->a[0]);
  return i ? give_stat(i, (void *)c->a[1]) : PASS;
}

long on_statfs(struct call *c) {
  static struct place p;
  long r = lookup(AT_FDCWD, (void *)c->a[0], FOLLOW, &p);
  if (r == OUTSIDE) return pass_outside(c, 0, &p);
  if (r) return r;
  return p.inode ? give_statfs((void *)c->a[1]) : -ENOENT;
}

long on_fstatfs(struct call *c) { return handle(c->a[0]) ? give_statfs((void *)c->a[1]) : PASS; }

struct listing {
  char buffer[32768];
  size_t used, room;
};

static bool list(struct listing *l, const struct inode *i, int64_t cookie, const char *name) {
  size_t n = strlen(name), length = (19 + n + 1 + 7) & ~7UL;
  if (l->used + length > l->room) return false;
  char *to = l->buffer + l->used;
  uint64_t number = inode_number(i);
  uint16_t length16 = (uint16_t)length;
  memset(to, 0, length);
  memcpy(to, &number, 8);
  memcpy(to + 8, &cookie, 8);
  memcpy(to + 16, &length16, 2);
  to[18] = (char)(i->mode >> 12); /* DT_… */
  memcpy(to + 19, name, n);
  l->used += length;
  return true;
}

/** The position of the descriptor is the cookie of the last entry that was read. */
long on_getdents64(struct call *c) {
  struct inode *dir = handle(c->a[0]);
  if (!dir) return PASS;
  if (!is_dir(dir)) return -ENOTDIR;
  static struct listing l;
  l.used = 0;
  l.room = (uint32_t)c->a[2] < sizeof l.buffer ? (uint32_t)c->a[2] : sizeof l.buffer;
  int64_t at = raw(SYS_lseek, c->a[0], 0, SEEK_CUR, 0);
  bool fits = true;
  if (at < 1 && (fits = list(&l, dir, 1, "."))) at = 1;
  if (fits && at < 2 && (fits = list(&l, dir->parent, 2, ".."))) at = 2;
  const struct entry *e = dir->entries;
  for (; fits && e; e = e->next) {
    if (e->cookie <= at) continue;
    if ((fits = list(&l, e->inode, e->cookie, e->name))) at = e->cookie;
  }
  if (!fits && !l.used) return -EINVAL;
  long r = user_write((void *)c->a[1], l.buffer, l.used);
  if (r < 0) return r;
  raw(SYS_lseek, c->a[0], at, SEEK_SET, 0);
  touch(dir, ACCESSED);
  return (long)l.used;
}
