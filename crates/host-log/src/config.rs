//! What one call may log. An operator grants nothing here: the figures are the contract's, the same for every plugin.

/// The target of the events, for a subscriber's filter.
pub const TARGET: &str = "tapline::guest";

/// Longest line that is kept, in bytes of the guest's text. Characters that are escaped make the event longer.
pub const MAX_LINE_BYTES: usize = 4096;

/// Lines of one call that are kept. Those that no subscriber wants do not count.
pub const MAX_LINES: u32 = 100;
