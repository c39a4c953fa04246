/** Seeds of random programs that every test run tries. */

/** Seeds for which compiled code was wrong once, or the oracle's harness was. */
export const FAILED_ONCE: readonly number[] = [150, 250, 487, 1068];

/** The first seeds, by number. */
export const SHORT_RUN = 200;
