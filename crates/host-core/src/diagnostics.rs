//! The interface that every plugin has: panics and standard output.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    call::Handler,
    capability::Capability,
    error::GuestPanic,
    state::CallState,
    text::{cut, escape},
};

/// The WIT name of the interface.
pub(crate) const INTERFACE: &str = "tapline:host/diagnostics@0.1.0";

/// Longest panic message that is kept, in bytes.
pub(crate) const MAX_MESSAGE: usize = 4096;
/// Longest file name that is kept, in bytes.
const MAX_FILE: usize = 512;
/// What one call may write to its standard output and standard error together, in bytes.
const MAX_OUTPUT: usize = 64 << 10;
/// Lines of output of one call that become events.
const MAX_LINES: usize = 1000;
/// Longest line of output that becomes one event, in bytes.
const MAX_LINE: usize = 4096;

/// Carries no authority: the host adds it by itself.
pub(crate) struct Diagnostics;

impl Capability for Diagnostics {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut instance = linker.instance(INTERFACE)?;
        instance.func_wrap("panicked", panicked)?;
        instance.func_wrap("output", output)
    }
}

fn panicked(
    mut store: StoreContextMut<'_, CallState>,
    (message, file, line, column): (WasmStr, WasmStr, u32, u32),
) -> wasmtime::Result<()> {
    let panic = GuestPanic {
        message: escape(cut(&message.to_str(&store)?, MAX_MESSAGE)).into_owned(),
        file: escape(cut(&file.to_str(&store)?, MAX_FILE)).into_owned(),
        line,
        column,
    };
    store.data_mut().panic.get_or_insert(panic);
    Ok(())
}

fn output(mut store: StoreContextMut<'_, CallState>, (descriptor, bytes): (u32, WasmList<u8>)) -> wasmtime::Result<()> {
    let output = store.data_mut().output();
    let length = bytes.len();
    // Only what is kept is copied: a guest that writes without end costs the host no memory.
    let kept = bytes.as_le_slice(&store)[..length.min(output.room())].to_vec();
    output.write(descriptor, &kept, length);
    Ok(())
}

/// Where the standard output and standard error of one call go: each line becomes an event of the target
/// `tapline::guest` with the host's names for plugin and tap. [`CallState::output`] gives it.
///
/// Both streams of a call together have room for 64 KiB and 1000 lines; the rest is dropped and counted. Writing never
/// waits and never fails.
#[derive(Clone)]
pub struct GuestOutput {
    pub(crate) handler: Arc<Handler>,
    pub(crate) output: SharedOutput,
}

pub(crate) type SharedOutput = Arc<Mutex<Output>>;

impl GuestOutput {
    /// Takes what the guest wrote to its standard output.
    pub fn stdout(&self, bytes: &[u8]) {
        self.write(1, &bytes[..bytes.len().min(self.room())], bytes.len());
    }

    /// Takes what the guest wrote to its standard error.
    pub fn stderr(&self, bytes: &[u8]) {
        self.write(2, &bytes[..bytes.len().min(self.room())], bytes.len());
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> usize {
        MAX_OUTPUT - self.output().taken
    }

    /// Takes the first bytes of a piece of `length` bytes: no more than there is room for.
    fn write(&self, descriptor: u32, kept: &[u8], length: usize) {
        let (plugin, tap) = (self.handler.plugin.name(), &self.handler.tap);
        let mut output = self.output();
        let lost = output.take(descriptor, kept, |line| write_line(&self.handler, descriptor, line));
        let dropped = length - kept.len() + lost;
        self.handler.plugin.metrics().output_dropped(dropped as u64);
        if dropped > 0 && !std::mem::replace(&mut output.said_full, true) {
            tracing::warn!(target: "tapline::guest", %plugin, %tap, bytes = MAX_OUTPUT, lines = MAX_LINES, "output is full, the rest is dropped");
        }
    }

    /// Writes what has no line end yet, when the call is over.
    pub(crate) fn finish(&self) {
        self.output().finish(&self.handler);
    }
}

fn write_line(handler: &Handler, descriptor: u32, line: &[u8]) {
    let (plugin, tap) = (handler.plugin.name(), &handler.tap);
    if !handler.plugin.admits_log_line(tap) {
        return;
    }
    let line = String::from_utf8_lossy(line);
    // A guest must not be able to write what looks like a line of somebody else.
    let line = escape(&line);
    if descriptor == 2 {
        tracing::warn!(target: "tapline::guest", %plugin, %tap, stream = "stderr", "{line}");
    } else {
        tracing::info!(target: "tapline::guest", %plugin, %tap, stream = "stdout", "{line}");
    }
}

/// What one call has written so far: standard output and standard error, cut into lines.
#[derive(Default)]
pub(crate) struct Output {
    taken: usize,
    lines: usize,
    said_full: bool,
    partial: [Vec<u8>; 2],
}

impl Output {
    /// Hands on each line that is complete. Returns how many bytes were dropped because there were too many lines.
    fn take(&mut self, descriptor: u32, bytes: &[u8], mut emit: impl FnMut(&[u8])) -> usize {
        self.taken += bytes.len();
        let mut lost = 0;
        let lines = &mut self.lines;
        let mut emit = |line: &[u8]| {
            *lines += 1;
            if *lines <= MAX_LINES { emit(line) } else { lost += line.len() + 1 }
        };
        let partial = &mut self.partial[usize::from(descriptor == 2)];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    partial.extend_from_slice(end);
                    emit(partial);
                    partial.clear();
                }
                None => partial.extend_from_slice(piece),
            }
            while partial.len() > MAX_LINE {
                let rest = partial.split_off(MAX_LINE);
                emit(partial);
                *partial = rest;
            }
        }
        lost
    }

    /// Writes what has no line end yet, when the call is over.
    fn finish(&mut self, handler: &Handler) {
        for (index, partial) in self.partial.iter_mut().enumerate() {
            if !partial.is_empty() {
                write_line(handler, if index == 1 { 2 } else { 1 }, partial);
                partial.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, Output) {
        let mut output = Output::default();
        let mut lines = Vec::new();
        for piece in pieces {
            output.take(1, piece, |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        }
        (lines, output)
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let (lines, output) = lines(&[b"one\ntw", b"o\n", b"thr"]);
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(output.partial[0], b"thr");
    }

    #[test]
    fn empty_lines_count_as_well() {
        let mut output = Output::default();
        let mut emitted = 0;
        let lost = output.take(1, &[b'\n'; 5000], |_| emitted += 1);
        assert_eq!((emitted, lost), (MAX_LINES, 5000 - MAX_LINES));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (lines, output) = lines(&[&[b'x'; 10_000]]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE]);
        assert_eq!(output.partial[0].len(), 10_000 - 2 * MAX_LINE);
    }
}
