import { describe, expect, it } from "vitest";
import { callLine } from "../../src/present/strace.ts";
import { ERRORS } from "../../src/syscalls/errno.ts";
import { credsCases } from "./cases/creds.ts";
import { fileCases } from "./cases/file.ts";
import { ioCases } from "./cases/io.ts";
import { ipcCases } from "./cases/ipc.ts";
import { memoryCases } from "./cases/memory.ts";
import { networkCases } from "./cases/network.ts";
import { processCases } from "./cases/process.ts";
import { signalCases } from "./cases/signal.ts";
import { systemCases } from "./cases/system.ts";
import { timeCases } from "./cases/time.ts";
import type { CaseList } from "./cases.ts";
import { DATA_LIMIT, makeEvent } from "./guest.ts";
import { askStrace, haveStrace } from "./oracle.ts";

const NUMBER_OF = new Map(ERRORS.map(([number, name]) => [name, number]));
const LIMITS = { string: 32, data: DATA_LIMIT };

function ourLines({ cases, memory }: CaseList): string[] {
  return cases.map(({ nr, args, result }) => {
    const value = typeof result === "number" ? result : -NUMBER_OF.get(result)!;
    return callLine(makeEvent(nr, args, value, memory), LIMITS);
  });
}

describe.skipIf(!haveStrace())("lines are those of the strace on this machine", () => {
  it.each([
    fileCases,
    ioCases,
    processCases,
    memoryCases,
    networkCases,
    signalCases,
    timeCases,
    credsCases,
    ipcCases,
    systemCases,
  ])("%o", (makeCases) => {
    const list = makeCases();
    expect(ourLines(list)).toEqual(askStrace(list.cases, list.memory));
  });
});
