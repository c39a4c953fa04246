/* The bytes of a regular file: one block, which doubles. */
#include "memfs.h"

#define LARGEST (8L << 30)

bool content_reserve(struct inode *i, size_t size) {
  if (size <= i->room) return true;
  size_t room = i->room ? i->room : 64;
  while (room < size) room *= 2;
  char *block = allocate(room);
  if (!block) return false;
  if (i->content) memcpy(block, i->content, (size_t)i->size);
  release(i->content, i->room);
  i->content = block;
  i->room = room;
  return true;
}

long content_resize(struct inode *i, int64_t size) {
  if (size < 0) return -EINVAL;
  if (size > LARGEST) return -EFBIG;
  if (!content_reserve(i, (size_t)size)) return -ENOSPC;
  if (size > i->size) memset(i->content + i->size, 0, (size_t)(size - i->size));
  i->size = size;
  touch(i, MODIFIED | CHANGED);
  return 0;
}

long content_read(struct inode *i, int64_t at, void *to, size_t n) {
  if (at >= i->size) return 0;
  if (n > (size_t)(i->size - at)) n = (size_t)(i->size - at);
  touch(i, ACCESSED);
  return user_write(to, i->content + at, n);
}

long content_write(struct inode *i, int64_t at, const void *from, size_t n) {
  if (!n) return 0;
  if (at < 0) return -EINVAL;
  if (at >= LARGEST || n > (size_t)(LARGEST - at)) return -EFBIG;
  if (!content_reserve(i, (size_t)at + n)) return -ENOSPC;
  long done = user_read(i->content + at, from, n);
  if (done <= 0) return done;
  if (at > i->size) memset(i->content + i->size, 0, (size_t)(at - i->size));
  if (at + done > i->size) i->size = at + done;
  touch(i, MODIFIED | CHANGED);
  return done;
}
