//! Bars on stderr, and lines that are written past them.

use std::{
    io::{self, IsTerminal, Stderr, Write, stderr},
    sync::LazyLock,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar is drawn anew while nothing moves it: a plugin that compiles for long is not a program that hangs.
const TICK: Duration = Duration::from_millis(100);

/// All bars of the program. None: stderr is no terminal, and there is nothing to draw on. Nor to wait for: whoever writes to a
/// pipe that nobody reads must not hold what somebody who moves a bar needs.
static BARS: LazyLock<Option<MultiProgress>> =
    LazyLock::new(|| stderr().is_terminal().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())));

/// A bar on stderr, where that is a terminal.
pub(crate) fn bar(length: usize) -> ProgressBar {
    let Some(bars) = &*BARS else { return ProgressBar::hidden() };
    let bar = bar_of(bars, length);
    bar.enable_steady_tick(TICK);
    bar
}

fn bar_of(bars: &MultiProgress, length: usize) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(length as u64));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Stderr for whole lines: a bar steps aside while they are written.
pub(crate) fn lines() -> Lines<Stderr> {
    Lines { bars: BARS.clone(), out: stderr() }
}

/// See [`lines`].
pub(crate) struct Lines<W> {
    bars: Option<MultiProgress>,
    out: W,
}

impl<W> Lines<W> {
    fn beside<R>(&mut self, write: impl FnOnce(&mut W) -> R) -> R {
        match &self.bars {
            Some(bars) => bars.suspend(|| write(&mut self.out)),
            None => write(&mut self.out),
        }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.beside(|out| out.write(lines))
    }

    /// In one piece, so that no bar comes between the beginning of a line and its end.
    fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        self.beside(|out| out.write_all(lines))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;

    /// A terminal that is written to past the bars. It begins lines as a real one does.
    struct Terminal(InMemoryTerm);

    impl Write for Terminal {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.write_str(&std::str::from_utf8(text).unwrap().replace('\n', "\r\n"))?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_and_a_bar_share_a_terminal() {
        let terminal = InMemoryTerm::new(10, 80);
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        let bar = bar_of(&bars, 25);
        let mut lines = Lines { bars: Some(bars), out: Terminal(terminal.clone()) };
        bar.set_message("seo is ready");
        bar.set_position(3);
        bar.force_draw();
        for line in ["INFO one\n", "INFO two\n"] {
            lines.write_all(line.as_bytes()).unwrap();
            bar.force_draw();
        }
        let shown: Vec<String> = terminal.contents().lines().map(str::to_owned).collect();
        assert_eq!(shown[..2], ["INFO one", "INFO two"]);
        assert!(shown.len() == 3 && shown[2].ends_with(" 3/25 seo is ready"), "{shown:?}");
        bar.finish_and_clear();
        assert_eq!(terminal.contents(), "INFO one\nINFO two");
    }
}
