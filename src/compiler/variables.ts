/** Places of parameters and local variables in the code of a function, noted while it is emitted. */
import { type Holder, Holders } from "./holders.ts";
import { CALL_CLOBBERED, type Inst, type MachineBlock, type MachineFunc, type VariableAt } from "./machine.ts";
import type { Variable } from "./object.ts";
import { type Assembler, type Label, REGISTERS } from "./x64.ts";

export interface Declared {
  readonly kind: "parameter" | "local";
  readonly name: string;
  /** Name of its type. */
  readonly type: string;
  /** Number of the parameter that it is from the first instruction to the last. */
  readonly fixed?: number;
}

export interface DeclaredVariables {
  /** In the order of the environments. */
  readonly declared: readonly Declared[];
  /** Of the parameters of the code, in bits. */
  readonly widths: readonly number[];
}

type Place = Holder | { readonly kind: "constant"; readonly number: bigint };

const differ = (a: Place | undefined, b: Place | undefined): boolean => a?.kind !== b?.kind || a?.number !== b?.number;

/** A callee may write there; debuggers look for the caller's variables at the call. */
const isGone = (place: Place | undefined, inst: Inst | undefined): boolean =>
  inst?.op === "call" && place?.kind === "register" && CALL_CLOBBERED.includes(place.number);

export class Variables {
  readonly #a: Assembler;
  readonly #func: MachineFunc;
  readonly #declared: readonly Declared[];
  readonly #holders: Holders;
  /** Where each variable lies from a label on. */
  readonly #moves: { readonly label: Label; readonly variable: number; readonly place: Place | undefined }[] = [];
  readonly #now: (Place | undefined)[];

  /** `func` is final: its registers are allocated, and its blocks will not change. */
  constructor(assembler: Assembler, func: MachineFunc, { declared, widths }: DeclaredVariables) {
    this.#a = assembler;
    this.#func = func;
    this.#declared = declared;
    this.#holders = new Holders(func, widths);
    this.#now = declared.map(() => undefined);
  }

  /** For `block`: a function to be called before the instruction of that number is emitted. */
  enter(block: MachineBlock): (index: number) => void {
    const states = this.#holders.in(block);
    return (index) => {
      const inst = block.insts[index];
      const parameters = states[index]!;
      const placeOf = (at: VariableAt): Place | undefined => {
        if (at === undefined) return undefined;
        if (typeof at === "number") return { kind: "register", number: at };
        if ("slot" in at) return at.slot < 0 ? undefined : { kind: "slot", number: at.slot };
        return "parameter" in at ? parameters[at.parameter] : { kind: "constant", number: at.constant };
      };
      // The frame is taken down inside the return.
      if (inst?.op === "ret") this.lose();
      else
        this.#set(({ fixed }, variable) => {
          const place = placeOf(fixed === undefined ? inst?.variables?.[variable] : { parameter: fixed });
          return isGone(place, inst) ? undefined : place;
        });
    };
  }

  /** From here on nothing is known. */
  lose(): void {
    this.#set(() => undefined);
  }

  #set(placeOf: (declared: Declared, variable: number) => Place | undefined): void {
    this.#declared.forEach((declared, variable) => {
      const place = placeOf(declared, variable);
      if (!differ(this.#now[variable], place)) return;
      this.#now[variable] = place;
      this.#moves.push({ label: this.#a.bind(), variable, place });
    });
  }

  /** After the assembler has finished. `toFrame`: bytes from rsp to the CFA in the body; of no meaning if `aligned`. */
  finish(toFrame: number): { parameters: Variable[]; locals: Variable[] } {
    const all = this.#declared.map(({ kind, name, type }, variable) => {
      const moves = this.#moves.filter((move) => move.variable === variable);
      const places = moves.flatMap(({ label, place }, i): Variable["places"] => {
        const [from, to] = [this.#a.offsetOf(label), this.#a.offsetOf(moves[i + 1]?.label ?? label)];
        return place === undefined || from === to ? [] : [{ from, to, ...this.#baseOf(place, toFrame) }];
      });
      return { kind, variable: { name, type, places } };
    });
    const of = (wanted: Declared["kind"]): Variable[] =>
      all.filter(({ kind }) => kind === wanted).map(({ variable }) => variable);
    return { parameters: of("parameter"), locals: of("local") };
  }

  #baseOf(
    { kind, number }: Place,
    toFrame: number,
  ):
    | { readonly base: "register" | "cfa" | "rsp"; readonly value: number }
    | { readonly base: "constant"; readonly value: bigint } {
    if (kind === "constant") return { base: "constant", value: number };
    if (kind === "register") return { base: "register", value: REGISTERS[number]!.dwarf };
    if (kind === "incoming") return { base: "cfa", value: 8 * number };
    const fromRsp = 8 * (this.#func.outgoing + number);
    // Where the stack is aligned the distance between rsp and the CFA is not known.
    return this.#func.aligned ? { base: "rsp", value: fromRsp } : { base: "cfa", value: fromRsp - toFrame };
  }
}
