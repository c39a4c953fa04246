/* Files, directories, names. */
#include "memfs.h"

uint32_t umask_now;

/** `mode` with its type, before the umask. Without a name: add it to a directory. NULL: no room. */
struct inode *inode_new(uint32_t mode) {
  struct inode *i = allocate(sizeof *i);
  if (!i) return NULL;
  memset(i, 0, sizeof *i);
  i->live = INODE_LIVE;
  i->mode = S_ISLNK(mode) ? mode : mode & ~umask_now;
  i->uid = (uint32_t)raw(SYS_geteuid, 0, 0, 0, 0);
  i->gid = (uint32_t)raw(SYS_getegid, 0, 0, 0, 0);
  i->links = S_ISDIR(mode) ? 2 : 0;
  i->next_cookie = 3; /* "." and ".." are 1 and 2 */
  clock_gettime(CLOCK_REALTIME, &i->btime);
  i->atime = i->mtime = i->ctime = i->btime;
  return i;
}

uint64_t inode_number(const struct inode *i) {
  return (uint64_t)((const char *)i - (const char *)image) >> 6;
}

struct inode *inode_numbered(uint64_t number) {
  if (number << 6 >= image->used) return NULL;
  struct inode *i = (struct inode *)((char *)image + (number << 6));
  return i->live == INODE_LIVE ? i : NULL;
}

struct entry *dir_find(const struct inode *dir, const char *name) {
  for (struct entry *e = dir->entries; e; e = e->next)
    if (strcmp(e->name, name) == 0) return e;
  return NULL;
}

long dir_add(struct inode *dir, const char *name, struct inode *i) {
  if (!dir->links) return -ENOENT;
  size_t size = sizeof(struct entry) + strlen(name) + 1;
  struct entry *e = allocate(size);
  if (!e) return -ENOSPC;
  *e = (struct entry){.inode = i, .cookie = dir->next_cookie++};
  strcpy(e->name, name);
  struct entry **end = &dir->entries;
  while (*end) end = &(*end)->next;
  *end = e;
  if (is_dir(i)) {
    i->parent = dir;
    dir->links++;
  } else {
    i->links++;
  }
  touch(dir, MODIFIED | CHANGED);
  touch(i, CHANGED);
  return 0;
}

/** Takes the name away, and nothing else but the link counts: the file may get another name, or be an orphan. */
void dir_remove(struct inode *dir, const char *name) {
  for (struct entry **at = &dir->entries; *at; at = &(*at)->next) {
    struct entry *e = *at;
    if (strcmp(e->name, name) != 0) continue;
    *at = e->next;
    if (is_dir(e->inode)) dir->links--;
    else e->inode->links--;
    touch(dir, MODIFIED | CHANGED);
    touch(e->inode, CHANGED);
    release(e, sizeof *e + strlen(e->name) + 1);
    return;
  }
}

/** The file has no name any more. Nobody counts who has it open: when many have come together, /proc is asked. */
void orphan(struct inode *i) {
  i->links = 0;
  if (is_dir(i)) i->parent = image->root;
  i->next_orphan = image->orphans;
  image->orphans = i;
  image->orphan_bytes += sizeof *i + i->room;
  if (image->orphan_bytes > image->orphan_limit) orphans_clear();
}

/** The absolute path of a directory; its length with the NUL, or -errno. */
long dir_path(const struct inode *dir, char *to, size_t room) {
  static char path[PATH_MAX];
  size_t at = sizeof path - 1;
  path[at] = 0;
  while (dir != image->root) {
    const struct entry *e = dir->parent->entries;
    while (e && e->inode != dir) e = e->next;
    if (!e) return -ENOENT;
    size_t n = strlen(e->name);
    if (n + 1 > at) return -ENAMETOOLONG;
    at -= n;
    memcpy(path + at, e->name, n);
    path[--at] = '/';
    dir = dir->parent;
  }
  size_t mount = strlen(mount_point), rest = sizeof path - at;
  if (mount + rest > room) return -ERANGE;
  memcpy(to, mount_point, mount);
  memcpy(to + mount, path + at, rest);
  return (long)(mount + rest);
}

void touch(struct inode *i, int times) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (times & ACCESSED) i->atime = now;
  if (times & MODIFIED) i->mtime = now;
  if (times & CHANGED) i->ctime = now;
}
