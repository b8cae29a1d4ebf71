//! Log lines on their way out: whoever logs does not wait for whoever reads.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::Duration,
};

/// Bytes of lines that may wait to be written: tens of thousands of lines, which a reader who stops for a moment does not
/// cost any of them, and little beside what plugins may have.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// How long the end of the program waits for the last lines. Of those that nobody takes, nobody would read more later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes lines at once, and hands them to a thread that writes them. Where that thread cannot keep up, lines are lost and
/// counted: a log that is read slowly, or by nobody, must not stop a host.
///
/// It is not the one of `tracing-appender`: that one says on stderr that it could not write to stderr, and so never ends where
/// nobody reads that.
pub(crate) struct LogLines {
    messages: Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before it was written: to be answered.
    Flush(SyncSender<()>),
}

impl LogLines {
    /// Lines that are written to `out`, by a thread of their own.
    pub(crate) fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, received) = mpsc::channel();
        let counts = Arc::<Counts>::default();
        let of_thread = Arc::clone(&counts);
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write(out, &received))?;
        Ok(Self { messages, counts })
    }

    /// How many lines were lost, from now on too.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.counts.lost)
    }

    /// Waits until what was logged so far is written, for a moment.
    pub(crate) fn flush(&self) {
        let (answer, written) = mpsc::sync_channel(1);
        if self.messages.send(Message::Flush(answer)).is_ok() {
            // What is not written by then is lost, and there is nobody to tell.
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

impl Counts {
    fn write(&self, mut out: impl Write, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    if out.write_all(&line).is_err() {
                        self.lost.fetch_add(1, Relaxed);
                    }
                    self.waiting_bytes.fetch_sub(line.len(), Relaxed);
                }
                Message::Flush(answer) => {
                    let _ = answer.send(());
                }
            }
        }
    }
}

/// Each piece that is written is one line, or several whole ones.
impl Write for &LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Counts { waiting_bytes, lost } = &*self.counts;
        let before = waiting_bytes.fetch_add(line.len(), Relaxed);
        let is_room = before.saturating_add(line.len()) <= MAX_WAITING_BYTES;
        if !is_room || self.messages.send(Message::Line(line.to_vec())).is_err() {
            waiting_bytes.fetch_sub(line.len(), Relaxed);
            lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::Receiver};

    use super::*;

    /// Writes each piece when it is let through, and everything once nobody holds it back any more.
    struct Gated {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            self.written.lock().unwrap().extend_from_slice(piece);
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_takes_is_lost_and_counted_and_later_lines_are_written_again() {
        let (hold, gate) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = LogLines::to(Gated { gate, written: Arc::clone(&written) }).unwrap();
        let quarter = vec![b'x'; MAX_WAITING_BYTES / 4];
        for _ in 0..7 {
            (&lines).write_all(&quarter).unwrap();
        }
        assert_eq!(lines.lost().load(Relaxed), 3, "four wait, the one that is being written among them");
        drop(hold);
        while lines.counts.waiting_bytes.load(Relaxed) > 0 {
            thread::yield_now();
        }
        (&lines).write_all(b"the last line\n").unwrap();
        while lines.counts.waiting_bytes.load(Relaxed) > 0 {
            thread::yield_now();
        }
        let written = written.lock().unwrap();
        assert_eq!(written.len(), MAX_WAITING_BYTES + b"the last line\n".len());
        assert!(written.ends_with(b"the last line\n"));
        assert_eq!(lines.lost().load(Relaxed), 3);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = LogLines::to(Closed).unwrap();
        (&lines).write_all(b"one\n").unwrap();
        lines.flush();
        while lines.lost().load(Relaxed) < 1 {
            thread::yield_now();
        }
    }
}
