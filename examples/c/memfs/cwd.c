/*
 * The working directory. One inside is known to this process only; the kernel's stays where it was. A program that it
 * starts gets it in a variable, which is taken away before that program looks.
 */
#include <stdio.h>
#include <stdlib.h>
#include "memfs.h"

#define VARIABLE "MEMFS_CWD="
/** Most variables of an environment that can be given one more. */
#define MOST 8192

extern char **environ;
struct inode *cwd;

void cwd_inherit(void) {
  for (char **at = environ; at && *at; at++) {
    if (strncmp(*at, VARIABLE, strlen(VARIABLE)) != 0) continue;
    static struct place p;
    if (lookup_path(NULL, *at + strlen(VARIABLE), FOLLOW, &p) == 0 && p.inode && is_dir(p.inode)) cwd = p.inode;
    while ((*at = at[1])) at++;
    return;
  }
}

long on_getcwd(struct call *c) {
  static char path[PATH_MAX];
  long n = dir_path(cwd, path, sizeof path);
  if (n < 0) return n;
  if (n > c->a[1]) return -ERANGE;
  return user_write((void *)c->a[0], path, (size_t)n) == n ? n : -EFAULT;
}

/** Programs cannot be executed from here. PASS: it lies elsewhere, perhaps where c says now. */
static long find_program(struct call *c) {
  static struct place p;
  bool at = c->nr == SYS_execveat;
  long r = lookup(at ? c->a[0] : AT_FDCWD, (void *)c->a[at], FOLLOW, &p);
  if (r == OUTSIDE) return pass_outside(c, at, &p);
  if (r) return r;
  return p.inode ? -EACCES : -ENOENT;
}

/** execve and execveat, not between enter() and leave(). */
long on_exec(struct call *c) {
  char variable[sizeof VARIABLE + PATH_MAX] = VARIABLE, outside[PATH_MAX];
  int which = c->nr == SYS_execveat ? 3 : 2;
  char **given = (char **)c->a[which];
  char *environment[MOST + 2];
  size_t n = 0;
  c->outside = outside;
  uint64_t mask = enter();
  long r = find_program(c);
  long length = cwd ? dir_path(cwd, variable + strlen(VARIABLE), PATH_MAX) : 0;
  leave(mask);
  if (r != PASS) return r;
  if (!cwd) return pass(c);
  if (length < 0) strcpy(variable + strlen(VARIABLE), mount_point); /* it was removed: anything but the kernel's */
  while (n < MOST && user_read(&environment[n], given + n, sizeof *given) == sizeof *given && environment[n]) n++;
  if (n == MOST) return -E2BIG;
  environment[n] = variable;
  environment[n + 1] = NULL;
  c->a[which] = (long)environment;
  return pass(c);
}
