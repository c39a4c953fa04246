/**
 * The initial stack of the program. The kernel has made it for zpoline-exec: arguments, environment and auxiliary vector,
 * below their strings. The vectors move up over the arguments that were ours, and the entries of the auxiliary vector that
 * tell of the program are made to; all strings stay where they are.
 *
 * Runs once, in the loader door, which does not stand on this stack.
 */
import { stringLength } from "../std/bytes";
import { Loaded } from "./load";

// getauxval(3)
const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;
const AT_EXECFN: u64 = 31;

/** The vectors, and the strings of the program; addresses. */
// @ts-ignore: decorator
@unmanaged
export class InitialStack {
  /** Where the program's argc is: its stack pointer at entry. */
  top: usize;
  argc: usize;
  argv: usize;
  variables: usize;
  auxiliary: usize;
  /** Bytes of the auxiliary vector, its AT_NULL included. */
  auxiliarySize: usize;
  argStart: usize;
  argEnd: usize;
  envStart: usize;
  envEnd: usize;
}

/** Takes the stack as it is at `top`. */
export function readStack(stack: InitialStack, top: usize): void {
  stack.top = top;
  stack.argc = load<usize>(top);
  stack.argv = top + 8;
  stack.variables = stack.argv + (stack.argc + 1) * 8;
  let p = stack.variables;
  while (load<usize>(p)) p += 8;
  stack.auxiliary = p + 8;
  p = stack.auxiliary;
  while (load<u64>(p) != AT_NULL) p += 16;
  stack.auxiliarySize = p + 16 - stack.auxiliary;
}

/** Takes away the first `hidden` arguments. The stack pointer stays aligned to 16 bytes, as the kernel leaves it. */
export function hideArguments(stack: InitialStack, hidden: usize): void {
  const end = stack.auxiliary + stack.auxiliarySize;
  const argc = stack.argc - hidden;
  const size = end - (stack.argv + hidden * 8) + 8;
  const top = (end - size) & ~15;
  memory.copy(top + 8, stack.argv + hidden * 8, size - 8);
  store<usize>(top, argc);
  readStack(stack, top);
  findStrings(stack);
}

/** The kernel puts the strings one behind the other. */
function findStrings(stack: InitialStack): void {
  const last = load<usize>(stack.argv + (stack.argc - 1) * 8);
  stack.argStart = load<usize>(stack.argv);
  stack.argEnd = last + stringLength(last) + 1;
  stack.envStart = stack.argEnd;
  stack.envEnd = stack.argEnd;
  const count = (stack.auxiliary - stack.variables) / 8 - 1;
  if (!count) return;
  const variable = load<usize>(stack.variables + (count - 1) * 8);
  stack.envEnd = variable + stringLength(variable) + 1;
}

/** `base`: the bias of the interpreter, 0 when there is none. `name`: what the kernel calls the program. */
export function describeProgram(stack: InitialStack, program: Loaded, count: usize, base: usize, name: usize): void {
  for (let p = stack.auxiliary; load<u64>(p) != AT_NULL; p += 16) {
    const type = load<u64>(p);
    if (type == AT_PHDR) store<u64>(p, program.headers, 8);
    else if (type == AT_PHNUM) store<u64>(p, count, 8);
    else if (type == AT_BASE) store<u64>(p, base, 8);
    else if (type == AT_ENTRY) store<u64>(p, program.entry, 8);
    else if (type == AT_EXECFN) store<u64>(p, name, 8);
  }
}
