//! Test, files: doing to the file system, the clock and its own streams what the item says.
//!
//! The field `do` holds one command for each line. The answer holds what came of each, in lines as well: `ok` with what
//! was found, or `error` with the number that WASI gave.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    thread,
    time::{Duration, SystemTime},
};

use tapline_sdk::{Item, RenderElement, tap};

#[tap]
fn item_view(item: &Item) -> RenderElement {
    let mut files = Vec::new();
    let answers = item.text("do").unwrap_or_default().lines().map(|command| match act(command, &mut files) {
        Ok(found) => format!("ok {found}"),
        Err(error) => match error.raw_os_error() {
            Some(number) => format!("error {number}"),
            None => format!("error {error}"),
        },
    });
    RenderElement::element("pre").text(answers.collect::<Vec<_>>().join("\n"))
}

fn act(command: &str, files: &mut Vec<File>) -> io::Result<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().map_err(io::Error::other);
    let bytes = |word: &str| number(word).map(|length| vec![b'x'; length as usize]);
    let done = |()| String::new();
    match words[..] {
        ["read", path] => fs::read_to_string(path),
        ["size", path] => fs::metadata(path).map(|found| found.len().to_string()),
        ["list", path] => {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            let mut names = entries.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names.join(" "))
        }
        ["write", path, length] => File::create(path)?.write_all(&bytes(length)?).map(done),
        ["write-at", path, position, length] => {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            file.seek(SeekFrom::Start(number(position)?))?;
            file.write_all(&bytes(length)?).map(done)
        }
        ["append", path, length] => {
            OpenOptions::new().append(true).create(true).open(path)?.write_all(&bytes(length)?).map(done)
        }
        ["set-size", path, length] => OpenOptions::new().write(true).open(path)?.set_len(number(length)?).map(done),
        ["open", path] => File::open(path).map(|file| {
            files.push(file);
            files.len().to_string()
        }),
        ["close"] => {
            files.pop();
            Ok(files.len().to_string())
        }
        ["remove", path] => fs::remove_file(path).map(done),
        ["make-directory", path] => fs::create_dir(path).map(done),
        ["rename", from, to] => fs::rename(from, to).map(done),
        ["link", from, to] => fs::hard_link(from, to).map(done),
        ["symlink", target, path] => symlink(target, path).map(done),
        ["environment"] => Ok(env::vars_os().count().to_string()),
        ["arguments"] => Ok(env::args_os().count().to_string()),
        ["input"] => io::stdin().read_to_end(&mut Vec::new()).map(|length| length.to_string()),
        ["print", text] => writeln!(io::stdout(), "{text}").map(done),
        ["complain", text] => writeln!(io::stderr(), "{text}").map(done),
        ["flood", lines] => {
            for _ in 0..number(lines)? {
                io::stdout().write_all(b"all work and no play\n")?;
            }
            Ok(String::new())
        }
        ["now"] => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
            Ok(now.as_secs().to_string())
        }
        ["sleep", seconds] => {
            thread::sleep(Duration::from_secs(number(seconds)?));
            Ok(String::new())
        }
        ["exit", status] => std::process::exit(number(status)? as i32),
        _ => Err(io::Error::other("no such command")),
    }
}

#[expect(deprecated, reason = "the functions that replace it are not stable for WASI")]
fn symlink(target: &str, path: &str) -> io::Result<()> {
    fs::soft_link(target, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_command() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a").display().to_string();
        let commands = format!("write {file} 3\nappend {file} 2\nread {file}\nread {file}.none\nxyzzy");
        let answer = item_view(&Item::builder("a").field("do", commands.as_str()).build());
        assert_eq!(answer.to_text(), "ok \nok \nok xxxxx\nerror 2\nerror no such command");
    }
}
