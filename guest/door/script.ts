/** The first line of a script, as the kernel reads it (fs/binfmt_script.c, load_script). */

/** Bytes of a file that the kernel looks at (BINPRM_BUF_SIZE). */
export const LINE_SIZE: usize = 256;

// @ts-ignore: decorator
@unmanaged
export class ScriptLine {
  /** NUL-terminated path of the interpreter. */
  interpreter: usize;
  /** NUL-terminated, with its inner blanks; 0 when there is none. */
  argument: usize;
}

// @ts-ignore: decorator
@inline
function isBlank(c: u8): bool {
  return c == 0x20 || c == 0x09;
}

/** Address of the first byte of [p, last] that is no blank; 0 when all are. */
function nextNonBlank(p: usize, last: usize): usize {
  for (; p <= last; p++) if (!isBlank(load<u8>(p))) return p;
  return 0;
}

/** Address of the first blank or NUL of [p, last]; 0 when there is none. */
function nextTerminator(p: usize, last: usize): usize {
  for (; p <= last; p++) if (isBlank(load<u8>(p)) || !load<u8>(p)) return p;
  return 0;
}

export function isScript(head: usize): bool {
  return load<u16>(head) == 0x2123; // #!
}

/** Takes apart the LINE_SIZE bytes at `head`, in place; false where the kernel answers ENOEXEC. */
export function parseLine(head: usize, line: ScriptLine): bool {
  const last = head + LINE_SIZE - 1;
  let end: usize = head;
  while (end <= last && load<u8>(end) && load<u8>(end) != 0x0a) end++;
  if (end > last || load<u8>(end) != 0x0a) {
    const name = nextNonBlank(head + 2, last);
    if (!name || !nextTerminator(name, last)) return false; // the name may be cut off
    end = last;
  }
  while (isBlank(load<u8>(end - 1))) end--;
  const name = nextNonBlank(head + 2, end);
  if (!name || name == end) return false;
  line.argument = 0;
  const separator = nextTerminator(name, end);
  if (separator && load<u8>(separator)) line.argument = nextNonBlank(separator, end);
  store<u8>(end, 0);
  if (separator) store<u8>(separator, 0);
  line.interpreter = name;
  return true;
}
