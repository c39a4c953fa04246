/*
 * File descriptors. Each open file has a descriptor of the kernel's in its place: of an empty memfd whose name says
 * which file it stands for. So the kernel keeps what belongs to an open file (number, position, access mode,
 * O_APPEND), and dup, fork, exec, close-on-exec and passing descriptors through sockets just work. A table
 * remembers the names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "memfs.h"

#define MOST (1 << 20)
/** Numbers of inodes by descriptor, 0: not ours. */
static _Atomic uint64_t table[MOST];
static atomic_int owner;

bool own_memory(void) { return raw(SYS_getpid, 0, 0, 0, 0) == atomic_load(&owner); }

void process_begins(void) { atomic_store(&owner, (int)raw(SYS_getpid, 0, 0, 0, 0)); }

bool maybe_ours(long fd) { return (uint32_t)fd < MOST && atomic_load(&table[(uint32_t)fd]); }

struct inode *handle(long fd) { return maybe_ours(fd) ? inode_numbered(atomic_load(&table[(uint32_t)fd])) : NULL; }

void handle_closed(long fd) {
  if (maybe_ours(fd) && own_memory()) atomic_store(&table[(uint32_t)fd], 0);
}

void handle_duplicated(long from, long to) {
  if ((uint32_t)to < MOST && own_memory()) atomic_store(&table[(uint32_t)to], atomic_load(&table[(uint32_t)from]));
}

/** A descriptor of the lowest free number, as open() promises. */
long handle_open(struct inode *i, int flags) {
  char name[64], path[48];
  sprintf(name, "memfs:%lx:%lu", image->id, inode_number(i));
  long fd = raw(SYS_memfd_create, name, MFD_CLOEXEC, 0, 0);
  if (fd < 0) return fd;
  sprintf(path, "/proc/self/fd/%ld", fd);
  int kept = flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_PATH | O_NOATIME | O_CLOEXEC);
  long opened = raw(SYS_openat, AT_FDCWD, path, kept, 0);
  if (opened < 0) {
    raw(SYS_close, fd, 0, 0, 0);
    return opened;
  }
  raw(SYS_dup3, opened, fd, flags & O_CLOEXEC, 0);
  raw(SYS_close, opened, 0, 0, 0);
  if (fd < MOST && own_memory()) atomic_store(&table[fd], inode_number(i));
  return fd;
}

struct dirent64 {
  uint64_t ino;
  int64_t off;
  uint16_t length;
  uint8_t type;
  char name[];
};

/** Calls `each` with the numbers that are names in a directory of /proc. */
static void numbers_in(const char *path, void (*each)(const char *path, long number)) {
  _Alignas(8) char buffer[4096];
  long fd = raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return;
  long n;
  while ((n = raw(SYS_getdents64, fd, buffer, sizeof buffer, 0)) > 0) {
    for (long at = 0; at < n;) {
      const struct dirent64 *d = (struct dirent64 *)(buffer + at);
      at += d->length;
      if (d->name[0] >= '0' && d->name[0] <= '9') each(path, atol(d->name));
    }
  }
  raw(SYS_close, fd, 0, 0, 0);
}

/** Which file a descriptor stands for, 0: none of ours. */
static uint64_t number_behind(const char *directory, long fd) {
  char path[64], target[80];
  snprintf(path, sizeof path, "%s/%ld", directory, fd);
  long n = raw(SYS_readlinkat, AT_FDCWD, path, target, sizeof target - 1);
  if (n < 0) return 0;
  target[n] = 0;
  uint64_t id, number;
  return sscanf(target, "/memfd:memfs:%lx:%lu", &id, &number) == 2 && id == image->id ? number : 0;
}

static void adopt(const char *directory, long fd) {
  uint64_t number = number_behind(directory, fd);
  if (number && fd < MOST) atomic_store(&table[fd], number);
}

/** Descriptors that the program was started with. */
void handles_adopt(void) { numbers_in("/proc/self/fd", adopt); }

static void mark(const char *directory, long fd) {
  struct inode *i = inode_numbered(number_behind(directory, fd));
  if (i) i->open = true;
}

static void mark_process(const char *proc, long pid) {
  char path[64];
  snprintf(path, sizeof path, "%s/%ld/fd", proc, pid);
  numbers_in(path, mark);
}

/** Frees the files without a name that no process has open. */
void orphans_clear(void) {
  for (struct inode *i = image->orphans; i; i = i->next_orphan) i->open = false;
  numbers_in("/proc", mark_process);
  size_t kept = 0;
  for (struct inode **at = &image->orphans; *at;) {
    struct inode *i = *at;
    if (i->open) {
      kept += sizeof *i + i->room;
      at = &i->next_orphan;
      continue;
    }
    *at = i->next_orphan;
    i->live = 0;
    release(i->content, i->room);
    release(i, sizeof *i);
  }
  image->orphan_bytes = kept;
  image->orphan_limit = 2 * kept + (16 << 20);
}
