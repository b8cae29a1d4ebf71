//! Components that call WASI without a standard library in between, made from WAT and from as much of the WIT as they use.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn component(packages: &[(&str, String)], core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (name, text) in packages {
        last = Some(resolve.push_source(name, text).unwrap());
    }
    let world = resolve.select_world(&[last.unwrap()], None).unwrap();
    let mut module = wat::parse_str(core).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// A tap that answers the seconds of the wall clock, in this version of the interface.
pub(crate) fn clock(version: &str) -> Vec<u8> {
    let clocks = format!(
        "package wasi:clocks@{version};
         interface wall-clock {{ record datetime {{ seconds: u64, nanoseconds: u32 }} now: func() -> datetime; }}"
    );
    let test = format!(
        "package test:wasi@1.0.0;
         interface seconds {{ run: func() -> u64; }}
         world guest {{ import wasi:clocks/wall-clock@{version}; export seconds; }}"
    );
    component(
        &[("clocks.wit", clocks), ("test.wit", test)],
        &format!(
            r#"(module
                 (import "wasi:clocks/wall-clock@{version}" "now" (func $now (param i32)))
                 (memory (export "memory") 1)
                 (func (export "test:wasi/seconds@1.0.0#run") (result i64)
                   (call $now (i32.const 64))
                   (i64.load (i32.const 64))))"#
        ),
    )
}

/// A tap that asks once for as many random bytes as it is told, and answers how many it got.
pub(crate) fn random() -> Vec<u8> {
    let random = "package wasi:random@0.2.12;
        interface random { get-random-bytes: func(len: u64) -> list<u8>; }
        interface insecure { get-insecure-random-bytes: func(len: u64) -> list<u8>; }";
    let test = "package test:wasi@1.0.0;
        interface randomness { run: func(secure: bool, length: u64) -> u32; }
        world guest { import wasi:random/random@0.2.12; import wasi:random/insecure@0.2.12; export randomness; }";
    component(
        &[("random.wit", random.to_owned()), ("test.wit", test.to_owned())],
        r#"(module
             (import "wasi:random/random@0.2.12" "get-random-bytes" (func $secure (param i64 i32)))
             (import "wasi:random/insecure@0.2.12" "get-insecure-random-bytes" (func $insecure (param i64 i32)))
             (memory (export "memory") 32)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
             (func (export "test:wasi/randomness@1.0.0#run") (param $is_secure i32) (param $length i64) (result i32)
               (if (local.get $is_secure)
                 (then (call $secure (local.get $length) (i32.const 64)))
                 (else (call $insecure (local.get $length) (i32.const 64))))
               (i32.load (i32.const 68))))"#,
    )
}

const IO: &str = "package wasi:io@0.2.12;
    interface error { resource error; }
    interface poll { resource pollable { block: func(); } }
    interface streams {
      use error.{error};
      use poll.{pollable};
      variant stream-error { last-operation-failed(error), closed }
      resource input-stream { subscribe: func() -> pollable; }
      resource output-stream {
        check-write: func() -> result<u64, stream-error>;
        write: func(contents: list<u8>) -> result<_, stream-error>;
        subscribe: func() -> pollable;
      }
    }";

const FILESYSTEM: &str = "package wasi:filesystem@0.2.12;
    interface types {
      use wasi:io/streams@0.2.12.{input-stream, output-stream};
      enum error-code { access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large,
        illegal-byte-sequence, in-progress, interrupted, invalid, io, is-directory, loop, too-many-links, message-size,
        name-too-long, no-device, no-entry, no-lock, insufficient-memory, insufficient-space, not-directory, not-empty,
        not-recoverable, unsupported, no-tty, no-such-device, overflow, not-permitted, pipe, read-only, invalid-seek,
        text-file-busy, cross-device }
      flags path-flags { symlink-follow }
      flags open-flags { create, directory, exclusive, truncate }
      flags descriptor-flags { read, write, file-integrity-sync, data-integrity-sync, requested-write-sync,
        mutate-directory }
      resource descriptor {
        read-via-stream: func(offset: u64) -> result<input-stream, error-code>;
        write-via-stream: func(offset: u64) -> result<output-stream, error-code>;
        append-via-stream: func() -> result<output-stream, error-code>;
        open-at: func(path-flags: path-flags, path: string, open-flags: open-flags, %flags: descriptor-flags)
          -> result<descriptor, error-code>;
      }
    }
    interface preopens {
      use types.{descriptor};
      get-directories: func() -> list<tuple<descriptor, string>>;
    }";

