/*
 * micro [BURSTS [CALLS [loop]]]: nanoseconds of CPU time per getppid() by an inline `syscall`, in short bursts; prints the
 * median of the bursts. With `loop`, of the same loop without the system call.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

__attribute__((noinline)) static long call(void) {
  long result;
  __asm__ volatile("mov $110, %%eax\n\tsyscall" : "=a"(result) : : "rcx", "r11", "memory");
  return result;
}

__attribute__((noinline)) static long no_call(void) {
  long result;
  __asm__ volatile("mov $110, %%eax" : "=a"(result) : : "rcx", "r11", "memory");
  return result;
}

static double burst(int calls, int loop) {
  double start = now();
  if (loop)
    for (int i = 0; i < calls; i++) no_call();
  else
    for (int i = 0; i < calls; i++) call();
  return (now() - start) / calls;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  int bursts = argc > 1 ? atoi(argv[1]) : 41, calls = argc > 2 ? atoi(argv[2]) : 10000, loop = argc > 3;
  double *ns = malloc(bursts * sizeof *ns);
  for (int b = 0; b < bursts; b++) {
    usleep(5000);
    burst(calls / 10, loop);
    ns[b] = burst(calls, loop);
  }
  qsort(ns, bursts, sizeof *ns, compare);
  printf("%.2f\n", ns[bursts / 2]);
  return 0;
}
