//! The program as a child that listens, and that ends with us.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// How long the program may take until it listens. It compiles every plugin first, in a debug build.
const START: Duration = Duration::from_secs(120);

/// How long it may take to end.
const STOP: Duration = Duration::from_secs(10);

const READY: &str = "listening on ";

/// A running `tapline serve`. Dropped without [`stop`](Server::stop), it is killed.
pub(crate) struct Server {
    child: Child,
    /// As `http://127.0.0.1:8380`.
    pub(crate) address: String,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{}` does not start", workspace::spell(command)))?;
        let output = child.stdout.take().context("the output of the program")?;
        let mut server = Self { child, address: String::new() };
        server.address = first_address(output)?;
        Ok(server)
    }

    /// Asks it to end, as an operator would, and gives an error if it does not end in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        ask_to_end(&mut self.child)?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                // A program that catches the signal chooses its status; one that does not has none.
                if cfg!(unix) && !status.success() {
                    bail!("the server did not end in good order: {status}");
                }
                return Ok(());
            }
            if asked.elapsed() > STOP {
                bail!("the server did not end within {} s of being asked", STOP.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already after `stop`; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn ask_to_end(child: &mut Child) -> Result<()> {
    // Every shell has `kill`; the program of that name is not on every machine.
    workspace::run(Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]))
}

#[cfg(not(unix))]
fn ask_to_end(child: &mut Child) -> Result<()> {
    Ok(child.kill()?)
}

/// Waits for the line with the address, then passes on everything else, so that the program never waits for a reader.
fn first_address(output: ChildStdout) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.strip_prefix(READY) {
                // Nobody listens any more when the wait is over.
                Some(address) => drop(sender.send(address.trim().to_owned())),
                None => eprintln!("{line}"),
            }
        }
    });
    match receiver.recv_timeout(START) {
        Ok(address) => Ok(address),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            bail!("the server does not listen after {} s", START.as_secs())
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the server ended before it listened"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Server> {
        Server::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn it_is_ready_when_it_says_so_and_ends_when_asked() {
        let server =
            shell("trap 'exit 0' TERM; echo starting; echo listening on http://x:1; while :; do sleep 0.05; done");
        let server = server.unwrap();
        assert_eq!(server.address, "http://x:1");
        server.stop().unwrap();
    }

    #[test]
    fn an_end_in_disorder_is_an_error() {
        let server = shell("trap 'exit 3' TERM; echo listening on http://x:1; while :; do sleep 0.05; done").unwrap();
        assert!(server.stop().unwrap_err().to_string().contains("good order"));
    }

    #[test]
    fn a_server_that_never_listens_is_an_error() {
        let Err(error) = shell("echo no port left") else { panic!("it started") };
        assert_eq!(error.to_string(), "the server ended before it listened");
    }
}
