//! A batch: many calls of one function with values of the program, one after the other, each on memory of its own.
//!
//! ```text
//! cargo run -p tapline-function --example batch
//! ```

use std::error::Error;

use tapline_function::{Runtime, Sandbox, Val};
use tapline_host_core::{Host, HostConfig};

/// Euclid's algorithm.
const MODULE: &str = r#"(module
    (func $gcd (export "gcd") (param i64 i64) (result i64)
        (if (result i64) (i64.eqz (local.get 1))
            (then (local.get 0))
            (else (call $gcd (local.get 1) (i64.rem_s (local.get 0) (local.get 1)))))))"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = HostConfig { pool_size: 1, ..HostConfig::default() };
    let runtime = Runtime::new(Host::builder().config(config), Sandbox::default())?;
    let module = runtime.load("numbers", wat::parse_str(MODULE)?, None).await?;
    let mut coprime = 0;
    for a in 1..=30 {
        for b in 1..=30 {
            let answer = module.execute("gcd", &[Val::S64(a), Val::S64(b)]).await?;
            coprime += i32::from(matches!(answer.value, Some(Val::S64(1))));
        }
    }
    #[expect(clippy::print_stdout, reason = "an example shows what it found")]
    {
        println!("{coprime} of 900 pairs have no common divisor");
    }
    Ok(())
}
