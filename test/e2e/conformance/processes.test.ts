/** Processes: fork and its kin, exec, what a process may be left without. */
import { fixture } from "../run.ts";
import { sameAsNatively } from "./modes.ts";

const python = `
import subprocess, os
print(subprocess.check_output(["echo", "x"]), subprocess.call("exit 3", shell=True), os.system("exit 4") >> 8)
print(subprocess.run(["cat"], input=b"through a pipe", stdout=subprocess.PIPE).stdout)`;
const gcc = `d=$(mktemp -d); printf '#include <stdio.h>\\nint main(){puts("hello");return 5;}' > $d/hello.c
gcc -o $d/a.out $d/hello.c && $d/a.out; echo $?; rm -r $d`;

sameAsNatively([
  { name: "fork, vfork and exec, posix_spawn, clone, clone3", source: "processes.c" },
  {
    name: "processes that share memory and run beside their parent",
    source: "shared-memory.c",
    except: [{ patch: "jump", because: "libc's _exit has no room for a jump, and what such a child had is not freed" }],
  },
  { name: "python subprocess", command: ["python3", "-c", python] },
  { name: "gcc", command: ["sh", "-c", gcc] },
  { name: "exec with an empty environment, and with none", source: "empty-environment.c" },
  { name: "descriptors all closed, or all taken", source: "descriptors.c" },
  { name: "no address space left", source: "space.c" },
  { name: "brk and mremap", source: "memory.c" },
  {
    name: "libraries loaded by a thread, unloaded and loaded again",
    source: "plugins.c",
    args: () => [fixture("plugin.c", "-shared", "-fPIC")],
  },
]);
