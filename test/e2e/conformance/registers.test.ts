/** What a system call leaves alone: registers, flags, vector state, the red zone. */
import { sameAsNatively } from "./modes.ts";

sameAsNatively([
  { name: "general registers, rcx, r11, arithmetic flags", source: "registers.c" },
  { name: "xmm, ymm, zmm, mask and x87 registers, MXCSR", source: "vectors.c" },
  { name: "DF, AC and ID, with arguments at odd addresses", source: "flags.c" },
  { name: "a program that single-steps itself (TF)", source: "singlestep.c" },
  { name: "all 16 words of the red zone", source: "redzone.c" },
]);
