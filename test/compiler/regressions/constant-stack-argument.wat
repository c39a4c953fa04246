;; A negative i32 constant as an argument on the stack was sign-extended in its eight bytes, while the callee (not
;; exported) took the upper half for zero.
;; call f
(module
 (memory (export "memory") i64 4097)
 (func $seventh (param i32 i32 i32 i32 i32 i32 i32) (result i64)
  (i64.extend_i32_u (local.get 6)))
 (func (export "f") (result i64)
  (call $seventh
   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))))
