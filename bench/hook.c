/* A hook in C that makes every call as it is: what the way to a C hook and back costs. */
typedef long call(long nr, long a1, long a2, long a3, long a4, long a5, long a6);

static call *next;

static long hook(long nr, long a1, long a2, long a3, long a4, long a5, long a6) {
  return next(nr, a1, a2, a3, a4, a5, a6);
}

int __hook_init(long placeholder, void *slot) {
  (void)placeholder;
  next = *(call **)slot;
  *(call **)slot = hook;
  return 0;
}
