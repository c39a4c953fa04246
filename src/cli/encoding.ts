import { isUtf8 } from "node:buffer";
import * as fs from "node:fs";
import { ZpolineError } from "../errors.ts";

/**
 * Node decodes arguments and environment as UTF-8 and replaces what is not. Throws ZpolineError NOT_UTF8 when that
 * happened to an argument; returns the names of the variables that it happened to.
 */
export function checkEncoding(
  commandLine: Buffer = fs.readFileSync("/proc/self/cmdline"),
  environment: Buffer = fs.readFileSync("/proc/self/environ"),
): string[] {
  if (!isUtf8(commandLine)) {
    throw new ZpolineError("NOT_UTF8", "an argument is not UTF-8 and would reach the program changed", {
      cause: "Node decodes arguments as UTF-8",
      fix: "put the command into a shell script and trace that",
    });
  }
  if (isUtf8(environment)) return [];
  return split(environment)
    .filter((variable) => !isUtf8(variable))
    .map((variable) => variable.toString().split("=")[0] ?? "");
}

function split(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let to = bytes.indexOf(0); to >= 0; to = bytes.indexOf(0, from)) {
    parts.push(bytes.subarray(from, to));
    from = to + 1;
  }
  return parts;
}
