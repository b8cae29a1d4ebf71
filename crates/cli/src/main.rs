//! Starts the program; `lib.rs` says what it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapline_cli::run()
}
