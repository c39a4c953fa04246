/**
 * What guest code is made of: operations that the guest compiler lowers inline. In guest code linear memory *is* the
 * address space of the process: `load<T>(address)` and `@unmanaged` classes read it directly.
 */

/** The `syscall` instruction itself, in our own text, never hooked. Returns rax: a result, or -errno (-4095…-1). */
// @ts-ignore: decorator
@external("zpoline", "syscall6")
export declare function syscall6(nr: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64): i64;

/** Time stamp counter (not serialised). */
// @ts-ignore: decorator
@external("zpoline", "rdtsc")
export declare function rdtsc(): u64;

/** Spin-wait hint. */
// @ts-ignore: decorator
@external("zpoline", "pause")
export declare function pause(): void;

/** Loads 8 bytes at gs:offset. `offset` must be a compile-time constant. */
// @ts-ignore: decorator
@external("zpoline", "gs_load64")
export declare function gsLoad64(offset: u32): u64;

/** Stores 8 bytes at gs:offset. `offset` must be a compile-time constant. */
// @ts-ignore: decorator
@external("zpoline", "gs_store64")
export declare function gsStore64(offset: u32, value: u64): void;

/**
 * Adds to 8 bytes at gs:offset and returns the value before: one instruction (`xadd` without lock), so a signal handler
 * on this thread sees it done or not done. Not atomic against other threads.
 */
// @ts-ignore: decorator
@external("zpoline", "gs_xadd64")
export declare function gsXadd64(offset: u32, value: u64): u64;

/** Exchanges 8 bytes at gs:offset for `value` and returns what was there (one instruction). */
// @ts-ignore: decorator
@external("zpoline", "gs_xchg64")
export declare function gsXchg64(offset: u32, value: u64): u64;

/** Sets the gs base (`wrgsbase`); needs AT_HWCAP2 bit 1. */
// @ts-ignore: decorator
@external("zpoline", "wrgsbase")
export declare function wrgsbase(base: u64): void;

/** The fs base (`rdfsbase`); needs AT_HWCAP2 bit 1. */
// @ts-ignore: decorator
@external("zpoline", "rdfsbase")
export declare function rdfsbase(): u64;

/** Full memory barrier (`mfence`): what was written before is seen by all processors before anything after it is done. */
// @ts-ignore: decorator
@external("zpoline", "fence")
export declare function fence(): void;

/**
 * Calls a function by its address and the System V ABI, with as many 64-bit arguments as the name says; returns rax.
 * The stack is aligned for it. What it needs of the stack is not part of the bound that the compiler computes.
 */
// @ts-ignore: decorator
@external("zpoline", "call0")
export declare function call0(fn: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call1")
export declare function call1(fn: u64, a: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call2")
export declare function call2(fn: u64, a: u64, b: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call3")
export declare function call3(fn: u64, a: u64, b: u64, c: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call4")
export declare function call4(fn: u64, a: u64, b: u64, c: u64, d: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call5")
export declare function call5(fn: u64, a: u64, b: u64, c: u64, d: u64, e: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call6")
export declare function call6(fn: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64): u64;
// @ts-ignore: decorator
@external("zpoline", "call7")
export declare function call7(fn: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64): u64;