/// A tap that opens a path as it is given, below the first directory that is granted, and answers 0 or 1 and the error.
pub(crate) fn opener() -> Vec<u8> {
    let test = "package test:wasi@1.0.0;
        interface opening { run: func(path: string) -> u32; }
        world guest {
          import wasi:filesystem/types@0.2.12;
          import wasi:filesystem/preopens@0.2.12;
          export opening;
        }";
    component(
        &[("io.wit", IO.to_owned()), ("filesystem.wit", FILESYSTEM.to_owned()), ("test.wit", test.to_owned())],
        r#"(module
             (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
             (import "wasi:filesystem/types@0.2.12" "[method]descriptor.open-at"
               (func $open (param i32 i32 i32 i32 i32 i32 i32)))
             (memory (export "memory") 4)
             (global $next (mut i32) (i32.const 4096))
             (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
               (local $start i32)
               (local.set $start (global.get $next))
               (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))
               (local.get $start))
             (func (export "test:wasi/opening@1.0.0#run") (param $path i32) (param $length i32) (result i32)
               (call $directories (i32.const 64))
               (call $open (i32.load (i32.load (i32.const 64))) (i32.const 1) (local.get $path) (local.get $length)
                 (i32.const 0) (i32.const 1) (i32.const 96))
               (if (i32.load8_u (i32.const 96)) (then (return (i32.add (i32.const 1) (i32.load8_u (i32.const 100))))))
               (i32.const 0)))"#,
    )
}

/// The size of what [`streamer`] writes at a time.
pub(crate) const WRITE: usize = 64 << 10;

