//! Concurrent calls: more of them than the pool has slots, and one that never ends among them.
//!
//! ```text
//! cargo run -p tapline-function --example concurrent
//! ```

use std::{error::Error, time::Duration};

use futures_util::future::join_all;
use tapline_function::{Runtime, Sandbox};
use tapline_host_core::{Host, HostConfig, limits::Limits};

const MODULE: &str = r#"(module
    (func (export "square") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
    (func (export "forever") (loop $again (br $again))))"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::builder().max_execution_time(Duration::from_millis(300)).build()?;
    let config = HostConfig { pool_size: 4, limits, ..HostConfig::default() };
    let runtime = Runtime::new(Host::builder().config(config), Sandbox::default())?;
    let module = runtime.load("numbers", wat::parse_str(MODULE)?, None).await?;
    // A call that waits for a slot is in a queue with a bound; one that loops is stopped, and gives the others their turn.
    let calls: Vec<String> =
        (0..100).map(|number| format!("square({number})")).chain(["forever()".to_owned()]).collect();
    let answers = join_all(calls.iter().map(|call| module.call(call))).await;
    let sum: u32 = answers.iter().flatten().filter_map(|answer| answer.text().parse::<u32>().ok()).sum();
    #[expect(clippy::print_stdout, reason = "an example shows what it found")]
    {
        println!("the squares add up to {sum}");
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            println!("{error}");
        }
    }
    runtime.close(Duration::from_secs(1)).await;
    Ok(())
}
