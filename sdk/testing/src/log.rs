//! The log, captured.

use std::{cell::RefCell, mem, rc::Rc};

use tapline_sdk::{double, log::Level};

/// A line that a plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// Runs `body` and gives the lines that this thread wrote meanwhile. All levels are enabled.
pub fn capture_log(body: impl FnOnce()) -> Vec<Line> {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    double::log::with(move |level, message| sink.borrow_mut().push(Line { level, message: message.to_owned() }), body);
    mem::take(&mut *lines.borrow_mut())
}

#[cfg(test)]
mod tests {
    use std::panic;

    use tapline_sdk::log;

    use super::*;

    #[test]
    fn lines_are_captured_only_inside() {
        log::info("before");
        let lines = capture_log(|| log::warn!("{} of {}", 1, 2));
        log::info("after");
        assert_eq!(lines, [Line { level: Level::Warn, message: "1 of 2".to_owned() }]);
    }

    #[test]
    fn captures_nest() {
        let outer = capture_log(|| {
            let inner = capture_log(|| log::error("inner"));
            assert_eq!(inner.len(), 1);
            log::debug("outer");
        });
        assert_eq!(outer, [Line { level: Level::Debug, message: "outer".to_owned() }]);
    }

    #[test]
    fn a_panic_ends_the_capture() {
        let outer = capture_log(|| {
            let _ = panic::catch_unwind(|| capture_log(|| panic!("on purpose")));
            log::info("still here");
        });
        assert_eq!(outer.len(), 1);
    }
}