/// A tap that opens the file `file` below the first directory that is granted, to read and to write, and makes so many
/// streams of it: 0 to read, 1 to write one behind the other, 2 to append. It then writes so many times to each, without
/// waiting for one before it writes to the next. It answers how many streams it made, and for an error: 1000 for each code
/// and one more when a stream is not made, 100 000 when a write is refused, 200 000 when it has failed.
pub(crate) fn streamer() -> Vec<u8> {
    let test = "package test:wasi@1.0.0;
        interface streaming { run: func(way: u32, streams: u32, writes: u32) -> u32; }
        world guest {
          import wasi:io/poll@0.2.12;
          import wasi:io/streams@0.2.12;
          import wasi:filesystem/types@0.2.12;
          import wasi:filesystem/preopens@0.2.12;
          export streaming;
        }";
    component(
        &[("io.wit", IO.to_owned()), ("filesystem.wit", FILESYSTEM.to_owned()), ("test.wit", test.to_owned())],
        &format!(
            r#"(module
                 (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
                 (import "wasi:io/poll@0.2.12" "[resource-drop]pollable" (func $forget (param i32)))
                 (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
                 (import "wasi:io/streams@0.2.12" "[method]output-stream.check-write" (func $check (param i32 i32)))
                 (import "wasi:io/streams@0.2.12" "[method]output-stream.subscribe" (func $subscribe (param i32) (result i32)))
                 (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
                 (import "wasi:filesystem/types@0.2.12" "[method]descriptor.open-at"
                   (func $open (param i32 i32 i32 i32 i32 i32 i32)))
                 (import "wasi:filesystem/types@0.2.12" "[method]descriptor.read-via-stream" (func $read_at (param i32 i64 i32)))
                 (import "wasi:filesystem/types@0.2.12" "[method]descriptor.write-via-stream" (func $write_at (param i32 i64 i32)))
                 (import "wasi:filesystem/types@0.2.12" "[method]descriptor.append-via-stream" (func $append (param i32 i32)))
                 (memory (export "memory") 4)
                 (data (i32.const 1024) "file")
                 (global $next (mut i32) (i32.const 4096))
                 (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
                   (local $start i32)
                   (local.set $start (global.get $next))
                   (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))
                   (local.get $start))
                 ;; Where the handle of a stream is kept.
                 (func $of (param $stream i32) (result i32) (i32.add (i32.const 8192) (i32.mul (local.get $stream) (i32.const 4))))
                 (func (export "test:wasi/streaming@1.0.0#run") (param $way i32) (param $streams i32) (param $writes i32) (result i32)
                   (local $file i32) (local $made i32) (local $stream i32) (local $ready i32)
                   (memory.fill (i32.const 131072) (i32.const 120) (i32.const {WRITE}))
                   (call $directories (i32.const 64))
                   (call $open (i32.load (i32.load (i32.const 64))) (i32.const 1) (i32.const 1024) (i32.const 4)
                     (i32.const 1) (i32.const 3) (i32.const 96))
                   (if (i32.load8_u (i32.const 96)) (then (unreachable)))
                   (local.set $file (i32.load (i32.const 100)))
                   (block $all (loop $again
                     (br_if $all (i32.eq (local.get $made) (local.get $streams)))
                     (if (i32.eqz (local.get $way)) (then (call $read_at (local.get $file) (i64.const 0) (i32.const 96))))
                     (if (i32.eq (local.get $way) (i32.const 1)) (then
                       (call $write_at (local.get $file)
                         (i64.extend_i32_u (i32.mul (local.get $made) (i32.mul (local.get $writes) (i32.const {WRITE}))))
                         (i32.const 96))))
                     (if (i32.eq (local.get $way) (i32.const 2)) (then (call $append (local.get $file) (i32.const 96))))
                     (if (i32.load8_u (i32.const 96)) (then
                       (return (i32.add (local.get $made)
                         (i32.mul (i32.const 1000) (i32.add (i32.const 1) (i32.load8_u (i32.const 100))))))))
                     (i32.store (call $of (local.get $made)) (i32.load (i32.const 100)))
                     (local.set $made (i32.add (local.get $made) (i32.const 1)))
                     (br $again)))
                   (block $written (loop $round
                     (br_if $written (i32.eqz (local.get $writes)))
                     (local.set $writes (i32.sub (local.get $writes) (i32.const 1)))
                     (local.set $stream (i32.const 0))
                     (block $begun (loop $next
                       (br_if $begun (i32.eq (local.get $stream) (local.get $made)))
                       (call $write (i32.load (call $of (local.get $stream))) (i32.const 131072) (i32.const {WRITE}) (i32.const 96))
                       (if (i32.load8_u (i32.const 96)) (then (return (i32.const 100000))))
                       (local.set $stream (i32.add (local.get $stream) (i32.const 1)))
                       (br $next)))
                     (local.set $stream (i32.const 0))
                     (block $done (loop $next
                       (br_if $done (i32.eq (local.get $stream) (local.get $made)))
                       (local.set $ready (call $subscribe (i32.load (call $of (local.get $stream)))))
                       (call $block (local.get $ready))
                       (call $forget (local.get $ready))
                       (call $check (i32.load (call $of (local.get $stream))) (i32.const 96))
                       (if (i32.load8_u (i32.const 96)) (then (return (i32.const 200000))))
                       (local.set $stream (i32.add (local.get $stream) (i32.const 1)))
                       (br $next)))
                     (br $round)))
                   (local.get $made)))"#
        ),
    )
}

/// What [`connector`] does besides connecting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Waits for bytes from the other side.
    Wait,
    /// Does not connect, and makes a socket of UDP.
    Udp,
    /// Does not connect, and listens.
    Listen,
    /// Makes so many sockets before.
    Sockets(u32),
    /// Looks the name up so many times before.
    Lookups(u32),
}

