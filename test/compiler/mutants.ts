/** Builds changed copies of the compiler. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { compileModule } from "../../src/compiler/module.ts";
import type { FlatCompiler } from "./fuzz.ts";
import type { Mutation } from "./mutations.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** What a copy holds: the compiler and what it imports. */
const SOURCES = ["compiler", "elf", "errors.ts"];

export interface Mutants {
  /** To be removed when they have served. */
  readonly directory: string;
  readonly load: (mutation: Mutation) => Promise<FlatCompiler>;
}

/** Copies, changes and translates the compiler, once for each mutation. Throws where a change does not fit. */
export function buildMutants(mutations: readonly Mutation[]): Mutants {
  mkdirSync(join(root, "build"), { recursive: true });
  const directory = mkdtempSync(join(root, "build", "mutants-"));
  mutations.forEach((mutation, number) => {
    for (const source of SOURCES)
      cpSync(join(root, "src", source), join(directory, `${number}`, source), { recursive: true });
    const path = join(directory, `${number}`, "compiler", mutation.file);
    const parts = readFileSync(path, "utf8").split(mutation.from);
    if (parts.length !== 2)
      throw new Error(`"${mutation.name}" fits ${parts.length - 1} places of ${mutation.file}, not one`);
    writeFileSync(path, parts.join(mutation.to));
  });
  const project = {
    extends: "../../tsconfig.json",
    compilerOptions: { rootDir: ".", outDir: "out", noCheck: true, declaration: false, sourceMap: false },
    include: ["."],
  };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(project));
  execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", directory], { stdio: "pipe" });
  return { directory, load: (mutation) => load(directory, mutations.indexOf(mutation)) };
}

async function load(directory: string, number: number): Promise<FlatCompiler> {
  const url = pathToFileURL(join(directory, "out", `${number}`, "compiler", "module.js")).href;
  const module = (await import(/* @vite-ignore */ url)) as { readonly compileModule: typeof compileModule };
  return ({ binary, twin, memory }) =>
    module.compileModule(binary, twin === undefined ? {} : { twin, data: memory }).object;
}
