/** What debuggers are told about a guest program, from asc's tables: parameters, results, globals, and their types. */
import type { DebugType } from "./object.ts";

export interface DebugFunction {
  /** Parameters (`this` first) and locals, by their numbers before Binaryen optimises. */
  readonly variables: ReadonlyMap<
    number,
    { readonly kind: "parameter" | "local"; readonly name: string; readonly type: string }
  >;
  /** Type of the result, unless there is none. */
  readonly result?: string;
}

export interface DebugProgram {
  /** By asc's internal name: path, then name. */
  readonly functions: ReadonlyMap<string, DebugFunction>;
  readonly globals: ReadonlyMap<string, { readonly name: string; readonly type: string }>;
  readonly types: ReadonlyMap<string, DebugType>;
}

/** asc's tables, as far as they are needed (program.ts and types.ts of asc). */
interface AscType {
  /** TypeKind: 0 bool, 1…5 signed, 6…10 unsigned, then others. */
  readonly kind: number;
  readonly size: number;
  readonly classReference: AscClass | null;
  readonly isManaged: boolean;
  toString(): string;
}
interface AscElement {
  readonly name: string;
}
interface AscClass extends AscElement {
  readonly nextMemoryOffset: number;
  readonly members: ReadonlyMap<string, { readonly instance?: AscField | null }> | null;
}
interface AscField extends AscElement {
  /** -1 for what is no field. */
  readonly memoryOffset: number;
  readonly type: AscType;
}
interface AscFunction extends AscElement {
  readonly signature?: {
    readonly thisType: AscType | null;
    readonly parameterTypes: readonly AscType[];
    readonly returnType: AscType;
  };
  /** Parameters first; what asc itself needs besides has a name with a "~" or "|". */
  readonly localsByIndex?: readonly { readonly name: string; readonly type: AscType }[];
  readonly ref: number;
}
export interface CheckedProgram {
  readonly instancesByName: ReadonlyMap<string, AscFunction>;
  readonly elementsByName: ReadonlyMap<
    string,
    { readonly kind: number; readonly name: string; readonly type?: AscType }
  >;
}

/** ElementKind.Global in asc's program.ts. */
const ELEMENT_GLOBAL = 0;
const VOID = "void";

/** Collects the types that are used. */
class Types {
  readonly all = new Map<string, DebugType>();

  /** The name of `type`. */
  name(type: AscType): string {
    const { classReference, kind, size } = type;
    if (classReference !== null && !type.isManaged) return this.#class(classReference);
    const name = type.toString();
    const encoding = kind === 0 ? "boolean" : kind <= 5 ? "signed" : "unsigned";
    if (!this.all.has(name)) this.all.set(name, { kind: "number", size: Math.max(1, size >> 3), encoding });
    return name;
  }

  #class({ name, members, nextMemoryOffset }: AscClass): string {
    if (this.all.has(name)) return name;
    const fields: { name: string; type: string; offset: number }[] = [];
    // First, so that a class may refer to itself.
    this.all.set(name, { kind: "class", size: nextMemoryOffset, members: fields });
    for (const { instance } of members?.values() ?? [])
      if (instance && instance.memoryOffset >= 0 && instance.type !== undefined)
        fields.push({ name: instance.name, type: this.name(instance.type), offset: instance.memoryOffset });
    return name;
  }
}

/** Functions and globals of the user's files, not of asc's library. */
export function debugProgram(program: CheckedProgram): DebugProgram {
  const types = new Types();
  const functions = new Map<string, DebugFunction>();
  const globals = new Map<string, { name: string; type: string }>();
  for (const [name, element] of program.instancesByName) {
    const { signature } = element;
    if (signature === undefined || name.startsWith("~lib/")) continue;
    const count = signature.parameterTypes.length + (signature.thisType === null ? 0 : 1);
    const variables = new Map<number, { kind: "parameter" | "local"; name: string; type: string }>();
    element.localsByIndex!.forEach(({ name: own, type }, i) => {
      if (/^[\w$]+$/.test(own))
        variables.set(i, { kind: i < count ? "parameter" : "local", name: own, type: types.name(type) });
    });
    const isVoid = signature.returnType.toString() === VOID;
    functions.set(name, { variables, ...(isVoid ? {} : { result: types.name(signature.returnType) }) });
  }
  for (const [name, { kind, name: own, type }] of program.elementsByName)
    if (kind === ELEMENT_GLOBAL && type !== undefined && !name.startsWith("~lib/"))
      globals.set(name, { name: own, type: types.name(type) });
  return { functions, globals, types: types.all };
}