/// A tap that looks up `name`, if it is not empty, and connects: to the address that the name has, if the tap's own
/// address is 0, else to that. It answers 0, or what failed in hundreds, and the error: 100 `start-connect`, 200
/// `finish-connect`, 300 `resolve-addresses`, 400 `resolve-next-address`, 500 `create-tcp-socket`, 600
/// `create-udp-socket`, 700 `start-bind`, 800 `start-listen`.
pub(crate) fn connector(name: &str, then: Then) -> Vec<u8> {
    let io = "package wasi:io@0.2.12;
        interface poll { resource pollable { block: func(); } }
        interface streams {
          use poll.{pollable};
          resource input-stream { subscribe: func() -> pollable; }
          resource output-stream { }
        }";
    let sockets = "package wasi:sockets@0.2.12;
        interface network {
          resource network { }
          enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
            concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit, address-not-bindable,
            address-in-use, remote-unreachable, connection-refused, connection-reset, connection-aborted,
            datagram-too-large, name-unresolvable, temporary-resolver-failure, permanent-resolver-failure }
          enum ip-address-family { ipv4, ipv6 }
          type ipv4-address = tuple<u8, u8, u8, u8>;
          type ipv6-address = tuple<u16, u16, u16, u16, u16, u16, u16, u16>;
          variant ip-address { ipv4(ipv4-address), ipv6(ipv6-address) }
          record ipv4-socket-address { port: u16, address: ipv4-address }
          record ipv6-socket-address { port: u16, flow-info: u32, address: ipv6-address, scope-id: u32 }
          variant ip-socket-address { ipv4(ipv4-socket-address), ipv6(ipv6-socket-address) }
        }
        interface instance-network { use network.{network}; instance-network: func() -> network; }
        interface ip-name-lookup {
          use wasi:io/poll@0.2.12.{pollable};
          use network.{network, error-code, ip-address};
          resource resolve-address-stream {
            resolve-next-address: func() -> result<option<ip-address>, error-code>;
            subscribe: func() -> pollable;
          }
          resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
        }
        interface tcp {
          use wasi:io/poll@0.2.12.{pollable};
          use wasi:io/streams@0.2.12.{input-stream, output-stream};
          use network.{network, error-code, ip-socket-address};
          resource tcp-socket {
            start-bind: func(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>;
            finish-bind: func() -> result<_, error-code>;
            start-connect: func(network: borrow<network>, remote-address: ip-socket-address) -> result<_, error-code>;
            finish-connect: func() -> result<tuple<input-stream, output-stream>, error-code>;
            start-listen: func() -> result<_, error-code>;
            subscribe: func() -> pollable;
          }
        }
        interface tcp-create-socket {
          use network.{error-code, ip-address-family};
          use tcp.{tcp-socket};
          create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
        }
        interface udp { resource udp-socket { } }
        interface udp-create-socket {
          use network.{error-code, ip-address-family};
          use udp.{udp-socket};
          create-udp-socket: func(address-family: ip-address-family) -> result<udp-socket, error-code>;
        }";
    let test = "package test:wasi@1.0.0;
        interface connecting { run: func(address: u32, port: u32) -> u32; }
        world guest {
          import wasi:io/poll@0.2.12;
          import wasi:io/streams@0.2.12;
          import wasi:sockets/instance-network@0.2.12;
          import wasi:sockets/ip-name-lookup@0.2.12;
          import wasi:sockets/tcp@0.2.12;
          import wasi:sockets/tcp-create-socket@0.2.12;
          import wasi:sockets/udp-create-socket@0.2.12;
          export connecting;
        }";
    let length = name.len();
    let (wait, udp, listen) =
        (u32::from(then == Then::Wait), u32::from(then == Then::Udp), u32::from(then == Then::Listen));
    let lookups_before = if let Then::Lookups(number) = then { number } else { 0 };
    let sockets_before = if let Then::Sockets(number) = then { number } else { 0 };
    component(
        &[("io.wit", io.to_owned()), ("sockets.wit", sockets.to_owned()), ("test.wit", test.to_owned())],
        &format!(
            r#"(module
                 (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
                 (import "wasi:io/streams@0.2.12" "[method]input-stream.subscribe" (func $readable (param i32) (result i32)))
                 (import "wasi:sockets/instance-network@0.2.12" "instance-network" (func $network (result i32)))
                 (import "wasi:sockets/ip-name-lookup@0.2.12" "resolve-addresses" (func $lookup (param i32 i32 i32 i32)))
                 (import "wasi:sockets/ip-name-lookup@0.2.12" "[method]resolve-address-stream.subscribe"
                   (func $looked_up (param i32) (result i32)))
                 (import "wasi:sockets/ip-name-lookup@0.2.12" "[method]resolve-address-stream.resolve-next-address"
                   (func $next (param i32 i32)))
                 (import "wasi:sockets/tcp-create-socket@0.2.12" "create-tcp-socket" (func $tcp (param i32 i32)))
                 (import "wasi:sockets/udp-create-socket@0.2.12" "create-udp-socket" (func $udp (param i32 i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.start-connect"
                   (func $connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.start-bind"
                   (func $bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.finish-bind" (func $bound (param i32 i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.start-listen" (func $listen (param i32 i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.subscribe" (func $connected (param i32) (result i32)))
                 (import "wasi:sockets/tcp@0.2.12" "[method]tcp-socket.finish-connect" (func $finish (param i32 i32)))
                 (memory (export "memory") 1)
                 (data (i32.const 1024) "{name}")
                 (func $byte (param $of i32) (param $index i32) (result i32)
                   (i32.and (i32.shr_u (local.get $of) (i32.mul (local.get $index) (i32.const 8))) (i32.const 255)))
                 (func (export "test:wasi/connecting@1.0.0#run") (param $address i32) (param $port i32) (result i32)
                   (local $on i32) (local $names i32) (local $socket i32) (local $more i32)
                   (local.set $on (call $network))
                   (if (i32.const {udp}) (then
                     (call $udp (i32.const 0) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 600) (i32.load8_u (i32.const 68))))))
                     (return (i32.const 0))))
                   (local.set $more (i32.const {lookups_before}))
                   (block $asked (loop $again
                     (br_if $asked (i32.eqz (local.get $more)))
                     (local.set $more (i32.sub (local.get $more) (i32.const 1)))
                     (call $lookup (local.get $on) (i32.const 1024) (i32.const {length}) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 300) (i32.load8_u (i32.const 68))))))
                     (br $again)))
                   (if (i32.const {length}) (then
                     (call $lookup (local.get $on) (i32.const 1024) (i32.const {length}) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 300) (i32.load8_u (i32.const 68))))))
                     (local.set $names (i32.load (i32.const 68)))
                     (call $block (call $looked_up (local.get $names)))
                     (call $next (local.get $names) (i32.const 96))
                     (if (i32.load8_u (i32.const 96)) (then (return (i32.add (i32.const 400) (i32.load8_u (i32.const 98))))))
                     (if (i32.eqz (local.get $address)) (then
                       ;; The case of an address of version 4, and its bytes.
                       (if (i32.load8_u (i32.const 100)) (then (return (i32.const 499))))
                       (local.set $address (i32.load align=1 (i32.const 102)))))))
                   (local.set $more (i32.const {sockets_before}))
                   (block $made (loop $again
                     (br_if $made (i32.eqz (local.get $more)))
                     (local.set $more (i32.sub (local.get $more) (i32.const 1)))
                     (call $tcp (i32.const 0) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 500) (i32.load8_u (i32.const 68))))))
                     (br $again)))
                   (call $tcp (i32.const 0) (i32.const 64))
                   (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 500) (i32.load8_u (i32.const 68))))))
                   (local.set $socket (i32.load (i32.const 68)))
                   (if (i32.const {listen}) (then
                     (call $bind (local.get $socket) (local.get $on) (i32.const 0) (local.get $port)
                       (call $byte (local.get $address) (i32.const 0)) (call $byte (local.get $address) (i32.const 1))
                       (call $byte (local.get $address) (i32.const 2)) (call $byte (local.get $address) (i32.const 3))
                       (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 700) (i32.load8_u (i32.const 65))))))
                     (call $bound (local.get $socket) (i32.const 64))
                     (call $listen (local.get $socket) (i32.const 64))
                     (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 800) (i32.load8_u (i32.const 65))))))
                     (return (i32.const 0))))
                   (call $connect (local.get $socket) (local.get $on) (i32.const 0) (local.get $port)
                     (call $byte (local.get $address) (i32.const 0)) (call $byte (local.get $address) (i32.const 1))
                     (call $byte (local.get $address) (i32.const 2)) (call $byte (local.get $address) (i32.const 3))
                     (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
                   (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 100) (i32.load8_u (i32.const 65))))))
                   (call $block (call $connected (local.get $socket)))
                   (call $finish (local.get $socket) (i32.const 64))
                   (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 200) (i32.load8_u (i32.const 68))))))
                   (if (i32.const {wait}) (then (call $block (call $readable (i32.load (i32.const 68))))))
                   (i32.const 0)))"#
        ),
    )
}
