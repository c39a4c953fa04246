import { describe, expect, it } from "vitest";
import * as L from "../../src/image/layout.ts";
import { captureRows } from "../../src/syscalls/capture.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { CALLS, type CallName } from "../../src/syscalls/table.ts";

const rows = captureRows();
const view = new DataView(rows.buffer);

function row(name: CallName) {
  const at = NUMBERS[name] * L.RING_ROW_SIZE;
  const captures = (from: number) => Array.from({ length: 6 }, (_, i) => view.getUint16(at + from + 2 * i, true));
  return {
    flags: view.getUint16(at, true),
    count: view.getUint16(at + 2, true),
    enter: captures(L.ROW_ENTER),
    exit: captures(L.ROW_EXIT),
  };
}

const capture = (kind: number, parameter = 0) => kind | (parameter << 4);

describe("the recording table", () => {
  it("has 512 rows of 32 bytes", () => {
    expect(rows.length).toBe(512 * 32);
  });

  it("copies a path and a buffer to write at enter, a buffer read at exit", () => {
    expect(row("openat")).toEqual({
      flags: 1,
      count: 4,
      enter: [0, L.CAPTURE_CSTRING, 0, 0, 0, 0],
      exit: [0, 0, 0, 0, 0, 0],
    });
    expect(row("write").enter[1]).toBe(capture(L.CAPTURE_BUFFER, 2));
    expect(row("write").exit[1]).toBe(0);
    expect(row("read").enter[1]).toBe(0);
    expect(row("read").exit[1]).toBe(capture(L.CAPTURE_RESULT));
  });

  it("copies structures, arrays and sets", () => {
    expect(row("newfstatat").exit[2]).toBe(capture(L.CAPTURE_STRUCT, 144));
    expect(row("pipe2").exit[0]).toBe(capture(L.CAPTURE_STRUCT, 8));
    expect(row("poll").enter[0]).toBe(capture(L.CAPTURE_ARRAY, (8 << 3) | 1));
    expect(row("poll").exit[0]).toBe(capture(L.CAPTURE_ARRAY, (8 << 3) | 1));
    expect(row("epoll_wait").exit[1]).toBe(capture(L.CAPTURE_RESULT_ARRAY, 12));
    expect(row("select").enter[2]).toBe(capture(L.CAPTURE_BITS, 0));
    expect(row("writev").enter[1]).toBe(capture(L.CAPTURE_IOVEC, 2));
    expect(row("recvmsg").enter[1]).toBe(capture(L.CAPTURE_STRUCT, 56));
    expect(row("recvmsg").exit[1]).toBe(capture(L.CAPTURE_MSGHDR));
    expect(row("accept").exit[1]).toBe(capture(L.CAPTURE_LENGTH_AT, 2));
    expect(row("execve").enter).toEqual([L.CAPTURE_CSTRING, L.CAPTURE_STRINGS, L.CAPTURE_COUNT, 0, 0, 0]);
    expect(row("getcwd").exit[0]).toBe(L.CAPTURE_CSTRING);
  });

  it("uses only known kinds, parameters in range, and results only at exit", () => {
    for (const call of CALLS) {
      if (call === undefined) continue;
      const { enter, exit, count } = row(call.name as CallName);
      expect(count).toBe(call.arguments.length);
      for (const value of [...enter, ...exit]) expect(value & 15, call.name).toBeLessThanOrEqual(L.CAPTURE_ENTRIES);
      for (const value of enter) {
        expect([L.CAPTURE_RESULT, L.CAPTURE_RESULT_ARRAY, L.CAPTURE_ENTRIES], call.name).not.toContain(value & 15);
      }
    }
  });

  it("records numbers without a call raw", () => {
    const at = 400 * L.RING_ROW_SIZE;
    expect([...rows.subarray(at, at + L.RING_ROW_SIZE)]).toEqual([1, 0, 6, ...new Array(29).fill(0)]);
  });

  it("records only the selected calls", () => {
    const some = captureRows(new Set([NUMBERS.read, 400]));
    const recorded = Array.from({ length: 512 }, (_, nr) => nr).filter((nr) => some[nr * 32] === L.ROW_RECORD);
    expect(recorded).toEqual([NUMBERS.read, 400]);
  });
});
