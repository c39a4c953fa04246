import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { CLASS_LIST, classCalls } from "../../src/syscalls/classes.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { selectCalls } from "../../src/syscalls/select.ts";
import { CALL_NAMES, type CallName } from "../../src/syscalls/table.ts";
import { askWhich, type Case, haveStrace } from "../present/oracle.ts";

const numbers = (...names: CallName[]) => new Set(names.map((name) => NUMBERS[name]));

describe("a selection", () => {
  it("takes names, numbers and classes", () => {
    expect(selectCalls("open,close")).toEqual(numbers("open", "close"));
    expect(selectCalls("open, 3")).toEqual(numbers("open", "close"));
    expect(selectCalls("%clock,open")).toEqual(new Set([...selectCalls("%clock"), NUMBERS.open]));
    expect(selectCalls("%stat")).toEqual(numbers("stat"));
    expect(selectCalls("%%stat")).toEqual(numbers("stat", "fstat", "lstat", "newfstatat", "statx"));
    expect(selectCalls("%net")).toEqual(selectCalls("network"));
  });

  it("takes all and none", () => {
    expect(selectCalls("all").size).toBe(512);
    expect(selectCalls("none").size).toBe(0);
  });

  it("takes regular expressions", () => {
    expect(selectCalls("/^epoll_ctl")).toEqual(numbers("epoll_ctl", "epoll_ctl_old"));
    expect(() => selectCalls("/(")).toThrow(expect.objectContaining({ code: "SELECT_REGEX" }));
    expect(() => selectCalls("/^nothing$")).toThrow(expect.objectContaining({ code: "SELECT_UNKNOWN" }));
  });

  it("means all others after !", () => {
    const others = selectCalls("!read,write");
    expect(others.size).toBe(510);
    expect(others.has(NUMBERS.read)).toBe(false);
    expect(others.has(NUMBERS.open)).toBe(true);
  });

  it("forgives an unknown name after ?", () => {
    expect(selectCalls("?nosuch,open")).toEqual(numbers("open"));
    expect(selectCalls("?open")).toEqual(numbers("open"));
  });

  it("refuses what it does not know, and says what may be meant", () => {
    const error = (list: string) => {
      try {
        selectCalls(list);
      } catch (thrown) {
        return thrown as { code: string; message: string; fix: string };
      }
      throw new Error("not refused");
    };
    expect(error("opne").fix).toContain("did you mean open?");
    expect(error("opne").code).toBe("SELECT_UNKNOWN");
    expect(error("nothing_like_it").fix).not.toContain("did you mean");
    expect(error("%nosuch").fix).toContain("%file");
    expect(error("512").code).toBe("SELECT_UNKNOWN");
    expect(error("open,,close").code).toBe("SELECT_EMPTY");
    expect(error("constructor").code).toBe("SELECT_UNKNOWN");
  });

  it("has only calls that exist in its classes, each once", () => {
    for (const name of CLASS_LIST) {
      const calls = classCalls(name)!;
      for (const call of calls) expect(NUMBERS, name).toHaveProperty(call);
      expect(new Set(calls).size, name).toBe(calls.length);
    }
  });
});

describe.skipIf(!haveStrace())("the classes of strace on this machine", () => {
  const known = CALL_NAMES.filter((name) => !UNASKED.has(name) && NUMBERS[name] <= lastKnown());
  const cases: Case[] = known.map((name) => ({ name, nr: NUMBERS[name], args: [], result: "ENOSYS" }));

  it.each(CLASS_LIST)("%s", (name) => {
    const selected = selectCalls(`%${name}`);
    expect(askWhich(cases, ["-e", `trace=%${name}`])).toEqual(known.filter((call) => selected.has(NUMBERS[call])));
  });
});

/** Ends the program; and calls that a strace of some years does not know. */
const UNASKED = new Set<string>(["exit_group", "uretprobe", "uprobe"]);

/** The last call that this strace knows by name. */
function lastKnown(): number {
  const knows = (name: string) => spawnSync("strace", ["-o", "/dev/null", "-e", `trace=${name}`, "true"]).status === 0;
  return knows("fchmodat2") ? NUMBERS.fchmodat2 : NUMBERS.set_mempolicy_home_node;
}
