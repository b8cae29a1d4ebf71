//! The operator's page in a browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::quiet;

/// What a browser does before it shows what it has: longer than the page's script needs to bring it up to date.
const PATIENCE_MS: u32 = 5_000;

/// A width of phones, and one of tables.
const PHONE: &str = "390,844";
const DESK: &str = "1100,1400";

/// In the words of Chromium's switch: dark is 0.
const DARK: &str = "--blink-settings=preferredColorScheme=0";

pub(super) fn check(chromium: &Path, address: &str, item: &str) -> Result<()> {
    let panel = format!("{address}/_tapline");
    let with = dom(chromium, &panel)?;
    ensure!(with.contains("up to date"), "the script of {panel} did not run");
    // Who runs no script has the page as it is served.
    let without = ureq::get(&panel).call()?.body_mut().read_to_string()?;
    ensure!(without.contains("as it was when you asked for it"), "{panel} does not say how old it is");
    for (page, shown) in [("with its script", &with), ("without its script", &without)] {
        for part in ["<h2 id=\"plugin-seo\"", "<th scope=\"row\">item_view</th>", "Order of the taps", "closed"] {
            ensure!(shown.contains(part), "{panel} lacks {part} {page}");
        }
    }
    let explained = dom(chromium, &format!("{item}?explain"))?;
    ensure!(explained.contains("What the plugins did"), "{item}?explain explains nothing");
    println!("observability: the operator's page works in a browser, with its script and without");
    Ok(())
}

pub(super) fn screenshots(chromium: &Path, address: &str, item: &str, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let panel = format!("{address}/_tapline");
    let explained = format!("{item}?explain#explained");
    for (name, url, size, switches) in [
        ("panel", &panel, DESK, &[][..]),
        ("panel-phone-dark", &panel, PHONE, &[DARK]),
        ("explain", &explained, DESK, &[]),
    ] {
        let file = directory.join(name).with_extension("png");
        let mut command = headless(chromium);
        command.args(switches).arg(format!("--window-size={size}")).arg(format!("--screenshot={}", file.display()));
        let status = quiet(command.arg(url), &directory.join("chromium.log"))?.status()?;
        ensure!(status.success() && file.exists(), "chromium made no picture of {url}");
        println!("observability: {}", file.display());
    }
    fs::remove_file(directory.join("chromium.log")).context("the log of chromium")
}

/// The page as the browser has it in the end.
fn dom(chromium: &Path, url: &str) -> Result<String> {
    let output = headless(chromium).args(["--dump-dom", url]).output().context("chromium does not start")?;
    ensure!(output.status.success(), "chromium failed at {url}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn headless(chromium: &Path) -> Command {
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    command.arg(format!("--virtual-time-budget={PATIENCE_MS}"));
    // Chromium refuses to run as root with its sandbox. It opens pages of this repository only.
    if is_root() {
        command.arg("--no-sandbox");
    }
    command
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
