;; Preview 1 of WASI for plugins that may do nothing outside their own memory: the answer to every call that a
;; guest's standard library may make, without any authority behind it.
;;
;; The linker removes what a plugin does not import, so each function costs nothing until somebody needs it. An
;; adapter has neither memory nor data of its own: everything lives in the guest's memory.
;;
;; Errors are the numbers of preview 1: 0 success, 8 `badf`, 58 `notsup`.
(module
  (import "env" "memory" (memory 0))
  (import "tapline:host/diagnostics@0.1.0" "output" (func $output (param $descriptor i32) (param $bytes i32) (param $length i32)))

  ;; Standard output and error become log lines of the host. Everything else is not open.
  ;; A pointer outside the memory traps, here or when the host takes the bytes: the guest is at fault, and its call ends.
  (func (export "fd_write") (param $descriptor i32) (param $buffers i32) (param $count i32) (param $written i32) (result i32)
    (local $length i32) (local $total i32)
    ;; Only 1 and 2 are open: an unsigned comparison refuses 0 and all numbers above 2 at once.
    (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $length (i32.load offset=4 (local.get $buffers)))
        (if (local.get $length)
          (then (call $output (local.get $descriptor) (i32.load (local.get $buffers)) (local.get $length))))
        (local.set $total (i32.add (local.get $total) (local.get $length)))
        (local.set $buffers (i32.add (local.get $buffers) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; The standard library's hash maps ask for a seed and panic without one. They get the SAME BYTES EVERY TIME: a sealed
  ;; plugin has no randomness. That makes answers repeatable, and it means that the bytes must never become a key, a
  ;; token or anything else that somebody else should not guess. Somebody who knows them can choose keys that collide;
  ;; that slows down one call, up to its deadline.
  (func (export "random_get") (param $bytes i32) (param $length i32) (result i32)
    (local $state i32)
    (local.set $state (i32.const 0x9e3779b9))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        ;; xorshift32 with the shifts 13, 17, 5 (Marsaglia, 2003): never reaches 0 from a start that is not 0.
        (local.set $state (i32.xor (local.get $state) (i32.shl (local.get $state) (i32.const 13))))
        (local.set $state (i32.xor (local.get $state) (i32.shr_u (local.get $state) (i32.const 17))))
        (local.set $state (i32.xor (local.get $state) (i32.shl (local.get $state) (i32.const 5))))
        (i32.store8 (local.get $bytes) (local.get $state))
        (local.set $bytes (i32.add (local.get $bytes) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Leaving the program from inside a tap is a trap: nothing could run after it.
  (func (export "proc_exit") (param $code i32) (unreachable))

  ;; There is one thread, and nobody to yield to.
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; No arguments, no environment: the number of strings and the bytes that they need are both 0.
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $nothing (param $strings i32) (param $bytes i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  ;; Files: none is open, so every descriptor is a bad one. `fd_prestat_get` ends the search for open directories.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))

  ;; Clocks, paths, polling, signals and sockets do not exist here.
  (func (export "clock_res_get") (param i32 i32) (result i32) (i32.const 58))
  (func (export "clock_time_get") (param i32 i64 i32) (result i32) (i32.const 58))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 58))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 58))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 58))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 58))
)
