/** Places of parameters in the code of a function, noted while it is emitted. */
import { type Holder, Holders } from "./holders.ts";
import type { MachineBlock, MachineFunc } from "./machine.ts";
import type { Variable, VariablePlace } from "./object.ts";
import { type Assembler, type Label, REGISTERS } from "./x64.ts";

export interface Parameter {
  readonly name: string;
  /** Name of its type. */
  readonly type: string;
  /** In bits. */
  readonly width: number;
}

const differ = (a: Holder | undefined, b: Holder | undefined): boolean =>
  a?.kind !== b?.kind || a?.number !== b?.number;

export class Variables {
  readonly #a: Assembler;
  readonly #func: MachineFunc;
  readonly #parameters: readonly Parameter[];
  readonly #holders: Holders;
  /** Where each parameter lies from a label on. */
  readonly #moves: { readonly label: Label; readonly parameter: number; readonly holder: Holder | undefined }[] = [];
  readonly #now: (Holder | undefined)[];

  /** `func` is final: its registers are allocated, and its blocks will not change. */
  constructor(assembler: Assembler, func: MachineFunc, parameters: readonly Parameter[]) {
    this.#a = assembler;
    this.#func = func;
    this.#parameters = parameters;
    this.#holders = new Holders(
      func,
      parameters.map(({ width }) => width),
    );
    this.#now = parameters.map(() => undefined);
  }

  /** For `block`: a function to be called before the instruction of that number is emitted. */
  enter(block: MachineBlock): (index: number) => void {
    const states = this.#holders.in(block);
    return (index) => {
      // The frame is taken down inside the return.
      if (block.insts[index]?.op === "ret") this.lose();
      else this.#set((parameter) => states[index]![parameter]);
    };
  }

  /** From here on nothing is known. */
  lose(): void {
    this.#set(() => undefined);
  }

  #set(holderOf: (parameter: number) => Holder | undefined): void {
    this.#parameters.forEach((_, parameter) => {
      const holder = holderOf(parameter);
      if (!differ(this.#now[parameter], holder)) return;
      this.#now[parameter] = holder;
      this.#moves.push({ label: this.#a.bind(), parameter, holder });
    });
  }

  /** After the assembler has finished. `toFrame`: bytes from rsp to the CFA in the body; of no meaning if `aligned`. */
  finish(toFrame: number): Variable[] {
    return this.#parameters.map(({ name, type }, parameter) => {
      const moves = this.#moves.filter((move) => move.parameter === parameter);
      const places = moves.flatMap(({ label, holder }, i) => {
        const [from, to] = [this.#a.offsetOf(label), this.#a.offsetOf(moves[i + 1]?.label ?? label)];
        return holder === undefined || from === to ? [] : [{ from, to, ...this.#baseOf(holder, toFrame) }];
      });
      return { name, type, places };
    });
  }

  #baseOf({ kind, number }: Holder, toFrame: number): Pick<VariablePlace, "base" | "value"> {
    if (kind === "register") return { base: "register", value: REGISTERS[number]!.dwarf };
    if (kind === "incoming") return { base: "cfa", value: 8 * number };
    const fromRsp = 8 * (this.#func.outgoing + number);
    // Where the stack is aligned the distance between rsp and the CFA is not known.
    return this.#func.aligned ? { base: "rsp", value: fromRsp } : { base: "cfa", value: fromRsp - toFrame };
  }
}
