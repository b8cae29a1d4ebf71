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
    check_actions(chromium, &panel)?;
    let explained = dom(chromium, &format!("{item}?explain"))?;
    ensure!(explained.contains("What the plugins did"), "{item}?explain explains nothing");
    println!("observability: the operator's page works in a browser, with its script and without");
    Ok(())
}

/// A plugin that is not replaced all the time, so that nothing else changes it.
const SWITCHED: &str = "seo";

/// What a button does shows in the browser, and another site cannot press it.
fn check_actions(chromium: &Path, panel: &str) -> Result<()> {
    let disabled = format!("{SWITCHED} stays loaded and is not called any more.");
    let foreign = std::env::temp_dir().join(format!("tapline-foreign-{}.html", std::process::id()));
    let form = format!(
        "<form method=post action=\"{panel}/plugins/{SWITCHED}/disable\"><input name=token value={}></form>\
         <script>document.forms[0].submit()</script>",
        token(panel)?
    );
    fs::write(&foreign, form).with_context(|| format!("cannot write {}", foreign.display()))?;
    // Even one that knew the token: the browser says where it comes from.
    let refused = dom(chromium, &format!("file://{}", foreign.display()));
    fs::remove_file(&foreign).with_context(|| format!("cannot remove {}", foreign.display()))?;
    ensure!(refused?.contains("Nothing was changed"), "a page of somebody else pressed a button of {panel}");

    let after = dom(chromium, &press(panel, "disable")?)?;
    for part in [disabled.as_str(), "role=\"status\"", "<span class=\"badge bad\">disabled</span>", "up to date"] {
        ensure!(after.contains(part), "{panel} lacks {part} after its button was pressed");
    }
    let after = dom(chromium, &press(panel, "enable")?)?;
    ensure!(after.contains(&format!("{SWITCHED} is called.")), "{panel} does not say that a plugin is called again");
    Ok(())
}

/// Presses a button as a browser does, and returns the address to which that leads.
fn press(panel: &str, action: &str) -> Result<String> {
    let origin = panel.trim_end_matches("/_tapline");
    let agent = ureq::Agent::config_builder().max_redirects(0).build().new_agent();
    let answer = agent
        .post(format!("{panel}/plugins/{SWITCHED}/{action}"))
        .header("origin", origin)
        .header("content-type", "application/x-www-form-urlencoded")
        .send(format!("token={}", token(panel)?))?;
    let location = answer.headers().get("location").context("a button that leads nowhere")?;
    Ok(format!("{origin}{}", location.to_str()?))
}

fn token(panel: &str) -> Result<String> {
    let page = ureq::get(panel).call()?.body_mut().read_to_string()?;
    let token = page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    token.map(str::to_owned).with_context(|| format!("{panel} has no form"))
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
