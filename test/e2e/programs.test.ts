/** Real programs behave under `zpoline trace -f` as they do natively, and their calls are the ones that strace shows. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { callsByProcess, fixture, nameOf, run, scratch, strace, zpoline } from "./run.ts";

/** What is said of a program that makes code at run time (node): the only gap that any of these has. */
const JIT_GAP = /^zpoline: trace is incomplete: code was made at run time.*\n/;

const sh = (script: string) => ["bash", "-c", script];

/** Name, command; each runs in a directory of its own, natively and traced. */
const PROGRAMS: readonly [string, readonly string[]][] = [
  ["ls -laR", ["ls", "-laR", "/usr/share/perl5"]],
  ["cp -a and diff", sh("cp -a /usr/share/perl5 copy && diff -r /usr/share/perl5 copy && find copy | sort | md5sum")],
  [
    "git init, add, commit, log",
    sh(`export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_CONFIG_GLOBAL=/dev/null
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main r && cd r && seq 100 > f && git add -A && git commit -qm one && git log --format='%H %s' && git gc -q && git fsck`),
  ],
  ["a pipeline in bash", sh("ls /usr/bin | sort | wc -l")],
  [
    "python3 with 8 threads opening 1000 files each",
    [
      "python3",
      "-c",
      `
import os, threading
def work(n):
    for i in range(1000):
        name = "f%d-%d" % (n, i)
        with open(name, "w") as f: f.write(str(i))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(os.listdir(".")), sum(int(open(f).read()) for f in os.listdir(".")))`,
    ],
  ],
  [
    "python3 with subprocesses",
    [
      "python3",
      "-c",
      "import subprocess; print(subprocess.check_output(['echo', 'x']), subprocess.call('exit 3', shell=True))",
    ],
  ],
  [
    "gcc hello.c",
    sh(
      `printf '#include <stdio.h>\\nint main(){puts("hello");return 5;}' > hello.c; gcc hello.c && ./a.out; echo $?; strip -s a.out; md5sum < a.out`,
    ),
  ],
  [
    "sqlite3",
    ["sqlite3", "t.db", "create table t(a); insert into t values(1),(2); select sum(a) from t; pragma integrity_check"],
  ],
  [
    "node with a worker and spawnSync",
    [
      process.execPath,
      "-e",
      `const { Worker } = require("worker_threads"), { spawnSync } = require("child_process");
       console.log(spawnSync("sh", ["-c", "echo out; exit 4"]).status);
       new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true }).on("message", (m) => { console.log(m); process.exitCode = 3 });`,
    ],
  ],
  [
    "redis-server and redis-benchmark",
    sh(`redis-server --port 0 --unixsocket $PWD/s --save '' >/dev/null & for i in $(seq 100); do [ -S s ] && break; sleep 0.05; done
        redis-benchmark -s $PWD/s -n 500 -t set,get -q >/dev/null; redis-cli -s $PWD/s set k v; redis-cli -s $PWD/s get k; redis-cli -s $PWD/s shutdown nosave; wait; echo $?`),
  ],
  [
    "an environment that is scrubbed",
    sh("cd /; env -i /usr/bin/env; env -i A=b /bin/sh -c 'echo $A; /usr/bin/env' | sort"),
  ],
  ["a program that is killed", sh("kill -TERM $$")],
  ["closed descriptors", sh("exec 0<&- 2>&-; ls /proc/self/fd | wc -l; echo $(readlink /proc/self/exe)")],
];

/** A new directory of the same name in two places: output that names it is the same. */
function place(name: string, kind: string): string {
  const dir = join(scratch, kind, name.replace(/\W+/g, "-"));
  mkdirSync(dir, { recursive: true });
  return dir;
}

describe("same output and exit status as natively", () => {
  test.each(PROGRAMS)("%s", (name, command) => {
    const native = run(command, { cwd: place(name, "native") });
    const { lines, ...hooked } = zpoline(command, { cwd: place(name, "hooked") });
    expect({ ...hooked, stderr: hooked.stderr.replace(JIT_GAP, "") }).toEqual(native);
    expect(lines.length).toBeGreaterThan(10);
    const last = lines.at(-1)!;
    expect(last).toMatch(/\+\+\+ (exited with \d+|killed by SIG\w+) \+\+\+$/);
  });

  test.each(["registers.c", "processes.c", "numbers.c"])("%s", (source) => {
    const program = fixture(source);
    const native = run([program]);
    expect(native.status).toBe(0);
    const { lines, ...hooked } = zpoline([program]);
    expect(hooked).toEqual(native);
    expect(lines.length).toBeGreaterThan(10);
  });
});

describe("the same calls in the same order as strace shows", () => {
  mkdirSync(join(scratch, "tree"), { recursive: true });
  for (let i = 0; i < 20; i++) writeFileSync(join(scratch, "tree", `f${i}`), "x".repeat(i * 100));

  test.each([
    ["/bin/true", ["/bin/true"]],
    ["ls -la", ["ls", "-la", "tree"]],
    ["cat", ["cat", "tree/f1", "tree/f2", "tree/none"]],
    ["sort", ["sort", "tree/f19"]],
    ["bash, one process after the other", sh("ls tree > list; sort list; wc -l < list; (exit 3); echo $?")],
    ["sqlite3", ["sqlite3", ":memory:", "select 1"]],
    ["sed", ["sed", "s/x/y/", "tree/f3"]],
  ] as const)("%s", (_name, command) => {
    const ours = callsByProcess(zpoline(command).lines);
    const theirs = callsByProcess(strace(command).lines);
    expect(ours.length).toBe(theirs.length);
    for (const [i, calls] of ours.entries()) {
      expect(calls.map(nameOf)).toEqual(visible(theirs[i]!.map(nameOf), i === 0));
    }
  });
});

/**
 * What strace shows where we look. A process begins as a copy of its parent, seen by both from its first call on, or with
 * an exec (the root's by the tracer itself). After an exec we see what comes after ld.so's last call before it runs
 * constructors: the munmap of its cache.
 */
function visible(calls: readonly string[], root: boolean): string[] {
  const images: string[][] = [[]];
  for (const call of calls) {
    images.at(-1)!.push(call);
    if (call === "execve") images.push([]);
  }
  const [first, ...others] = images;
  const afterLoading = (image: string[]): string[] => image.slice(image.indexOf("munmap") + 1);
  return [...(root ? [] : first!), ...others.flatMap(afterLoading)];
}
