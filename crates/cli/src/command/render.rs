//! `tapline render`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use crate::app::App;

pub(crate) async fn run(app: &App, id: &str) -> Result<ExitCode> {
    let page = app.server().item_page(id).await?;
    io::stdout().write_all(page.html.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
