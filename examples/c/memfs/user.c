/* The program's memory. A bad pointer is the program's EFAULT and not our crash, so the kernel does the copying. */
#include <sys/uio.h>
#include "memfs.h"

#define PAGE 4096UL

static long copy(long nr, void *ours, const void *theirs, size_t n) {
  struct iovec local = {ours, n}, remote = {(void *)theirs, n};
  if (!n) return 0;
  return zpoline_raw(nr, raw(SYS_getpid, 0, 0, 0, 0), (long)&local, 1, (long)&remote, 1, 0);
}

long user_read(void *to, const void *from, size_t n) {
  return copy(SYS_process_vm_readv, to, from, n);
}

long user_write(void *to, const void *from, size_t n) {
  return copy(SYS_process_vm_writev, (void *)from, to, n);
}

/** Page by page: the string may end right before one that is not there. */
long user_string(char *to, size_t room, const void *from) {
  size_t n = 0;
  while (n < room) {
    size_t part = PAGE - ((uintptr_t)from + n) % PAGE;
    if (part > room - n) part = room - n;
    long got = user_read(to + n, (const char *)from + n, part);
    if (got < 0) return got;
    char *end = memchr(to + n, 0, (size_t)got);
    if (end) return end - to;
    if ((size_t)got < part) return -EFAULT;
    n += part;
  }
  return -ENAMETOOLONG;
}
