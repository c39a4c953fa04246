/* Calls that move and link names. */
#include <linux/fs.h>
#include "memfs.h"

/** Two places. One that lies outside is on another device. */
static long find_both(struct call *c, enum follow follow, struct place *from, struct place *to) {
  long r = lookup(c->a[0], (void *)c->a[1], follow, from);
  long s = lookup(c->a[2], (void *)c->a[3], NAME, to);
  if (r == PASS && s == PASS) return PASS;
  if (r < 0 && r != PASS) return r;
  if (s < 0 && s != PASS) return s;
  if (r || s) return -EXDEV;
  return from->inode ? 0 : -ENOENT;
}

static bool is_below(const struct inode *dir, const struct inode *above) {
  while (dir != image->root && dir != above) dir = dir->parent;
  return dir == above;
}

static long exchange(struct place *from, struct place *to) {
  struct inode *a = from->inode, *b = to->inode;
  if (!b) return -ENOENT;
  if ((is_dir(a) && is_below(to->dir, a)) || (is_dir(b) && is_below(from->dir, b))) return -EINVAL;
  if (a == b) return 0;
  dir_find(from->dir, from->name)->inode = b;
  dir_find(to->dir, to->name)->inode = a;
  if (is_dir(a)) from->dir->links--, to->dir->links++, a->parent = to->dir;
  if (is_dir(b)) to->dir->links--, from->dir->links++, b->parent = from->dir;
  return 0;
}

static long may_replace(const struct inode *i, const struct inode *old) {
  if (is_dir(i) && !is_dir(old)) return -ENOTDIR;
  if (!is_dir(i) && is_dir(old)) return -EISDIR;
  return old->entries ? -ENOTEMPTY : 0;
}

/** The name stands for `i` from now on; what it stood for loses it. */
static void replace(struct place *to, struct inode *i) {
  struct inode *old = to->inode;
  dir_find(to->dir, to->name)->inode = i;
  if (is_dir(i)) i->parent = to->dir; /* the old one was a directory as well: as many links as before */
  else i->links++;
  if (is_dir(old) || !--old->links) orphan(old);
  touch(to->dir, MODIFIED | CHANGED);
  touch(i, CHANGED);
}

long on_renameat2(struct call *c) {
  static struct place from, to;
  long flags = c->a[4], r = find_both(c, NAME, &from, &to);
  if (r) return r;
  struct inode *i = from.inode, *old = to.inode;
  if (!from.dir || !to.dir) return -EBUSY;
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) return -EINVAL;
  if ((flags & RENAME_NOREPLACE) && old) return -EEXIST;
  if (flags & RENAME_EXCHANGE) return exchange(&from, &to);
  if (i == old) return 0;
  if (is_dir(i) && is_below(to.dir, i)) return -EINVAL;
  if (!is_dir(i) && to.slash) return -ENOTDIR;
  if (old && (r = may_replace(i, old)) < 0) return r;
  if (old) replace(&to, i);
  else if ((r = dir_add(to.dir, to.name, i)) < 0) return r;
  dir_remove(from.dir, from.name);
  return 0;
}

long on_linkat(struct call *c) {
  static struct place from, to;
  long r = find_both(c, c->a[4] & AT_SYMLINK_FOLLOW ? FOLLOW : NAME, &from, &to);
  if (r) return r;
  if (is_dir(from.inode)) return -EPERM;
  if (to.inode) return -EEXIST;
  return to.slash ? -ENOENT : dir_add(to.dir, to.name, from.inode);
}

long on_symlinkat(struct call *c) {
  static struct place p;
  static char target[PATH_MAX];
  long n = user_string(target, sizeof target, (void *)c->a[0]);
  if (n <= 0) return n ? n : -ENOENT;
  long r = lookup(c->a[1], (void *)c->a[2], NAME, &p);
  if (r == OUTSIDE) return pass_outside(c, 2, &p);
  if (r) return r;
  if (p.inode) return -EEXIST;
  if (p.slash) return -ENOENT;
  struct inode *i = inode_new(S_IFLNK | 0777);
  if (!i) return -ENOSPC;
  r = content_reserve(i, (size_t)n) ? dir_add(p.dir, p.name, i) : -ENOSPC;
  if (r < 0) {
    release(i->content, i->room);
    release(i, sizeof *i);
    return r;
  }
  memcpy(i->content, target, (size_t)n);
  i->size = n;
  return 0;
}
