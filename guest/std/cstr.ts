/** Strings for the kernel. String literals of this dialect are UTF-16 objects; system calls want bytes and a NUL. */

/**
 * Address of the NUL-terminated UTF-8 bytes of `text`, which must be a literal without NUL. They are constants of the
 * image; equal literals have one address.
 */
// @ts-ignore: decorator
@external("zpoline", "cstr")
export declare function cstr(text: string): u64;
