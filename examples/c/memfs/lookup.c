/* From a path to a file. */
#include <stdio.h>
#include <stdlib.h>
#include "memfs.h"

#define MAX_LINKS 40

char mount_point[PATH_MAX];

/** What follows the mount point in an absolute path; NULL: it leads elsewhere. */
static const char *below_mount(const char *path) {
  while (path[0] == '/' && path[1] == '/') path++;
  size_t n = strlen(mount_point);
  if (strncmp(path, mount_point, n) != 0 || (path[n] && path[n] != '/')) return NULL;
  return path + n;
}

/** One path behind the other, with a slash between them where there are two. `to` may be `second`. */
static long join(char *to, const char *first, size_t n, const char *second) {
  size_t m = strlen(second), slash = m > 0;
  if (n + slash + m >= PATH_MAX) return -ENAMETOOLONG;
  memmove(to + n + slash, second, m + 1);
  memcpy(to, first, n);
  if (slash) to[n] = '/';
  return 0;
}

static long leads_out(struct place *p, const char *from, const char *rest) {
  long r = join(p->outside, from, strlen(from), rest);
  return r < 0 ? r : OUTSIDE;
}

/** ".." of the root: the directory that the mount point would be in. */
static long above_root(struct place *p, const char *rest) {
  static char above[PATH_MAX];
  strcpy(above, mount_point);
  char *last = strrchr(above, '/');
  last[last == above] = 0;
  return leads_out(p, above, rest);
}

/** A path that is followed: what remains of it, and where it is. */
struct walk {
  char path[PATH_MAX];
  const char *rest;
  int links;
};

/** Goes on at the target of a link that stands in `dir`, and from there with `rest`. */
static long follow_link(struct walk *w, const struct inode *link, struct inode *dir, const char *rest,
                        struct place *p) {
  if (++w->links > MAX_LINKS) return -ELOOP;
  long r = join(w->path, link->content, (size_t)link->size, rest);
  if (r < 0) return r;
  w->rest = w->path;
  p->inode = dir;
  p->dir = NULL;
  if (w->path[0] != '/') return 0;
  w->rest = below_mount(w->path);
  p->inode = image->root;
  return w->rest ? 0 : leads_out(p, w->path, "");
}

/** One component, at w->rest. */
static long step(struct walk *w, size_t n, enum follow follow, struct place *p) {
  const char *name = w->rest;
  struct inode *dir = p->inode;
  if (n > NAME_MAX) return -ENAMETOOLONG;
  if (!dir) return -ENOENT;
  if (!is_dir(dir)) return -ENOTDIR;
  w->rest += n;
  w->rest += strspn(w->rest, "/");
  bool last = !*w->rest;
  bool slash = w->rest[-1] == '/';
  p->dir = NULL;
  if (n == 1 && name[0] == '.') return 0;
  if (n == 2 && name[0] == '.' && name[1] == '.') {
    if (dir == image->root) return above_root(p, w->rest);
    p->inode = dir->parent;
    return 0;
  }
  memcpy(p->name, name, n);
  p->name[n] = 0;
  p->dir = dir;
  p->slash = slash;
  const struct entry *e = dir_find(dir, p->name);
  p->inode = e ? e->inode : NULL;
  if (p->inode && is_link(p->inode) && (!last || follow == FOLLOW || (follow == NOFOLLOW && slash)))
    return follow_link(w, p->inode, dir, last && slash ? "/" : w->rest, p);
  if (last && slash && p->inode && !is_dir(p->inode)) return -ENOTDIR;
  return 0;
}

static long follow_path(struct walk *w, struct inode *from, enum follow follow, struct place *p) {
  p->inode = from;
  p->dir = NULL;
  p->slash = false;
  w->rest += strspn(w->rest, "/");
  while (*w->rest) {
    long r = step(w, strcspn(w->rest, "/"), follow, p);
    if (r) return r;
    w->rest += strspn(w->rest, "/");
  }
  return 0;
}

/** The file behind /dev/stdin, /dev/fd/0, /proc/self/fd/0 and their like: what the kernel has there is empty. */
static struct inode *named_by_number(const char *path) {
  static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
  for (int fd = 0; fd < 3; fd++)
    if (strcmp(path, names[fd]) == 0) return handle(fd);
  const char *number = NULL;
  if (strncmp(path, "/dev/fd/", 8) == 0) number = path + 8;
  if (strncmp(path, "/proc/self/fd/", 14) == 0) number = path + 14;
  char *end;
  long fd = number && *number >= '0' && *number <= '9' ? strtol(number, &end, 10) : -1;
  return fd < 0 || *end ? NULL : handle(fd);
}

/** The path below `from`, whether it begins with a slash or not. */
static long follow_from(struct inode *from, const char *path, enum follow follow, struct place *p) {
  static struct walk w;
  w.links = 0;
  if (strlen(path) >= sizeof w.path) return -ENAMETOOLONG;
  strcpy(w.path, path);
  w.rest = w.path;
  return is_dir(from) ? follow_path(&w, from, follow, p) : -ENOTDIR;
}

long lookup_path(struct inode *from, const char *path, enum follow follow, struct place *p) {
  if (follow == FOLLOW && (p->inode = named_by_number(path))) {
    p->dir = NULL;
    p->slash = false;
    return 0;
  }
  if (path[0] == '/') {
    from = image->root;
    path = below_mount(path);
  }
  return from && path ? follow_from(from, path, follow, p) : PASS;
}

/** Whether a relative path may begin with the name of the mount point. */
static bool may_name_mount_point(const char *path) {
  const char *name = strrchr(mount_point, '/') + 1;
  size_t n = strlen(name);
  return strncmp(path, name, n) == 0 && (!path[n] || path[n] == '/');
}

/** Whether a directory of the kernel's is the one that the mount point would be in. */
static bool is_parent(long dirfd) {
  char link[40] = "/proc/self/cwd";
  static char path[PATH_MAX];
  if ((int)dirfd != AT_FDCWD) sprintf(link, "/proc/self/fd/%d", (int)dirfd);
  long n = raw(SYS_readlinkat, AT_FDCWD, link, path, sizeof path);
  long parent = strrchr(mount_point, '/') - mount_point;
  return n == (parent ? parent : 1) && memcmp(path, mount_point, (size_t)n) == 0;
}

long lookup(long dirfd, const void *path, enum follow follow, struct place *p) {
  static char text[PATH_MAX];
  long n = user_string(text, sizeof text, path);
  if (n < 0) return PASS; /* the kernel gives the error */
  struct inode *from = NULL;
  if (text[0] != '/') from = (int)dirfd == AT_FDCWD ? cwd : handle(dirfd);
  if (!n && from) return -ENOENT;
  if (!from && may_name_mount_point(text) && is_parent(dirfd))
    return follow_from(image->root, text + strlen(strrchr(mount_point, '/') + 1), follow, p);
  return lookup_path(from, text, follow, p);
}
