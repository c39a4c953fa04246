/*
 * driver A B: runs the functions of two shared objects in turn, in short pieces, and prints for each the medians of
 * their CPU times in nanoseconds: `name A B`. Ends with 1 if the two do not agree.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 41, PIECE_NS = 2000000, KEYS = 4096, SHIFT = 51 };
typedef uint64_t function(uintptr_t, uintptr_t, uintptr_t);

static uintptr_t text_start, text_end;
static char maps_text[1 << 16];
static uint64_t keys[KEYS];
static struct {
  uint32_t shift, mask;
  struct { uint64_t key, value; } entries[1 << (64 - SHIFT)];
} table;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1000000000u + t.tv_nsec;
}

static int find_libc(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  if (!strstr(info->dlpi_name, "/libc.so")) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
    text_start = info->dlpi_addr + p->p_vaddr;
    text_end = text_start + p->p_filesz - 64;
  }
  return 1;
}

static void fill(void) {
  dl_iterate_phdr(find_libc, NULL);
  FILE *file = fopen("/proc/self/maps", "r");
  maps_text[fread(maps_text, 1, sizeof maps_text - 1, file)] = 0;
  fclose(file);
  table.shift = SHIFT;
  table.mask = (1u << (64 - SHIFT)) - 1;
  uint64_t x = 88172645463325252u;
  for (int i = 0; i < KEYS; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    keys[i] = x;
    if (i % 8 == 7) continue; // is not found
    uint64_t at = x * 0x9e3779b97f4a7c15u >> SHIFT;
    while (table.entries[at].key) at = (at + 1) & table.mask;
    table.entries[at].key = x;
    table.entries[at].value = i;
  }
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

struct work {
  const char *name;
  uintptr_t a, b, c;
};

static uint64_t piece(function *f, const struct work *w, int repeat) {
  uint64_t start = now();
  for (int i = 0; i < repeat; i++)
    f(w->a, w->b, w->c);
  return now() - start;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  fill();
  const struct work works[] = {
      {"lengths", text_start, text_end, 0},
      {"scan", text_start, text_end, 0},
      {"maps", (uintptr_t)maps_text, (uintptr_t)maps_text + strlen(maps_text), 0},
      {"hash", (uintptr_t)keys, (uintptr_t)(keys + KEYS), (uintptr_t)&table},
  };
  void *libraries[2];
  for (int i = 0; i < 2; i++) {
    libraries[i] = dlopen(argv[1 + i], RTLD_NOW);
    if (!libraries[i]) return fprintf(stderr, "%s\n", dlerror()), 2;
  }
  for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
    const struct work *w = &works[i];
    function *f[2];
    for (int k = 0; k < 2; k++) {
      f[k] = (function *)dlsym(libraries[k], w->name);
      if (!f[k]) return fprintf(stderr, "%s: no %s\n", argv[1 + k], w->name), 2;
    }
    if ((uint32_t)f[0](w->a, w->b, w->c) != (uint32_t)f[1](w->a, w->b, w->c))
      return fprintf(stderr, "%s: the results differ\n", w->name), 1;
    int repeat = PIECE_NS / (piece(f[1], w, 1) + 1) + 1;
    uint64_t times[2][ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
      for (int k = 0; k < 2; k++) times[(round + k) & 1][round] = piece(f[(round + k) & 1], w, repeat);
    for (int k = 0; k < 2; k++) qsort(times[k], ROUNDS, sizeof times[k][0], compare);
    double per = repeat;
    printf("%s %.3f %.3f\n", w->name, times[0][ROUNDS / 2] / per, times[1][ROUNDS / 2] / per);
  }
}
