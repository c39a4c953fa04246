import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import * as L from "../../src/image/layout.ts";
import { Clock } from "../../src/session/clock.ts";
import { describeGaps, GapList } from "../../src/session/gaps.ts";
import { Reader } from "../../src/session/reader.ts";
import { readPayloads, recordType, walkRecords } from "../../src/session/records.ts";
import { Ring } from "../../src/session/ring.ts";
import { BASE_TIME, cstring, FakeThread } from "../helpers/fake-guest.ts";
import { Lines } from "../helpers/lines.ts";

const me = process.pid;
const table = Buffer.alloc(L.RING_ROWS * L.RING_ROW_SIZE);

let parent: string;
beforeEach(() => {
  parent = fs.mkdtempSync(path.join(os.tmpdir(), "fuzz-test-"));
});
afterEach(() => fs.rmSync(parent, { recursive: true, force: true }));

function withReader(use: (reader: Reader, ring: Ring, sink: Lines, gaps: GapList) => void): void {
  const ring = Ring.create({ table, dataLimit: 32, parent, chunks: 4 });
  try {
    const [sink, gaps] = [new Lines(), new GapList()];
    use(new Reader({ ring, sink, gaps, clock: new Clock(BASE_TIME, 1), root: me, now: () => 0 }), ring, sink, gaps);
  } finally {
    ring.remove();
  }
}

/** A few valid records of one thread; returns the chunk's position. */
function writeSome(ring: Ring): { position: number; bytes: Buffer } {
  const thread = new FakeThread(ring.path, me);
  thread.start(1, "/bin/prog");
  for (let i = 0; i < 8; i++) {
    thread.enter(10 * i + 10, 2, [1, 2, 3], [cstring(0, "/etc/passwd".repeat(i))]);
    thread.exit(10 * i + 15, 2, 10 * i + 10, i);
  }
  thread.gap(200, 1, 0x1234, "libc.so.6");
  thread.child(210, 1);
  const bytes = Buffer.alloc(2048);
  ring.read(bytes, thread.chunkPosition, bytes.length);
  const position = thread.chunkPosition;
  thread.close();
  return { position, bytes };
}

test("scribbles anywhere in a chunk never throw, never hang and never lead a payload out of its memory", () => {
  const scribble = fc.record({
    at: fc.integer({ min: 0, max: 1900 }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    mode: fc.constantFrom("header", "anywhere"),
  });
  fc.assert(
    fc.property(fc.array(scribble, { minLength: 1, maxLength: 6 }), fc.boolean(), (scribbles, early) => {
      withReader((reader, ring, sink, gaps) => {
        const { position } = writeSome(ring);
        if (early) reader.pass();
        const fd = fs.openSync(ring.path, "r+");
        for (const { at, bytes, mode } of scribbles) {
          fs.writeSync(fd, bytes, 0, bytes.length, position + (mode === "header" ? at & ~7 : at));
        }
        fs.closeSync(fd);
        for (let i = 0; i < 3; i++) reader.pass();
        reader.rootEnded({ code: 0 });
        reader.finish();
        for (const call of sink.calls) {
          for (const payload of [...call.enter, ...call.exit]) {
            expect(payload.at + payload.size).toBeLessThanOrEqual(payload.memory.length);
          }
        }
        expect(describeGaps(gaps.list()).length).toBeLessThanOrEqual(10);
      });
    }),
    { numRuns: 150 },
  );
});

test("a table full of garbage never throws and never hangs", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 256, maxLength: 256 }), (bytes) => {
      withReader((reader, ring) => {
        const fd = fs.openSync(ring.path, "r+");
        fs.writeSync(fd, bytes, 0, bytes.length, L.RING_CHUNK_TABLE);
        fs.writeSync(fd, bytes, 0, bytes.length, L.RING_CHUNKS);
        fs.closeSync(fd);
        for (let i = 0; i < 3; i++) reader.pass();
        reader.finish();
      });
    }),
    { numRuns: 100 },
  );
});

test("a walk visits only whole records inside the bytes, each once, and ends", () => {
  const word = fc.oneof(
    fc.constantFrom(0, 8, 16, 24, 80, 40, L.RECORD_MAX, L.RECORD_MAX + 8),
    fc.constantFrom(1, 2, 3, 4, 5, 6).map((type) => type + L.RECORD_MAGIC * 0x10000),
    fc.nat(0xffffffff),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 300 }), fc.boolean(), (words, final) => {
      const bytes = Buffer.alloc(words.length * 4);
      words.forEach((value, i) => {
        bytes.writeUInt32LE(value, i * 4);
      });
      let last = -1;
      const walk = walkRecords(bytes, bytes.length, final, (at) => {
        expect(at).toBeGreaterThan(last);
        expect(at + bytes.readUInt32LE(at)).toBeLessThanOrEqual(bytes.length);
        last = at;
        if (recordType(bytes, at) === L.TYPE_ENTER) {
          for (const payload of readPayloads(bytes, at, L.ENTER_PAYLOADS)) {
            expect(payload.at + payload.size).toBeLessThanOrEqual(at + bytes.readUInt32LE(at));
          }
        }
      });
      expect(walk.end).toBeLessThanOrEqual(bytes.length);
    }),
    { numRuns: 1000 },
  );
});

test("however a thread's bytes arrive, every call is told once and in order", () => {
  const plan = fc.array(fc.record({ thread: fc.nat(3), calls: fc.integer({ min: 1, max: 40 }), passes: fc.nat(2) }), {
    minLength: 1,
    maxLength: 20,
  });
  fc.assert(
    fc.property(plan, (steps) => {
      withReader((reader, ring, sink, gaps) => {
        const threads = [0, 1, 2, 3].map((i) => new FakeThread(ring.path, me, me + i));
        threads[0]?.start(1, "/bin/prog");
        let time = 10;
        const expected: number[] = [];
        for (const { thread, calls, passes } of steps) {
          for (let i = 0; i < calls; i++) {
            threads[thread]?.call(time, 39, [], time);
            expected.push(time);
            time += 10;
          }
          for (let i = 0; i < passes; i++) reader.pass();
          if (ring.chunkCount < 64) ring.grow();
        }
        reader.rootEnded({ code: 0 });
        reader.finish();
        expect(sink.calls.map(({ result }) => result)).toEqual(expected);
        expect(gaps.list()).toEqual([]);
        for (const thread of threads) thread.close();
      });
    }),
    { numRuns: 40 },
  );
});
