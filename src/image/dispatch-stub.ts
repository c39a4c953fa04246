/**
 * The end of a call that the program's own Syscall User Dispatch turns into a signal: all registers as at the call site, as a
 * landing (LANDING_* in layout.ts) for on_dispatch (guest/trap/user-dispatch.ts), which does not return.
 *
 * Who runs this: any thread, with the frame of a call that was not made.
 */
import type { ObjectFile } from "../compiler/object.ts";
import { mem, r11, rax, rcx, rdi, rsp } from "../compiler/x64.ts";
import { RARE_FLAGS } from "./flags.ts";
import { ARGUMENTS, asTheProgram, insideFrame, outsideFrame, SAVED, StubAssembler, toProgramStack } from "./frame.ts";
import { LANDING_FLAGS, LANDING_RSP, LANDING_TO_SP } from "./layout.ts";

export function dispatchStub(): ObjectFile {
  const a = new StubAssembler();
  a.mark("zp_dispatch");
  insideFrame(a);
  asTheProgram(a);
  toProgramStack(a);
  a.lea(64, rsp, mem(rsp, -LANDING_TO_SP));
  outsideFrame(a, LANDING_TO_SP);
  for (const register of [rax, rcx, r11, ...ARGUMENTS, ...SAVED]) a.mov(64, mem(rsp, 8 * register.code), register);
  a.op("pushfq");
  outsideFrame(a, LANDING_TO_SP + 8);
  a.pop(mem(rsp, LANDING_FLAGS)); // the address is that of rsp after the pop
  outsideFrame(a, LANDING_TO_SP);
  a.push(mem(rsp, LANDING_FLAGS));
  outsideFrame(a, LANDING_TO_SP + 8);
  a.and(32, mem(rsp), ~RARE_FLAGS);
  a.op("popfq");
  outsideFrame(a, LANDING_TO_SP);
  a.lea(64, rdi, mem(rsp, LANDING_TO_SP));
  a.mov(64, mem(rsp, LANDING_RSP), rdi);
  a.mov(64, rdi, rsp);
  a.call("on_dispatch");
  a.op("ud2");
  a.placeRare();
  return { code: [a.finish("zp_dispatch_stub", { align: 16 })], data: [] };
}
