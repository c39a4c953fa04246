/**
 * CPU time that redis-server takes for a request, over a UNIX socket, beside native. One client at a time: with more, the
 * time depends on how many requests happen to wait when the server looks.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Contender, compare, work } from "./compare.ts";

const ROUNDS = 11;
const REQUESTS = 3000;

interface Server {
  readonly name: string;
  readonly socket: string;
  readonly process: ChildProcess;
}

function start(name: string, env: NodeJS.ProcessEnv): Server {
  const socket = join(work, `${name.replaceAll(/\W/g, "-")}.sock`);
  const options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", work];
  const process_ = spawn("redis-server", options, { stdio: "ignore", env: { ...process.env, ...env } });
  return { name, socket, process: process_ };
}

/** Nanoseconds that the thread which serves has run. */
const cpuTime = (server: Server): number =>
  Number(readFileSync(`/proc/${server.process.pid}/schedstat`, "latin1").split(" ")[0]);

function perRequest(server: Server): number {
  const before = cpuTime(server);
  const options = ["-s", server.socket, "-n", String(REQUESTS), "-c", "1", "-t", "get", "-q"];
  execFileSync("redis-benchmark", options, { stdio: "ignore" });
  return (cpuTime(server) - before) / REQUESTS;
}

/** `environments`: name of each contender, with the environment of its server. */
export async function redis(environments: readonly (readonly [string, NodeJS.ProcessEnv])[]): Promise<void> {
  const servers = environments.map(([name, env]) => start(name, env));
  try {
    for (const server of servers) {
      while (!existsSync(server.socket)) {
        if (server.process.exitCode !== null) throw new Error(`redis-server (${server.name}) has ended`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      perRequest(server);
    }
    const contenders: Contender[] = servers.map((server) => ({ name: server.name, run: () => perRequest(server) }));
    compare("redis-server, GET, CPU time per request", "ns", ROUNDS, contenders);
  } finally {
    for (const server of servers) server.process.kill();
  }
}
