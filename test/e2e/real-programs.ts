/** Real programs, each of which prints the same every time that it runs in an empty directory. */

import { spawnSync } from "node:child_process";

/** A command line of bash. */
export const sh = (script: string) => ["bash", "-c", script];

/** Name, command. */
export const PROGRAMS: readonly [string, readonly string[]][] = [
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

const HELLO_C = `#include <stdio.h>
#include <unistd.h>
static long call(long nr) { long result; __asm__ volatile("syscall" : "=a"(result) : "a"(nr) : "rcx", "r11", "memory"); return result; }
int main(void) {
  FILE *f = fopen("written", "w"); fprintf(f, "text"); fclose(f);
  long same = 0;
  for (int i = 0; i < 100; i++) same += call(110) == getppid();
  return printf("%ld\\n", same) == 4 ? 3 : 4;
}`;

const HELLO_LUA = `
local ffi = require("ffi")
ffi.cdef[[int getppid(void); int open(const char *, int, ...); int close(int);]]
local parent, same = ffi.C.getppid(), 0
for i = 1, 1000 do if ffi.C.getppid() == parent then same = same + 1 end end
for i = 1, 200 do ffi.C.close(ffi.C.open("/dev/null", 0)) end
local f = io.open("written", "w"); f:write(string.rep("text", 1000)); f:close()
print(same, #io.open("written"):read("*a"))`;

const HELLO_JAVA = `
import java.nio.file.*; import java.util.stream.*;
public class Hello {
  public static void main(String[] args) throws Exception {
    Thread[] threads = new Thread[4];
    for (int t = 0; t < 4; t++) { int n = t; threads[t] = new Thread(() -> { try {
      for (int i = 0; i < 50; i++) Files.writeString(Path.of("f" + n + "-" + i), "text" + i); } catch (Exception e) { throw new RuntimeException(e); } }); threads[t].start(); }
    for (Thread thread : threads) thread.join();
    try (Stream<Path> files = Files.list(Path.of("."))) { System.out.println(files.filter(f -> f.toString().contains("-")).count()); }
    System.exit(5);
  }
}`;

const isThere = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

/** Programs that run code which they compile themselves. Java is large: it is used where it happens to be installed. */
const COMPILERS: readonly [string, readonly string[]][] = [
  ["tcc -run", sh(`cat > hello.c <<'END'\n${HELLO_C}\nEND\ntcc -run hello.c; echo $?; cat written`)],
  ["luajit", ["luajit", "-e", HELLO_LUA]],
  ["java", sh(`cat > Hello.java <<'END'\n${HELLO_JAVA}\nEND\njava -Xshare:auto -Xmx64m Hello.java; echo $?`)],
];
export const COMPILED = COMPILERS.filter(([name]) => name !== "java" || isThere("java"));
