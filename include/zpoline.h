/*
 * zpoline.h: what a hook for LIBZPHOOK needs to know.
 *
 *     gcc -shared -fPIC -O2 -I include -o hook.so hook.c
 *     LIBZPHOOK=./hook.so LD_PRELOAD=libzpoline.so PROGRAM
 *
 * A hook is a shared object that exports one of these, or both:
 *
 *   int __hook_init(long placeholder, void *slot)
 *       is called once, before the program's constructors. *slot holds the next function, which makes the original
 *       call. The hook keeps it and stores its own function there. Anything but 0 means that the hook cannot start:
 *       then the program is not run.
 *
 *   long hook_entry(unsigned long sysno, struct user_regs_struct *regs)
 *       is called instead of the function in *slot, and sees the registers of the program. __hook_init then hands out
 *       the next function; a hook that passes nothing on can do without it.
 *
 * The result of a hook is what the program finds in rax: a result, or -errno. Nothing here has to be linked: the
 * types, two functions for *slot, and one that makes a call which no hook sees. docs/c-hooks.md has the rules.
 */
#ifndef ZPOLINE_H
#define ZPOLINE_H

#include <sys/user.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A system call: number and arguments; the result, or -errno. A hook has this type, and so has the next function. */
typedef long (*zpoline_fn)(long nr, long a1, long a2, long a3, long a4, long a5, long a6);

/* What a hook defines. */
__attribute__((visibility("default"))) int __hook_init(long placeholder, void *slot);
__attribute__((visibility("default"))) long hook_entry(unsigned long sysno, struct user_regs_struct *regs);

/**
 * A hook that defines this as 1 is also called for the calls of signal handlers that have interrupted the hook itself. It
 * then holds no lock that it would want once more. Without it, such calls are made without the hook.
 */
extern __attribute__((visibility("default"))) int zpoline_reentrant;

/** For __hook_init: the function that makes the original call. */
static inline zpoline_fn zpoline_next(void *slot) {
  return *(zpoline_fn *)slot;
}

/** For __hook_init: from now on `hook` gets the calls. Returns the function that makes the original call. */
static inline zpoline_fn zpoline_install(void *slot, zpoline_fn hook) {
  zpoline_fn next = *(zpoline_fn *)slot;
  *(zpoline_fn *)slot = hook;
  return next;
}

/** For hook_entry: makes the call that the registers describe. */
static inline long zpoline_call(zpoline_fn next, const struct user_regs_struct *regs) {
  return next((long)regs->orig_rax, (long)regs->rdi, (long)regs->rsi, (long)regs->rdx, (long)regs->r10, (long)regs->r8,
              (long)regs->r9);
}

/**
 * A call of the hook's own, which no hook sees: the instruction lies in the hook's text, which is never rewritten.
 * Not for the program's fork, vfork, clone, clone3, execve, execveat, rt_sigreturn, mmap and mprotect: those need
 * the next function. Returns a result, or -errno.
 */
static inline long zpoline_raw(long nr, long a1, long a2, long a3, long a4, long a5, long a6) {
  long result;
  register long r10 __asm__("r10") = a4;
  register long r8 __asm__("r8") = a5;
  register long r9 __asm__("r9") = a6;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(nr), "D"(a1), "S"(a2), "d"(a3), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#ifdef __cplusplus
}
#endif

#endif
