//! A shop with an extension point of its own: what a host integrator writes.
//!
//! The contract is `shop.wit`, beside this file; the plugin is `plugins/discount`. Build it and run the shop:
//!
//! ```text
//! cargo xtask build-plugins
//! cargo run -p tapline-host-core --example own_tap
//! ```

use std::{error::Error, process::ExitCode};

use tapline_host_core::{
    Call, CallError, Collect, Compilation, CompileWorker, Host, HostConfig, Interface, PluginName, PluginSpec,
    Signature, Tap, compile_worker,
};
use wasmtime::component::{ComponentType, Lower};

/// A shopping cart: the shop's own type. It crosses to the plugin as it is.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Cart {
    customer: String,
    lines: Vec<Line>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Line {
    article: String,
    price: u64,
    quantity: u32,
}

/// The extension point. Every plugin may offer a discount.
struct Discount;

/// What the function in `shop.wit` takes and returns.
type Arguments<'a> = (&'a Cart,);
type Answer = (Result<u64, String>,);

impl Tap for Discount {
    const NAME: &'static str = "discount";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "acme:shop/discount@1.0.0", function: "discount", mode: "full" }];
    type Policy = Collect;
    type Input = Cart;
    type Answer = u64;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<Arguments<'_>, Answer>()
    }

    async fn call(call: &mut Call, cart: &Cart) -> Result<u64, CallError> {
        let (answer,) = call.invoke::<Arguments<'_>, Answer>((cart,)).await?;
        let cents = answer.map_err(|message| call.returned(&message))?;
        // Nothing that a guest returns is trusted.
        let total: u64 = cart.lines.iter().map(|line| line.price * u64::from(line.quantity)).sum();
        if cents > total {
            return Err(call.bad_answer(format!("a discount of {cents} on a cart of {total}")));
        }
        Ok(cents)
    }
}

/// The argument that makes this program a worker of itself.
const WORKER: &str = "compile-worker";

fn main() -> ExitCode {
    // Before anything else: a worker has no business with the rest of the program.
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return compile_worker();
    }
    match shop() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn shop() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "target/plugins/discount.wasm".to_owned());
    // Plugins of strangers are compiled in a process that can be killed.
    let worker = Some(CompileWorker::this_program(&[WORKER])?);
    let compilation = Compilation { worker, ..Compilation::default() };
    let config = HostConfig { compilation, ..HostConfig::default() };
    let host = Host::builder().config(config).tap::<Discount>().build()?;
    host.load(PluginSpec::file(PluginName::new("discount")?, path)).await?;

    let cart = Cart {
        customer: "Ada".to_owned(),
        lines: vec![
            Line { article: "pencil".to_owned(), price: 120, quantity: 25 },
            Line { article: "paper".to_owned(), price: 700, quantity: 1 },
        ],
    };
    let offers = host.dispatch(Discount, &cart).await?;
    for line in &cart.lines {
        say(&format!("{:>3} × {:<8} {:>5} cents", line.quantity, line.article, line.price));
    }
    for (plugin, cents) in &offers.answers {
        say(&format!("{plugin} takes {cents} cents off for {}", cart.customer));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the output of an example")]
fn say(line: &str) {
    println!("{line}");
}
