/*
 * Answers EACCES to calls that name a path in a list, and says where in the program they come from. It sees the
 * registers.
 *
 *     DENY=/etc/passwd:/root LIBZPHOOK=./deny.so LD_PRELOAD=libzpoline.so cat /etc/passwd
 *
 * An example, not a sandbox: it compares the text of the path, and a program can name a file in many ways.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "zpoline.h"

static zpoline_fn next;
/** Nothing here minds being interrupted by a signal handler that makes calls: they are to be seen, too. */
int zpoline_reentrant = 1;
static int out;
static char list[PATH_MAX];

/** Which argument is a path: 1 or 2, 0 for none. Calls with two paths are looked at for their first. */
static int path_argument(unsigned long nr) {
  switch (nr) {
    case SYS_open: case SYS_creat: case SYS_stat: case SYS_lstat: case SYS_access: case SYS_truncate: case SYS_chdir:
    case SYS_rename: case SYS_mkdir: case SYS_rmdir: case SYS_link: case SYS_unlink: case SYS_readlink: case SYS_chmod:
    case SYS_chown: case SYS_lchown: case SYS_execve:
      return 1;
    case SYS_openat: case SYS_openat2: case SYS_newfstatat: case SYS_statx: case SYS_mkdirat: case SYS_unlinkat:
    case SYS_renameat: case SYS_renameat2: case SYS_linkat: case SYS_readlinkat: case SYS_fchmodat: case SYS_fchownat:
    case SYS_faccessat: case SYS_faccessat2: case SYS_utimensat: case SYS_execveat:
      return 2;
    default:
      return 0;
  }
}

/** Copies a string of the program. A bad pointer is the program's EFAULT, not our crash: the kernel reads for us. */
static int read_string(char *to, size_t room, unsigned long from) {
  size_t first = 4096 - (from & 4095);
  if (first > room) first = room;
  struct iovec local = {to, room};
  struct iovec remote[2] = {{(void *)from, first}, {(void *)(from + first), room - first}};
  ssize_t n = process_vm_readv(getpid(), &local, 1, remote, 2, 0);
  return n > 0 && memchr(to, 0, (size_t)n) != NULL;
}

/** Is the path one of the list, or below one? */
static int denied(const char *path) {
  for (const char *item = list; *item;) {
    size_t n = strcspn(item, ":");
    if (n && strncmp(path, item, n) == 0 && (path[n] == 0 || path[n] == '/')) return 1;
    item += n;
    item += *item == ':';
  }
  return 0;
}

long hook_entry(unsigned long sysno, struct user_regs_struct *regs) {
  char path[PATH_MAX];
  int argument = path_argument(sysno);
  if (argument && read_string(path, sizeof path, argument == 1 ? regs->rdi : regs->rsi) && denied(path)) {
    dprintf(out, "deny: system call %lu at %#llx: %s\n", sysno, regs->rip - 2, path);
    return -EACCES;
  }
  return zpoline_call(next, regs);
}

int __hook_init(long placeholder, void *slot) {
  (void)placeholder;
  const char *variable = getenv("DENY");
  if (!variable || strlen(variable) >= sizeof list) {
    dprintf(STDERR_FILENO, "deny: set DENY to a list of paths, separated by colons\n");
    return 1;
  }
  strcpy(list, variable);
  out = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 900);
  if (out < 0) out = STDERR_FILENO;
  next = zpoline_next(slot);
  return 0;
}
