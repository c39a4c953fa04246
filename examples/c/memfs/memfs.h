/*
 * memfs: a file system in memory, under /mem, for a tree of processes. ../README.md says what it can do.
 *
 *   hook.c     the table of calls, and the start
 *   image.c    the memory that the processes share: lock, allocation
 *   tree.c     files, directories, names
 *   lookup.c   from a path to a file
 *   content.c  the bytes of a file
 *   handles.c  file descriptors
 *   user.c     reading and writing the program's memory
 *   paths.c    calls that take a path
 *   names.c    calls that move and link names
 *   files.c    calls that take a file descriptor
 *   transfer.c read, write and their kin
 *   status.c   stat, statx, statfs, getdents64
 *   cwd.c      the working directory, also across execve
 */
#ifndef MEMFS_H
#define MEMFS_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "zpoline.h"

/** What a handler returns when the call is none of ours: the kernel gets it. No result and no error has this value. */
#define PASS LONG_MIN

struct call {
  long nr;
  long a[6];
  bool changed;  /* and has to be passed on as it is now */
  char *outside; /* PATH_MAX bytes for a path that leads out of the file system */
};

/** The call as the program would make it, by the next function. */
long pass(const struct call *c);
/** A call of our own, which no hook sees. */
#define raw(nr, a, b, c, d) zpoline_raw(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* ── image.c ────────────────────────────────────────────────────────────────────────────────────────────────────────
 * The image lies at the same address in every process, so pointers into it mean the same in all of them. Between
 * enter() and leave() a thread has the image for itself, and no signal handler runs in it: it could jump out, and never
 * leave. So static variables are as good as those on the stack, of which a handler's may be small.
 */
struct image {
  uint64_t id; /* 0: not made yet */
  atomic_int owner; /* thread that has entered, or 0 */
  atomic_int waiters;
  size_t used; /* bytes that have ever been given out */
  void *vacant[48]; /* lists of blocks of 1 << index bytes */
  struct inode *root;
  struct inode *orphans; /* files without a name, perhaps open somewhere */
  size_t orphan_bytes, orphan_limit;
};
extern struct image *image;
bool image_map(const char *path);
uint64_t enter(void);
void leave(uint64_t mask);
void *allocate(size_t size);
void release(void *block, size_t size);

/* ── tree.c ────────────────────────────────────────────────────────────────────────────────────────────────────── */
struct inode {
  uint64_t live; /* INODE_LIVE */
  uint32_t mode, links, uid, gid;
  int64_t size; /* bytes of content */
  struct timespec atime, mtime, ctime, btime;
  char *content; /* of a file or a symbolic link; what lies beyond `size` has no meaning */
  size_t room;
  struct entry *entries; /* of a directory, in the order of their cookies */
  int64_t next_cookie;
  struct inode *parent;      /* of a directory */
  struct inode *next_orphan; /* of a file without a name */
  bool open;                 /* of a file without a name: found open by the last search */
};
#define INODE_LIVE 0x6d656d66696c6573u
struct entry {
  struct entry *next;
  struct inode *inode;
  int64_t cookie; /* the position behind it, never used again in its directory */
  char name[];
};
extern uint32_t umask_now;
static inline bool is_dir(const struct inode *i) { return S_ISDIR(i->mode); }
static inline bool is_file(const struct inode *i) { return S_ISREG(i->mode); }
static inline bool is_link(const struct inode *i) { return S_ISLNK(i->mode); }
struct inode *inode_new(uint32_t mode);
uint64_t inode_number(const struct inode *i);
struct inode *inode_numbered(uint64_t number);
struct entry *dir_find(const struct inode *dir, const char *name);
long dir_add(struct inode *dir, const char *name, struct inode *i);
void dir_remove(struct inode *dir, const char *name);
void orphan(struct inode *i);
long dir_path(const struct inode *dir, char *to, size_t room);
enum { ACCESSED = 1, MODIFIED = 2, CHANGED = 4 };
void touch(struct inode *i, int times);

