//! The one unsafe step: taking bytes for machine code, from a file or from a worker.

#![expect(unsafe_code, reason = "machine code can be mapped in no other way; the argument is beside the call")]

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::disk::Verified;
use crate::worker::Artifact;

/// Maps a file that was verified.
///
/// # Errors
/// What the engine says if the code is for another engine or another CPU.
pub(crate) fn map(engine: &Engine, file: &Verified) -> wasmtime::Result<Component> {
    // SAFETY: the file must hold what `Component::serialize` wrote, unchanged, and must stay so while it is mapped.
    //
    // - A `Verified` exists only for a file whose authenticator was made with the key of its directory. The key is 32
    //   random bytes that only our user can read, and it signs nothing but what `Component::serialize` returned
    //   for exactly this name, which contains the hash of the component and the fingerprint of the engine. So what
    //   others wrote, what is damaged and what belongs under another name is not mapped.
    // - It is a file of our user, which nobody else can write to, and it was made by us: what others had put where a file is
    //   written is removed first. So nobody else has it open for writing, also where the directory was theirs once.
    // - What is mapped is the open file that was verified, where the system lets us name it (Linux); a path that
    //   was changed in between leads nowhere else. On other systems the path is opened again, in a directory that
    //   belongs to our user and that nobody else can write to.
    // - A file that has its final name is never written to again: a new one takes its place by `rename`, and it is
    //   removed by `unlink`; both leave what is mapped alone. The mapping is private, so that nothing flows back.
    // - Behind the code the file has 32 more bytes, the authenticator. The code is an ELF image, which names all its
    //   parts by offset and length; what comes after them is not looked at.
    //
    // There remains our own user, who can overwrite the file in place: it can also attach a debugger to this process.
    unsafe { Component::deserialize_file(engine, file.path()) }
}

/// Takes what a worker has compiled.
///
/// # Errors
/// What the engine says if the worker's engine was another one.
pub(crate) fn load(engine: &Engine, artifact: &Artifact) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Engine::precompile_component` wrote.
    //
    // An `Artifact` exists only for an answer whose authenticator was made with 32 random bytes that one process was
    // given: the worker that this process started itself. So what answered knows the protocol of `run_worker`,
    // which authenticates nothing but what `precompile_component` returned. The component that it compiled may be
    // hostile; the compiler is safe code, as it is in this process.
    //
    // There remains that the program named as the worker is a forgery: whoever can choose what this process runs as
    // our own user needs no forged machine code.
    unsafe { Component::deserialize(engine, artifact.bytes()) }
}
