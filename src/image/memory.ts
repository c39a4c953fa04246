/** Zeroed memory of the image: guest code reaches it by symbol (the static data of guest code is part of the file). */
import type { DataUnit, ObjectFile } from "../compiler/object.ts";
import { OWN_RANGES, STUB_AREA_SIZE, STUB_AREAS, STUB_POOL_SIZE, STUB_POOLS, VARIABLES_SIZE } from "./layout.ts";

const zeroed = (name: string, size: number): DataUnit => ({
  name,
  bytes: new Uint8Array(0),
  size,
  align: 64,
  writable: true,
  relocs: [],
});

export function imageMemory(): ObjectFile {
  return {
    code: [],
    data: [
      zeroed("zp_variables", VARIABLES_SIZE),
      zeroed("zp_own", OWN_RANGES * 16),
      zeroed("zp_stub_areas", STUB_AREAS * STUB_AREA_SIZE),
      zeroed("zp_stub_pools", (STUB_POOLS + 1) * STUB_POOL_SIZE),
    ],
  };
}
