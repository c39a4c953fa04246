/** examples/c/memfs: programs find in /mem what they find in a directory of the kernel's. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { example, hooked as hookedBy } from "./c-hooks.ts";
import { PATCHES } from "./patches.ts";
import { fixture, type Options, type Outcome, run, scratch } from "./run.ts";

/** A memory file system of the kernel's, to compare with. */
const shm = mkdtempSync("/dev/shm/zpoline-test-");
afterAll(() => rmSync(shm, { recursive: true, force: true }));

let images = 0;

/** Each runs in a directory D of its own. */
const SCRIPTS: readonly [string, string][] = [
  [
    "cp and diff",
    "cp -r /usr/share/perl5 x && diff -r /usr/share/perl5 x && cp -a x y && find y | sort | md5sum && rm -r x && ls",
  ],
  [
    "ls",
    "umask 027; mkdir d; seq 1000 > d/f; ln -s d/f l; ln d/f h; mkfifo p 2>/dev/null; chmod 4711 h; ls -lAGg --time-style=+ d h l",
  ],
  [
    "tar",
    "cp -r /usr/share/perl5 x && tar cf a.tar x && mkdir y && tar xf a.tar -C y && diff -r x y/x && tar tf a.tar | sort | md5sum",
  ],
  [
    "grep and sed",
    "cp -r /usr/share/perl5 x; grep -rl strict x | sort | md5sum; sed -i s/use/USE/ x/*.pm; cat x/*.pm | md5sum",
  ],
  [
    "sort with temporary files",
    "seq 50000 | sort -R -S 200k -T . | sort -n -S 200k -T . -o sorted && md5sum < sorted; ls",
  ],
  [
    "redirections of bash",
    "echo a > f; echo b >> f; exec 3<> f; read x <&3; echo $x; echo c >&3; cat f; exec 3>&-; cat <<< here; [ -s f ] && wc -c < f",
  ],
  [
    "the working directory",
    "mkdir -p a/b; cd a/b; touch c; pwd | sed s,$D,D,; /bin/pwd | sed s,$D,D,; ls ..; cd ../..; ls a; (cd a; ls); find . | sort",
  ],
  [
    "a path that leads out",
    "ln -s /usr/share/perl5 out; ls out/ | md5sum; cat out/../../../etc/hostname | wc -l; stat -c %F $D/../..; mv out in; readlink in",
  ],
  [
    "sqlite3",
    "sqlite3 t.db 'create table t(a); insert into t values(1),(2)'; sqlite3 t.db 'select sum(a) from t; pragma integrity_check'",
  ],
  [
    "git",
    `export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_CONFIG_GLOBAL=/dev/null
     export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
     git init -q -b main r && cd r && seq 100 > f && git add -A && git commit -qm one && echo x >> f && git status -s &&
     git commit -qam two && git log --format='%H %s' && git gc -q && git fsck && git clone -q . ../c && diff f ../c/f`,
  ],
  [
    "gcc",
    `printf '#include <stdio.h>\\nint main(){puts("hello");return 5;}' > h.c; gcc h.c -o h && cp h $TMP/h && $TMP/h; echo $?`,
  ],
  [
    "python3",
    `python3 -c 'import mmap; f = open("f", "wb+"); f.write(b"x" * 5000); f.flush(); print(mmap.mmap(f.fileno(), 0, prot=1)[4990:])'`,
  ],
];

