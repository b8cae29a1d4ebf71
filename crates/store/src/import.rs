//! Reads documents into a store.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use tapline_content::Item;
use tapline_host_core::{CallError, Host};

use crate::{
    document::{DocumentError, MAX_DOCUMENT, parse_json_line, parse_markdown, slug},
    error::StoreError,
    save::Outcome,
    store::Store,
};

/// What an import came to.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// Items that are new.
    pub inserted: usize,
    /// Items that have changed.
    pub updated: usize,
    /// Items that were stored already as they are now.
    pub unchanged: usize,
    /// Documents that could not be imported. What is stored under their identifiers is as it was.
    pub bad: Vec<Bad>,
    /// Plugins that failed when they were told of an item that was stored.
    pub failures: Vec<CallError>,
    /// Files that were not tried, because the database itself failed before.
    pub not_tried: usize,
}

impl ImportReport {
    /// The items that are stored now as their documents say.
    #[must_use]
    pub fn items(&self) -> usize {
        self.inserted + self.updated + self.unchanged
    }
}

/// A document that could not be imported.
#[derive(Debug)]
pub struct Bad {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub error: StoreError,
}

/// How far an import is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file that comes next.
    pub path: &'a Path,
    /// Files that are done.
    pub done: usize,
    /// All files.
    pub total: usize,
}

/// Imports documents: `paths` are Markdown files (`.md`), files with one JSON item per line (`.jsonl`), and directories,
/// in which every Markdown file is found, in the order of their names.
///
/// An item that was imported before is saved anew; a save that changes nothing writes nothing. A document that cannot
/// be imported is reported, and the rest goes on; only a database that fails ends the import. Items whose documents are
/// gone stay.
///
/// The identifier of a Markdown document that names none is its path from the imported directory (a file that is named
/// itself: its own name), without the extension, in lower case, with `-` for what an identifier cannot have. The store
/// keeps the path, from the working directory if the file is below it, so that links between documents can be followed.
///
/// Files are read on the calling thread. Largest document: [`MAX_DOCUMENT`].
///
/// # JSON lines
///
/// ```json
/// {"id": "a", "title": "A", "kind": "note", "author": "Ada", "published": true, "created": "2026-01-31",
///  "fields": {"body": {"format": "markdown", "text": "…"}, "tags": ["x", "y"], "views": 12,
///             "image": {"kind": "file", "id": "a.png", "label": "A picture"}}}
/// ```
///
/// on one line. Only `id` and `title` must be there. Text, numbers, `true`, `false` and `null` are what they are;
/// an object of `format` and `text` is formatted text, one of `kind`, `id` and perhaps `label` a reference, a list of
/// those a list of references; everything else is kept as JSON.
pub async fn import(
    store: &Store,
    host: &Host,
    paths: &[PathBuf],
    mut progress: impl FnMut(Progress<'_>),
) -> ImportReport {
    let mut run = Import { store, host, seen: HashMap::new(), report: ImportReport::default(), broken: false };
    let mut files = Vec::new();
    for path in paths {
        if let Err((path, error)) = find(path, path, &mut files) {
            run.bad(&path, None, DocumentError::Read(error));
        }
    }
    for (done, file) in files.iter().enumerate() {
        if run.broken {
            run.report.not_tried = files.len() - done;
            break;
        }
        progress(Progress { path: &file.path, done, total: files.len() });
        match file.path.extension().and_then(|extension| extension.to_str()) {
            Some("md") => run.markdown(file).await,
            Some("jsonl") => run.json_lines(&file.path).await,
            _ => run.bad(&file.path, None, DocumentError::UnknownKind),
        }
    }
    run.report
}

struct Source {
    path: PathBuf,
    /// The path from which the identifier is made.
    name: PathBuf,
}

/// Finds the files below `path`, sorted. Directories that are symbolic links are left out: they could lead in a circle.
fn find(root: &Path, path: &Path, files: &mut Vec<Source>) -> Result<(), (PathBuf, std::io::Error)> {
    let failed = |error| (path.to_owned(), error);
    let named = path == root;
    let kind = if named { fs::metadata(path) } else { fs::symlink_metadata(path) }.map_err(failed)?;
    if !kind.is_dir() {
        let is_document = path.extension().is_some_and(|extension| extension == "md");
        if named || (is_document && !fs::metadata(path).is_ok_and(|target| target.is_dir())) {
            let base = if named { path.parent() } else { Some(root) };
            let name = base.and_then(|base| path.strip_prefix(base).ok()).unwrap_or(path);
            files.push(Source { path: path.to_owned(), name: name.to_owned() });
        }
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    paths.iter().try_for_each(|path| find(root, path, files))
}

struct Import<'a> {
    store: &'a Store,
    host: &'a Host,
    /// The identifiers of this import, with the files that have them.
    seen: HashMap<String, PathBuf>,
    report: ImportReport,
    broken: bool,
}

impl Import<'_> {
    fn bad(&mut self, path: &Path, line: Option<usize>, error: impl Into<StoreError>) {
        let error = error.into();
        self.broken |= error.is_of_the_database();
        let known = match &error {
            StoreError::Document(error) => error.line(),
            _ => None,
        };
        self.report.bad.push(Bad { path: path.to_owned(), line: line.or(known), error });
    }

    async fn markdown(&mut self, file: &Source) {
        let id = slug(&file.name.with_extension("").to_string_lossy());
        let name = file.path.file_stem().unwrap_or_default().to_string_lossy();
        let read = read_document(&file.path).and_then(|text| parse_markdown(&text, &id, &name));
        let saved = match read {
            Ok(item) => self.save(item, &file.path).await,
            Err(error) => Err(error.into()),
        };
        let kept = match saved {
            Ok(id) => self.store.set_path(&id, &stored_path(&file.path)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.bad(&file.path, None, error);
        }
    }

    async fn json_lines(&mut self, path: &Path) {
        let mut reader = match open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) => return self.bad(path, None, error),
        };
        let mut any = false;
        for number in 1.. {
            let mut line = Vec::new();
            // One byte more than is allowed tells a line that is too long.
            match reader.by_ref().take(MAX_DOCUMENT + 1).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(read) if read as u64 > MAX_DOCUMENT => {
                    // The rest of the line would be read as lines of its own.
                    return self.bad(path, Some(number), DocumentError::TooLarge { bytes: read as u64 });
                }
                Ok(_) => {}
                Err(error) => return self.bad(path, Some(number), DocumentError::Read(error)),
            }
            let text = match utf8(line) {
                Ok(text) => text,
                Err(error) => {
                    self.bad(path, Some(number), error);
                    continue;
                }
            };
            if text.trim().is_empty() {
                continue;
            }
            any = true;
            let saved = match parse_json_line(&text) {
                Ok(item) => self.save(item, path).await.map(drop),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = saved {
                self.bad(path, Some(number), error);
                if self.broken {
                    return;
                }
            }
        }
        if !any && !self.report.bad.iter().any(|bad| bad.path == path) {
            self.bad(path, None, DocumentError::Empty);
        }
    }

    async fn save(&mut self, item: Item, path: &Path) -> Result<String, StoreError> {
        let id = item.header().id.to_string();
        if let Some(first) = self.seen.get(&id) {
            return Err(DocumentError::Duplicate { id, first: first.clone() }.into());
        }
        self.seen.insert(id.clone(), path.to_owned());
        let saved = self.store.save(self.host, item).await?;
        self.report.failures.extend(saved.failures);
        *match saved.outcome {
            Outcome::Inserted => &mut self.report.inserted,
            Outcome::Updated => &mut self.report.updated,
            Outcome::Unchanged => &mut self.report.unchanged,
        } += 1;
        Ok(id)
    }
}

