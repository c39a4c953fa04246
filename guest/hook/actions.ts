/** The action table (ACTION_* in src/image/layout.ts): a symbol of the machine code templates. */

// @ts-ignore: decorator
@external("symbol", "zp_actions")
declare function zp_actions(): usize;

/** Address of the table: one byte per system call number. */
// @ts-ignore: decorator
@inline
export function actions(): usize {
  return zp_actions();
}
