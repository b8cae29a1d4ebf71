//! One call: a module from a file, a function by its name.
//!
//! ```text
//! cargo run -p tapline-function --example one_call -- FILE.wasm 'fibonacci(10)'
//! ```

use std::{env, error::Error};

use tapline_function::{Runtime, Sandbox};
use tapline_host_core::{Host, HostConfig, limits::Preset};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(call)) = (arguments.next(), arguments.next()) else {
        return Err("usage: one_call FILE.wasm 'fibonacci(10)'".into());
    };
    // What a stranger's module may use: 5 seconds, 32 MiB, a million units of fuel.
    let config = HostConfig { pool_size: 1, limits: Preset::Untrusted.limits(), ..HostConfig::default() };
    let runtime = Runtime::new(Host::builder().config(config), Sandbox::default())?;
    let module = runtime.load_file(&file, None).await?;
    let answer = module.call(&call).await?;
    #[expect(clippy::print_stdout, reason = "an example shows what it found")]
    {
        println!("{}", answer.text());
        println!("fuel {}", answer.fuel.unwrap_or_default());
    }
    Ok(())
}
