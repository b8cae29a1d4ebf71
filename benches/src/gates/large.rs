//! Components of any size: functions of plain arithmetic, and data.

use std::fmt::Write as _;

use anyhow::Result;

use crate::taps::WAITING;

/// A component of about `bytes` bytes that implements [`Idle`](crate::taps::Idle). Four fifths of it are code. Two seeds
/// give two components.
pub(super) fn component(bytes: usize, seed: u32) -> Result<Vec<u8>> {
    // What `step` below comes to in the file: four instructions, their numbers in two or three bytes.
    const STEP: usize = 10;
    const STEPS: usize = 25;
    let functions = (bytes * 4 / 5 / (STEP * STEPS)).max(1);
    let mut text = String::with_capacity(bytes * 8);
    text.push_str("(component (core module $m (memory 4)\n");
    for function in 0..functions {
        write!(text, "(func $f{function} (param i32) (result i32) local.get 0")?;
        for step in 0..STEPS {
            let number = (function * STEPS + step) % 8000 + 200;
            write!(text, " i32.const {number} i32.add i32.const {} i32.mul i32.const 1 i32.rotl", number | 1)?;
        }
        text.push_str(")\n");
    }
    // A different function for each argument, so that none can be left out.
    text.push_str("(table funcref (elem");
    for function in 0..functions.min(900) {
        write!(text, " $f{function}")?;
    }
    let count = functions.min(900);
    write!(
        text,
        r#"))
           (type $step (func (param i32) (result i32)))
           (global $seed i32 (i32.const {seed}))
           (func (export "idle") (param $x i32) (result i32)
             (drop (call_indirect (type $step) (local.get $x) (i32.rem_u (local.get $x) (i32.const {count}))))
             (drop (global.get $seed))
             (local.get $x))
           (func (export "run") (param i32) (result i32) local.get 0)
           (data (i32.const 0) "{}"))
         (core instance $i (instantiate $m))
         (func $idle (param "milliseconds" u32) (result u32) (canon lift (core func $i "idle")))
         (func $run (param "milliseconds" u32) (result u32) (canon lift (core func $i "run")))
         (instance $e (export "idle" (func $idle)) (export "run" (func $run)))
         (export "{WAITING}" (instance $e)))"#,
        "0123456789abcdef".repeat((bytes / 5 / 16).min(12_000))
    )?;
    Ok(wat::parse_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::component;

    #[test]
    fn a_component_is_about_as_large_as_asked_for() {
        for bytes in [100_000, 1_000_000] {
            let made = component(bytes, 1).unwrap().len();
            assert!(made.abs_diff(bytes) * 5 < bytes, "{made} instead of {bytes}");
        }
    }

    #[test]
    fn seeds_give_different_components() {
        assert_ne!(component(1000, 1).unwrap(), component(1000, 2).unwrap());
        assert_eq!(component(1000, 3).unwrap(), component(1000, 3).unwrap());
    }
}
