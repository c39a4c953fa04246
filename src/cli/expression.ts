import { ZpolineError } from "../errors.ts";
import { selectCalls } from "../syscalls/select.ts";

/**
 * Numbers of the calls that a strace(1) expression `[trace=]LIST` selects; undefined for all. Throws ZpolineError
 * BAD_EXPRESSION for another qualifier, or what selectCalls throws.
 */
export function parseExpression(expression: string): ReadonlySet<number> | undefined {
  const [, qualifier = "trace", list = ""] = /^(?:([a-z]+)=)?(.*)$/s.exec(expression) ?? [];
  if (qualifier !== "trace" && qualifier !== "t") {
    throw new ZpolineError("BAD_EXPRESSION", `cannot make sense of -e ${expression}`, {
      cause: `"${qualifier}" is not a qualifier that zpoline knows`,
      fix: "-e trace=LIST",
    });
  }
  return list === "all" ? undefined : selectCalls(list);
}