/* ── lookup.c ──────────────────────────────────────────────────────────────────────────────────────────────────── */
extern char mount_point[PATH_MAX];
struct place {
  struct inode *inode;     /* NULL: there is no such file, but `dir` is there */
  struct inode *dir;       /* that has the name; NULL for the root, "." and ".." */
  char name[NAME_MAX + 1];
  bool slash;              /* a slash follows the name */
  char outside[PATH_MAX];  /* OUTSIDE: where the path leads to */
};
#define OUTSIDE 1
/** What a link at the end of a path stands for: its target; itself, but its target where a slash follows; itself. */
enum follow { FOLLOW, NOFOLLOW, NAME };
/** 0: inside; OUTSIDE: it leads out again; PASS: it does not begin inside; or -errno. `path` is the program's. */
long lookup(long dirfd, const void *path, enum follow follow, struct place *p);
/** As lookup, for a path of our own. */
long lookup_path(struct inode *from, const char *path, enum follow follow, struct place *p);

/* ── content.c: of a regular file ──────────────────────────────────────────────────────────────────────────────── */
/** Bytes copied to or from the program's memory, or -errno. */
long content_read(struct inode *i, int64_t at, void *to, size_t n);
long content_write(struct inode *i, int64_t at, const void *from, size_t n);
long content_resize(struct inode *i, int64_t size);
/** Room for `size` bytes; false: there is none. */
bool content_reserve(struct inode *i, size_t size);

/* ── user.c ────────────────────────────────────────────────────────────────────────────────────────────────────── */
/** Bytes copied (fewer before a bad page), or -EFAULT. */
long user_read(void *to, const void *from, size_t n);
long user_write(void *to, const void *from, size_t n);
/** Length of the string, or -EFAULT, or -ENAMETOOLONG where it does not fit. */
long user_string(char *to, size_t room, const void *from);

/* ── handles.c ─────────────────────────────────────────────────────────────────────────────────────────────────── */
/** The file behind a descriptor of this process, NULL if it is none of ours. Between enter() and leave(). */
struct inode *handle(long fd);
/** Without enter(): may it be ours? */
bool maybe_ours(long fd);
long handle_open(struct inode *i, int flags);
void handle_closed(long fd);
void handle_duplicated(long from, long to);
void handles_adopt(void);
/** In a child of vfork the memory is the parent's, but the descriptors are not. */
bool own_memory(void);
void process_begins(void);
void orphans_clear(void);

/* ── cwd.c ─────────────────────────────────────────────────────────────────────────────────────────────────────── */
extern struct inode *cwd; /* NULL: the kernel knows it */
void cwd_inherit(void);

/* ── Handlers, one for a call: a result, -errno, or PASS. hook.c has the table ─────────────────────────────────── */
/** The call goes to the kernel with the path that its own path led to. */
long pass_outside(struct call *c, int argument, const struct place *p);
typedef long handler(struct call *c);
/* paths.c */
handler on_openat, on_openat2, on_mkdirat, on_mknodat, on_unlinkat, on_readlinkat, on_faccessat, on_fchmodat,
    on_fchownat, on_utimensat, on_truncate, on_refused_path, on_refused_at, on_chdir;
/* names.c */
handler on_renameat2, on_linkat, on_symlinkat;
/* status.c */
handler on_newfstatat, on_statx, on_fstat, on_statfs, on_fstatfs, on_getdents64;
/* transfer.c */
handler on_read, on_pread64, on_readv, on_preadv, on_write, on_pwrite64, on_writev, on_pwritev, on_lseek;
/* files.c */
handler on_mmap, on_ftruncate, on_fallocate, on_fchmod, on_fchown, on_fchdir, on_ioctl, on_refused,
    on_invalid, on_exdev, on_eperm;
/* cwd.c */
handler on_getcwd;
long on_exec(struct call *c);

long set_mode(struct inode *i, long mode);
long set_owner(struct inode *i, long uid, long gid);
#endif
