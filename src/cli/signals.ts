import * as fs from "node:fs";
import type { Session } from "../session/session.ts";

const PASSED_ON: readonly NodeJS.Signals[] = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"];
/** A terminal sends these to its whole foreground process group: the program has got them already. */
const FROM_TERMINAL: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

/** As long as the session lasts, signals to this process go to the program instead. Returns how to end that. */
export function passSignalsTo(session: Session): () => void {
  const isRunning = (): boolean => session.child.exitCode === null && session.child.signalCode === null;
  const handlers = PASSED_ON.map((signal) => {
    const handler = (): void => {
      if (!(isRunning() && FROM_TERMINAL.includes(signal) && isForeground())) session.signal(signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return () => {
    for (const { signal, handler } of handlers) process.off(signal, handler);
  };
}

/** Whether this process belongs to the foreground process group of its terminal (proc_pid_stat(5): pgrp, tpgid). */
function isForeground(): boolean {
  const stat = fs.readFileSync("/proc/self/stat", "latin1");
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group === foreground;
}
