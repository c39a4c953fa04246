/* The memory that the processes share. */
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include "memfs.h"

#define ADDRESS ((void *)0x6d656d000000)
#define SIZE (16L << 30)
/** Smallest block: 1 << 6 bytes. Its blocks' addresses are what inodes are numbered by. */
#define SMALLEST 6

struct image *image;

/** With a path the image is a file, which every process that names it shares; without, children of fork share it. */
bool image_map(const char *path) {
  int fd = -1, flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  if (!path) {
    flags |= MAP_ANONYMOUS;
  } else {
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, SIZE) != 0) return false;
  }
  void *at = mmap(ADDRESS, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (fd >= 0) close(fd);
  if (at != ADDRESS) return false;
  image = at;
  uint64_t mask = enter();
  if (!image->id) {
    image->used = (sizeof *image + 4095) & ~4095UL;
    image->root = inode_new(S_IFDIR | 0755);
    image->root->parent = image->root;
    image->orphan_limit = 16 << 20;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    image->id = ((uint64_t)now.tv_sec << 30 | (uint64_t)now.tv_nsec) ^ (uint64_t)getpid() << 40;
  }
  leave(mask);
  return true;
}

/** A thread that was killed inside never leaves: who waits long looks whether the owner is still alive. */
static void wait_for(int owner) {
  struct timespec patience = {0, 100000000};
  atomic_fetch_add(&image->waiters, 1);
  long r = zpoline_raw(SYS_futex, (long)&image->owner, FUTEX_WAIT, owner, (long)&patience, 0, 0);
  atomic_fetch_sub(&image->waiters, 1);
  if (r == -ETIMEDOUT && raw(SYS_kill, owner, 0, 0, 0) == -ESRCH)
    atomic_compare_exchange_strong(&image->owner, &owner, 0);
}

uint64_t enter(void) {
  /* Not those that say that this code itself is wrong: blocked, they could be told to nobody. */
  uint64_t all = ~(1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1) | 1UL << (SIGFPE - 1) | 1UL << (SIGILL - 1) |
                   1UL << (SIGTRAP - 1) | 1UL << (SIGABRT - 1));
  uint64_t mask = 0;
  raw(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask, sizeof mask);
  int me = (int)raw(SYS_gettid, 0, 0, 0, 0);
  int owner = 0;
  while (!atomic_compare_exchange_strong(&image->owner, &owner, me)) {
    wait_for(owner);
    owner = 0;
  }
  return mask;
}

void leave(uint64_t mask) {
  atomic_store(&image->owner, 0);
  if (atomic_load(&image->waiters)) raw(SYS_futex, &image->owner, FUTEX_WAKE, 1, 0);
  raw(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof mask);
}

static int class_of(size_t size) {
  int k = SMALLEST;
  while (1UL << k < size) k++;
  return k;
}

/** Makes the pages be there now: on a full disk a later write would be SIGBUS. Kernels before 5.14 cannot say. */
static bool populate(size_t from, size_t to) {
  char *base = (char *)image + (from & ~4095UL);
  long r = raw(SYS_madvise, base, to - (from & ~4095UL), 23 /* MADV_POPULATE_WRITE */, 0);
  return r == 0 || r == -EINVAL;
}

/** A block of at least `size` bytes with any content, aligned to 64; NULL: the image is full. */
void *allocate(size_t size) {
  int k = class_of(size);
  void *block = k < 48 ? image->vacant[k] : NULL;
  if (block) {
    image->vacant[k] = *(void **)block;
    return block;
  }
  if (k >= 48 || (1UL << k) > (size_t)SIZE - image->used) return NULL;
  if (!populate(image->used, image->used + (1UL << k))) return NULL;
  block = (char *)image + image->used;
  image->used += 1UL << k;
  return block;
}

/** `size` as it was asked for. */
void release(void *block, size_t size) {
  if (!block) return;
  int k = class_of(size);
  *(void **)block = image->vacant[k];
  image->vacant[k] = block;
}
