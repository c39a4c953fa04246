/*
 * Counts the calls of each process by number and prints the table when the process ends. Each thread counts for
 * itself.
 *
 *     LIBZPHOOK=./count.so LD_PRELOAD=libzpoline.so sort /etc/services >/dev/null
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "zpoline.h"

#define NUMBERS 512

/** The counters of a thread. They stay when it ends: their sum is wanted. Only their thread writes to them. */
struct counters {
  struct counters *older;
  atomic_ulong calls[NUMBERS + 1]; /* the last one counts what is no system call number */
};

static zpoline_fn next;
/** Nothing here minds being interrupted by a signal handler that makes calls: they are to be seen, too. */
int zpoline_reentrant = 1;
static int out;
static _Atomic(struct counters *) all;
/** Initial-exec: the thread library has set it up with the thread, so its first use allocates nothing. */
static __thread struct counters *mine __attribute__((tls_model("initial-exec")));

static void begin_thread(void) {
  struct counters *c = mmap(0, sizeof *c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (c == MAP_FAILED) return;
  c->older = atomic_load(&all);
  while (!atomic_compare_exchange_weak(&all, &c->older, c)) continue;
  mine = c;
}

/** A child of fork has a copy of the counters, and begins with none. */
static void begin_process(void) {
  for (struct counters *c = atomic_load(&all); c; c = c->older)
    for (int nr = 0; nr <= NUMBERS; nr++) atomic_store(&c->calls[nr], 0);
}

static void print(void) {
  unsigned long sum = 0;
  for (int nr = 0; nr <= NUMBERS; nr++) {
    unsigned long n = 0;
    for (struct counters *c = atomic_load(&all); c; c = c->older) n += atomic_load(&c->calls[nr]);
    if (n && nr < NUMBERS) dprintf(out, "%d: %9lu calls of %d\n", getpid(), n, nr);
    if (n && nr == NUMBERS) dprintf(out, "%d: %9lu calls of other numbers\n", getpid(), n);
    sum += n;
  }
  dprintf(out, "%d: %9lu calls\n", getpid(), sum);
}

static int is_fork(long nr, long a1) {
  if (nr == SYS_fork) return 1;
  if (nr == SYS_clone) return !(a1 & CLONE_VM);
  return nr == SYS_clone3 && !(*(unsigned long *)a1 & CLONE_VM);
}

static long count(long nr, long a1, long a2, long a3, long a4, long a5, long a6) {
  if (!mine) begin_thread();
  if (mine) atomic_fetch_add(&mine->calls[nr >= 0 && nr < NUMBERS ? nr : NUMBERS], 1);
  if (nr == SYS_exit_group) print();
  long result = next(nr, a1, a2, a3, a4, a5, a6);
  if (result == 0 && is_fork(nr, a1)) begin_process();
  return result;
}

int __hook_init(long placeholder, void *slot) {
  (void)placeholder;
  out = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 900);
  if (out < 0) out = STDERR_FILENO;
  next = zpoline_install(slot, count);
  return 0;
}
