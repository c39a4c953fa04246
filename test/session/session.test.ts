import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ZpolineError } from "../../src/errors.ts";
import { canMapZero, requireAddressZero } from "../../src/session/prerequisites.ts";
import { type Session, type SessionOptions, startSession } from "../../src/session/session.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { FakeThread } from "../helpers/fake-guest.ts";
import { Lines } from "../helpers/lines.ts";

const { getpid, read, clone, exit_group, execve } = NUMBERS;
/** Something that ld.so loads without harm: the tests write into the ring themselves, in the guest's place. */
const HARMLESS = "/lib/x86_64-linux-gnu/libc.so.6";

let tmp: string;
let sink: Lines;
const tmpBefore = process.env["TMPDIR"];
beforeEach(() => {
  tmp = fs.mkdtempSync(path.join(os.tmpdir(), "session-test-"));
  process.env["TMPDIR"] = tmp;
  sink = new Lines();
});
afterEach(() => {
  if (tmpBefore === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = tmpBefore;
  fs.rmSync(tmp, { recursive: true, force: true });
});

function sh(script: string, options: Partial<SessionOptions> = {}): Promise<Session> {
  return startSession({ command: "sh", args: ["-c", script], sink, stdio: "pipe", library: HARMLESS, ...options });
}

/** Lets a script go on that waits in `read`. */
function release(session: Session): void {
  session.child.stdin?.end("\n");
}

/** What it writes to standard output until that is closed. */
async function outputOf(session: Session): Promise<string> {
  let text = "";
  for await (const chunk of session.child.stdout ?? []) text += chunk;
  return text;
}

function ringOf(): string {
  const [directory = ""] = fs.readdirSync(tmp);
  return path.join(tmp, directory, "ring");
}

test("what the program records is told, with its end and status, and nothing is left on disk", async () => {
  const session = await sh("read x; exit 7");
  const thread = new FakeThread(ringOf(), session.pid);
  thread.start(1, "/bin/sh");
  thread.call(10, getpid, [], session.pid);
  release(session);
  const { status, coverage } = await session.result;
  expect(status).toEqual({ code: 7 });
  expect(coverage.complete).toBe(true);
  expect(sink.lines).toEqual([
    `${session.pid} start /bin/sh`,
    `${session.pid} getpid(`,
    `${session.pid} getpid) = ${session.pid}`,
    `${session.pid} end 7`,
  ]);
  expect(fs.readdirSync(tmp)).toEqual([]);
});

test("a program killed by a signal has that signal as its status", async () => {
  const session = await sh("kill -TERM $$");
  expect((await session.result).status).toEqual({ signal: os.constants.signals.SIGTERM });
});

test("signals are passed on", async () => {
  const session = await sh("trap 'exit 9' USR2; echo ready; read x");
  session.child.stdout?.once("data", () => session.signal("SIGUSR2"));
  const { status, interrupted } = await session.result;
  expect(status).toEqual({ code: 9 });
  expect(interrupted).toBeUndefined();
});

test("the program gets the library before the user's own, and the ring's path", async () => {
  const session = await sh('echo "$LD_PRELOAD $ZPOLINE_SESSION"', { env: { ...process.env, LD_PRELOAD: HARMLESS } });
  const ring = ringOf();
  expect(await outputOf(session)).toBe(`${HARMLESS}:${HARMLESS} ${ring}\n`);
});

test("a library whose path LD_PRELOAD cannot hold is linked to", async () => {
  const odd = path.join(tmp, "my library.so");
  fs.copyFileSync(HARMLESS, odd);
  const session = await sh('readlink -f "$LD_PRELOAD"', { library: odd });
  expect(await outputOf(session)).toBe(`${fs.realpathSync(odd)}\n`);
});

test("a program that was never hooked is a gap that says why", async () => {
  const session = await sh("exit 0");
  expect((await session.result).coverage).toEqual({
    complete: false,
    gaps: [{ kind: "not-hooked", pid: session.pid, detail: "", count: 1 }],
    patches: {},
  });
  expect(sink.lines).toEqual([`${session.pid} end 0`]);
});

describe("without follow", () => {
  test("only the main thread of the program is told, and nobody else's gaps count", async () => {
    const session = await sh("read x");
    const [root, thread, child] = [
      new FakeThread(ringOf(), session.pid),
      new FakeThread(ringOf(), session.pid, session.pid + 1),
      new FakeThread(ringOf(), process.pid),
    ];
    root.start(1, "/bin/sh");
    thread.child(2, session.pid);
    thread.call(3, read);
    child.call(4, getpid);
    child.enter(5, execve);
    root.call(6, getpid);
    root.call(8, clone, [], 0x7ffffff0);
    release(session);
    const patches = { "jump+trap": 1 };
    expect((await session.result).coverage).toEqual({ complete: true, gaps: [], patches });
    expect(sink.lines.every((line) => line.startsWith(`${session.pid} `))).toBe(true);
    expect(sink.calls.map(({ nr }) => nr)).toEqual([getpid, clone]);
  });

  test("the end of the program is the end, whoever lives on", async () => {
    const session = await sh("sleep 1000 >/dev/null 2>&1 & echo $!; exit 3");
    const text = outputOf(session);
    expect((await session.result).status).toEqual({ code: 3 });
    process.kill(Number(await text));
  });
});

describe("with follow", () => {
  test("the end of the last process is the end", async () => {
    const session = await sh("sleep 1000 & echo $!; read x; exit 3", { follow: true });
    const daemon = await new Promise<number>((resolve) => {
      session.child.stdout?.once("data", (chunk) => resolve(Number(chunk)));
    });
    const root = new FakeThread(ringOf(), session.pid);
    root.start(1, "/bin/sh");
    root.enter(2, clone);
    const child = new FakeThread(ringOf(), daemon);
    child.child(3, session.pid);
    root.exit(4, clone, 2, daemon);
    root.enter(5, exit_group, [3]);
    release(session);
    await new Promise((resolve) => session.child.once("exit", resolve));
    child.call(6, getpid);
    process.kill(daemon);
    const { status, coverage } = await session.result;
    expect(status).toEqual({ code: 3 });
    expect(coverage.complete).toBe(true);
    expect(sink.calls.map(({ tid, nr }) => [tid, nr])).toEqual([
      [session.pid, clone],
      [daemon, getpid],
    ]);
    expect(sink.lines.filter((line) => line.includes(" end")).sort()).toEqual(
      [`${session.pid} end 3`, `${daemon} end`].sort(),
    );
  });

  test("a signal ends the wait for those that outlive the program", async () => {
    const session = await sh("sleep 1000 >/dev/null 2>&1 & echo $!; read x", { follow: true });
    const daemon = await new Promise<number>((resolve) => {
      session.child.stdout?.once("data", (chunk) => resolve(Number(chunk)));
    });
    new FakeThread(ringOf(), session.pid).start(1, "/bin/sh");
    new FakeThread(ringOf(), daemon).child(3, session.pid);
    release(session);
    await new Promise((resolve) => session.child.once("exit", resolve));
    session.signal("SIGTERM");
    const { interrupted, coverage } = await session.result;
    expect(interrupted).toBe("SIGTERM");
    expect(coverage.gaps).toEqual([{ kind: "still-running", pid: 0, detail: "SIGTERM", count: 1 }]);
    process.kill(daemon);
  });
});

test("only selected calls are told", async () => {
  const session = await sh("read x", { select: new Set([read]) });
  const thread = new FakeThread(ringOf(), session.pid);
  thread.call(1, getpid);
  thread.call(3, read);
  release(session);
  await session.result;
  expect(sink.calls.map(({ nr }) => nr)).toEqual([read]);
});

test("an error of the sink is reported when the program has ended by itself", async () => {
  sink.start = () => {
    throw new Error("sink broke");
  };
  const session = await sh("read x");
  let exited = false;
  session.child.once("exit", () => {
    exited = true;
  });
  const thread = new FakeThread(ringOf(), session.pid);
  thread.start(1, "/bin/sh");
  thread.call(2, getpid);
  setTimeout(() => release(session), 50);
  await expect(session.result).rejects.toThrow("sink broke");
  expect(exited).toBe(true);
  expect(session.child.exitCode).not.toBeNull();
  expect(fs.readdirSync(tmp)).toEqual([]);
});

test("while the sink is congested nothing is read, and nothing is lost", async () => {
  let congested = true;
  const session = await sh("read x", { congested: () => congested });
  const thread = new FakeThread(ringOf(), session.pid);
  thread.start(1, "/bin/sh");
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(sink.lines).toEqual([]);
  congested = false;
  release(session);
  await session.result;
  expect(sink.lines[0]).toBe(`${session.pid} start /bin/sh`);
});

describe("what cannot be started", () => {
  const start = (command: string, options: Partial<SessionOptions> = {}): Promise<Session> =>
    startSession({ command, args: [], sink, stdio: "ignore", library: HARMLESS, ...options });
  const withCode = (code: string) => expect.objectContaining({ name: "ZpolineError", code });

  test("says what is wrong, and leaves nothing behind", async () => {
    await expect(start("no-such-command-at-all")).rejects.toEqual(withCode("PROGRAM_NOT_FOUND"));
    await expect(start("")).rejects.toEqual(withCode("PROGRAM_NOT_FOUND"));
    await expect(start("/no/such/file")).rejects.toEqual(withCode("PROGRAM_NOT_FOUND"));
    await expect(start(tmp)).rejects.toEqual(withCode("PROGRAM_NOT_EXECUTABLE"));
    await expect(start("/bin/true", { library: "/no/such/library.so" })).rejects.toEqual(withCode("NOT_BUILT"));
    await expect(start("/bin/true", { cwd: "/no/such/directory" })).rejects.toEqual(withCode("PROGRAM_START"));
    const library = path.join(tmp, "a b.so");
    fs.copyFileSync(HARMLESS, library);
    process.env["TMPDIR"] = path.join(tmp, "c d");
    fs.mkdirSync(process.env["TMPDIR"]);
    await expect(start("/bin/true", { library })).rejects.toEqual(withCode("UNUSABLE_PATH"));
    expect(fs.readdirSync(process.env["TMPDIR"])).toEqual([]);
  });

  test("PATH is searched as execvp does: first executable file, empty means here", async () => {
    const here = path.join(tmp, "here");
    fs.mkdirSync(path.join(here, "tool"), { recursive: true });
    fs.mkdirSync(path.join(here, "bin"));
    fs.writeFileSync(path.join(here, "bin", "tool"), "#!/bin/sh\nexit 5\n");
    const env = { PATH: `${here}::bin` };
    await expect(start("tool", { env, cwd: here })).rejects.toEqual(withCode("PROGRAM_NOT_EXECUTABLE"));
    fs.chmodSync(path.join(here, "bin", "tool"), 0o755);
    const session = await start("tool", { env, cwd: here });
    expect((await session.result).status).toEqual({ code: 5 });
  });
});

test("address 0 can be mapped with the sysctl, or with the capability in the initial user namespace", () => {
  const initial = "         0          0 4294967295\n";
  const status = (effective: string): string => `Name:\tnode\nCapEff:\t${effective}\nCapBnd:\t000001ffffffffff\n`;
  const all = "000001ffffffffff";
  const none = "0000000000000000";
  expect(canMapZero({ status: status(none), minAddress: "65536\n", uidMap: initial })).toBe(false);
  expect(canMapZero({ status: status(none), minAddress: "0\n", uidMap: initial })).toBe(true);
  expect(canMapZero({ status: status(all), minAddress: "65536\n", uidMap: initial })).toBe(true);
  expect(canMapZero({ status: status("0000000000020000"), minAddress: "4096\n", uidMap: initial })).toBe(true);
  expect(canMapZero({ status: status("000001fffffdffff"), minAddress: "4096\n", uidMap: initial })).toBe(false);
  expect(canMapZero({ status: status(all), minAddress: "65536\n", uidMap: "0 1000 1\n" })).toBe(false);
  expect(canMapZero({ status: "", minAddress: "", uidMap: "" })).toBe(false);

  const told = (effective: string, bounding: string, uidMap: string): string => {
    try {
      requireAddressZero({ status: `CapEff:\t${effective}\nCapBnd:\t${bounding}\n`, minAddress: "65536\n", uidMap });
    } catch (error) {
      return (error as ZpolineError).format();
    }
    return "";
  };
  expect(told(all, all, initial)).toBe("");
  expect(told(none, all, initial)).toMatch(
    /NO_VA0\)\n {2}cause: vm\.mmap_min_addr is 65536, and .* no CAP_SYS_RAWIO\n {2}fix: --patch auto.*sysctl -w .*as root/,
  );
  expect(told(none, none, initial)).toMatch(/nor can it get it\n {2}fix: .*docker run --cap-add SYS_RAWIO/);
  expect(told(all, all, "0 1000 1\n")).toMatch(/user namespace .*\n {2}fix: .*; or on the host sudo sysctl/);
});
