//! `tapline explain`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use crate::{app::App, keys::nearest, report::Hint};

pub(crate) fn run(app: &App, tap: &str) -> Result<ExitCode> {
    let known: Vec<&str> = app.host.taps().map(|known| known.tap().as_str()).collect();
    if !known.contains(&tap) {
        let hint = match nearest(tap, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the taps are {}", known.join(", ")),
        };
        return Err(Hint { message: format!("there is no tap `{tap}`"), hint }.into());
    }
    let text = match app.host.order(tap) {
        Some(order) => order.explain(),
        None => format!("{tap}: no handlers\n"),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