describe.each(PATCHES)("%s", (patch) => {
  const hooked = (library: string, command: readonly string[], options: Options = {}) =>
    hookedBy(library, command, { patch, ...options });
  /** In a new image. */
  const inMemory = (command: readonly string[], more: NodeJS.ProcessEnv = {}): Outcome =>
    hooked(example("memfs"), command, { env: { MEMFS_IMAGE: join(shm, `image.${images++}`), ...more } });

  test("every call on files and directories gives what it gives natively", () => {
    const script = fileURLToPath(new URL("../fixtures/hooks/files.py", import.meta.url));
    rmSync(join(shm, "files"), { recursive: true, force: true });
    const native = run(["python3", script, join(shm, "files")]);
    const ours = inMemory(["python3", script, "/mem/files"]);
    expect(native.stdout.split("\n").length).toBeGreaterThan(180);
    expect(ours.stdout.replaceAll("/mem/files", "DIRECTORY")).toBe(
      native.stdout.replaceAll(join(shm, "files"), "DIRECTORY"),
    );
    expect(ours.stderr).toBe(native.stderr);
  });

  describe("programs find in it what they find elsewhere", () => {
    test.each(SCRIPTS)("%s", (name, script) => {
      const tmp = join(scratch, `${patch}-${name.replace(/\W/g, "-")}`);
      mkdirSync(tmp);
      const command = ["bash", "-c", `mkdir -p $D && cd $D && { ${script}\n}`];
      const native = run(command, { env: { ...process.env, LC_ALL: "C", D: join(shm, "d"), TMP: tmp } });
      rmSync(join(shm, "d"), { recursive: true });
      const ours = inMemory(command, { D: "/mem/d", TMP: tmp });
      expect(ours).toEqual(native);
    });
  });

  test("many threads and processes at once, interrupted by signals", () => {
    const { stdout, stderr, status } = inMemory([fixture("hooks/tree.c"), "/mem/tree"]);
    expect([stdout, stderr, status]).toEqual(["0 1440\n", "", 0]);
  });

  test("the memory of deleted files is used again, but not that of open ones", () => {
    const script = `exec 3<> /mem/open; echo kept >&3; rm /mem/open
    for i in $(seq 40); do head -c 4M /dev/zero > /mem/f; rm /mem/f; done
    stat -f -c '%b %f' /mem; cat /dev/fd/3`;
    const [blocks = "", text] = inMemory(["bash", "-c", script]).stdout.split("\n");
    const [all = 0, free = 0] = blocks.split(" ").map(Number);
    expect(all - free).toBeGreaterThan(0);
    expect((all - free) * 4096).toBeLessThan(100 << 20);
    expect(text).toBe("kept");
  });

  test("without MEMFS_IMAGE, a process and its forked children have it for themselves", () => {
    const script =
      "echo text > /mem/f; read x < /mem/f; echo $x; (echo more >> /mem/f); while read x; do echo $x; done < /mem/f; cat /mem/f";
    const { stdout, stderr } = hooked(example("memfs"), ["bash", "-c", script]);
    expect(stdout).toBe("text\ntext\nmore\n");
    expect(stderr).toBe("cat: /mem/f: No such file or directory\n");
  });

  test("it is found by relative paths from the directory above", () => {
    const program =
      "import os; d = os.open('/', os.O_PATH); print(os.listdir('mem'), os.stat('mem/d/e', dir_fd=d).st_size)";
    const { stdout, stderr } = inMemory([
      "bash",
      "-c",
      `mkdir /mem/d; echo text > /mem/d/e; cd /; ls mem/d; python3 -c "${program}"`,
    ]);
    expect([stdout, stderr]).toEqual(["e\n['d'] 5\n", ""]);
  });

  test("it can be mounted elsewhere; what is refused says so", () => {
    const { stdout, stderr, status } = inMemory(
      ["bash", "-c", "cp /bin/true /other/place/true; ls /other/place; /other/place/true; echo $?; ls /mem"],
      {
        MEMFS_MOUNT: "/other/place",
      },
    );
    expect(stdout).toBe("true\n126\n");
    expect(stderr).toMatch(/\/other\/place\/true: Permission denied\n.*\/mem': No such file or directory\n$/s);
    expect(status).toBe(2);
    expect(inMemory(["true"], { MEMFS_MOUNT: "relative" })).toMatchObject({ status: 125 });
    expect(inMemory(["true"], { MEMFS_IMAGE: "/none/image" }).stderr).toContain("memfs: the memory cannot be mapped");
  });
});
