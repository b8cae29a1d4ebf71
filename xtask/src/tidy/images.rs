//! A picture that no document shows is one that nobody keeps up to date.

use super::{Problem, Tree};

const IMAGES: &str = "docs/images/";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let documents = tree.texts(".md").filter(|(path, _)| *path == "README.md" || path.starts_with("docs/"));
    let documents: Vec<String> = documents.map(|(_, text)| text).collect();
    let mut problems = Vec::new();
    for path in &tree.paths {
        let Some(name) = path.strip_prefix(IMAGES) else { continue };
        let address = format!("images/{name}");
        if !documents.iter().any(|text| text.contains(&address)) {
            let fix = format!("show `{address}` in one of docs, or take it out");
            problems.push(Problem::new(path, "no document shows this picture", fix));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    const PICTURE: &str = "docs/images/panel.png";

    fn found(document: &str, text: &str) -> Vec<String> {
        let directory = Directory::new(&[(PICTURE, ""), (document, text)]);
        check(&directory.tree(&[PICTURE, document])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn some_document_shows_each_picture() {
        assert!(found("docs/operators.md", "![The page](images/panel.png)").is_empty());
        assert!(found("docs/gates/report.md", "![The page](../images/panel.png)").is_empty());
        assert!(found("README.md", "![The page](docs/images/panel.png)").is_empty());
    }

    #[test]
    fn others_are_named() {
        let wrong = [
            "docs/images/panel.png: no document shows this picture; show `images/panel.png` in one of docs, or take it out",
        ];
        assert_eq!(found("docs/operators.md", "![The page](images/big-panel.png)"), wrong);
        assert_eq!(found("CHANGELOG.md", "![The page](docs/images/panel.png)"), wrong);
        assert_eq!(found("docs/page.html", "images/panel.png"), wrong);
    }
}
