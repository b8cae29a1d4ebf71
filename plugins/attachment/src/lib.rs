//! Files capability: shows a text file from the granted directory beside its item.
//!
//! The field `attachment` of an item names the file. The operator grants the directory, here to read alone:
//!
//! ```toml
//! [plugins.attachment.grants]
//! files = { directories = [{ path = "attachments", at = "/attachments", access = "read" }] }
//! ```
//!
//! Whoever writes items chooses the name, and it is not checked here: no name leads out of a granted directory.

use std::{fs, path::Path};

use tapline_sdk::{Item, RenderElement, tap};

/// Where the operator's directory stands in this plugin's world.
const DIRECTORY: &str = "/attachments";

#[tap(fields = ["attachment"])]
fn item_view(item: &Item) -> Result<RenderElement, String> {
    show(Path::new(DIRECTORY), item.text("attachment"))
}

fn show(directory: &Path, name: Option<&str>) -> Result<RenderElement, String> {
    let Some(name) = name else { return Ok(RenderElement::empty()) };
    let text = fs::read_to_string(directory.join(name)).map_err(|error| format!("attachment `{name}`: {error}"))?;
    let caption = RenderElement::element("figcaption").text(name);
    Ok(RenderElement::element("figure")
        .class("attachment")
        .child(RenderElement::element("pre").text(text))
        .child(caption))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("poem.txt"), "Roses & <violets>").unwrap();
        assert_eq!(
            show(directory.path(), Some("poem.txt")).unwrap().to_html(),
            "<figure class=\"attachment\"><pre>Roses &amp; &lt;violets&gt;</pre><figcaption>poem.txt</figcaption></figure>"
        );
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let error = show(directory.path(), Some("poem.txt")).unwrap_err();
        assert!(error.starts_with("attachment `poem.txt`: "), "{error}");
    }

    #[test]
    fn an_item_without_one_shows_nothing() {
        assert_eq!(item_view(&Item::builder("a").build()), Ok(RenderElement::empty()));
    }
}
