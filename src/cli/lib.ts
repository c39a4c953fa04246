import { Command } from "commander";
import { libraryPath } from "../session/library.ts";
import { Output } from "./output.ts";

const STDOUT = 1;

export function libCommand(): Command {
  return new Command("lib")
    .description("Print the path of libzpoline.so: LD_PRELOAD=$(zpoline lib) COMMAND")
    .action(async () => {
      const output = new Output(STDOUT, "standard output", "the path");
      output.write(`${libraryPath()}\n`);
      await output.end();
    });
}