/// Opens a file. To open a pipe is to wait for whoever writes to it, and a device may never end.
fn open(path: &Path) -> Result<File, DocumentError> {
    let is_file = fs::metadata(path).map_err(DocumentError::Read)?.is_file();
    if !is_file {
        return Err(DocumentError::Read(std::io::Error::new(ErrorKind::InvalidInput, "it is no file")));
    }
    File::open(path).map_err(DocumentError::Read)
}

fn read_document(path: &Path) -> Result<String, DocumentError> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(DocumentError::Read)?;
    if metadata.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge { bytes: metadata.len() });
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(DocumentError::Read)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge { bytes: bytes.len() as u64 });
    }
    utf8(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, DocumentError> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        DocumentError::NotUtf8 { line, offset }
    })
}

/// A path as the store keeps it: from the working directory where that is possible, without `.` and `..`, with `/`.
fn stored_path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir if parts.last().is_some_and(|last| last != "..") => drop(parts.pop()),
            Component::CurDir => {}
            Component::RootDir => parts.push(String::new()),
            other => parts.push(other.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_paths() {
        assert_eq!(stored_path(Path::new("./docs/../README.md")), "README.md");
        assert_eq!(stored_path(Path::new("../x/a.md")), "../x/a.md");
        assert_eq!(stored_path(Path::new("/nowhere/a.md")), "/nowhere/a.md");
        let here = std::env::current_dir().unwrap();
        assert_eq!(stored_path(&here.join("docs/a.md")), "docs/a.md");
    }
}
