/**
 * Where the site cache is kept: $ZPOLINE_CACHE, or `zpoline` in $XDG_CACHE_HOME or in $HOME/.cache. Used only if it is the
 * effective user's own and nobody else can write there.
 */
import { CACHE, HOME, valueOf, XDG_CACHE_HOME } from "../process/environment";
import { copyString, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { makeDirectory, O_DIRECTORY, O_NOFOLLOW, openAt, Stat, statDescriptor, statFile } from "../std/files";
import { syscall6 } from "../std/raw";
import { AT_FDCWD, closeFile, failed, O_CLOEXEC, O_RDONLY } from "../std/sys";

const SYS_GETEUID: u64 = 107;
const SLASH: u8 = 0x2f;
/** Bits of a mode: group and others may write. */
const OTHERS_WRITE: u32 = 0o022;
/** Most bytes of the path. */
export const MOST_PATH: usize = 4096;

/** Writes the directory's path to `to`, MOST_PATH bytes; false when there is to be no cache. */
export function cachePath(to: usize): bool {
  const own = valueOf(CACHE);
  if (own) return joinPath(to, own, cstr(""));
  const xdg = valueOf(XDG_CACHE_HOME);
  if (xdg && load<u8>(xdg) == SLASH) return joinPath(to, xdg, cstr("/zpoline"));
  const home = valueOf(HOME);
  return home != 0 && joinPath(to, home, cstr("/.cache/zpoline"));
}

/** Only absolute paths count: the program may change its directory. */
function joinPath(to: usize, directory: usize, rest: usize): bool {
  if (load<u8>(directory) != SLASH || stringLength(directory) + stringLength(rest) >= MOST_PATH) return false;
  copyString(copyString(to, directory), rest);
  return true;
}

/** A descriptor of the directory at `path`; negative where there is none that can be trusted. */
export function openDirectory(path: usize, stat: Stat): i64 {
  const directory = openAt(<i64>AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (failed(directory)) return -1;
  if (statDescriptor(directory, stat) && isTrusted(stat)) return directory;
  closeFile(directory);
  return -1;
}

/** Whether the effective user alone can have written what `stat` is about. */
export function isTrusted(stat: Stat): bool {
  return stat.uid == effectiveUser() && !(stat.mode & OTHERS_WRITE);
}

function effectiveUser(): u32 {
  return <u32>syscall6(SYS_GETEUID, 0, 0, 0, 0, 0, 0);
}

/**
 * Makes the directory at `path`, nothing above it: a home directory that is about to be removed again stays empty. One that
 * nobody asked for is made only in a directory of the same user: root does not leave its own in the home of others.
 */
export function createDirectory(path: usize, stat: Stat): void {
  if (!valueOf(CACHE)) {
    let slash = path + stringLength(path);
    while (load<u8>(slash) != SLASH) slash--;
    store<u8>(slash, 0);
    const mine = statFile(path, stat) && stat.uid == effectiveUser();
    store<u8>(slash, SLASH);
    if (!mine) return;
  }
  makeDirectory(path, 0o700);
}
