//! Runs a command, passes on what it prints and keeps the last lines of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// So many lines are kept.
pub(crate) const LINES: usize = 120;
/// A process that a command leaves behind may hold its output open; nothing more is read after this long.
const GRACE: Duration = Duration::from_secs(5);

/// Both outputs go to standard output, line by line, and the last [`LINES`] come back with how the command ended.
///
/// The command reads no input: a program that asks a question gets the end of the file and not the user.
///
/// # Errors
/// If the command cannot be started, or no pipe can be made.
pub(crate) fn run(command: &mut Command) -> std::io::Result<(ExitStatus, Vec<String>)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds both writing ends, and the output would never end while it is there.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, lines) = channel();
    std::thread::spawn(move || pass_on(reader, &sender));
    let mut kept = VecDeque::new();
    let status = loop {
        if !take(&lines, Duration::from_millis(50), &mut kept) {
            break child.wait()?;
        }
        if let Some(status) = child.try_wait()? {
            while take(&lines, GRACE, &mut kept) {}
            break status;
        }
    };
    Ok((status, kept.into()))
}

fn pass_on(reader: PipeReader, lines: &Sender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // Nobody to read it is no reason to stop the command.
        let _ = std::io::stdout().write_all(&line);
        if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Waits for a line; false if there will be none, or, in the end, if none came in time.
fn take(lines: &Receiver<String>, within: Duration, kept: &mut VecDeque<String>) -> bool {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    match lines.recv_timeout(within) {
        Ok(line) => {
            if kept.len() == LINES {
                kept.pop_front();
            }
            kept.push_back(line);
            true
        }
        Err(Timeout) => within < GRACE,
        Err(Disconnected) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (ExitStatus, Vec<String>) {
        run(Command::new("sh").args(["-c", script])).expect("a shell")
    }

    #[test]
    fn both_outputs_are_kept_in_order() {
        let (status, lines) = shell("echo one; echo two >&2; echo three; exit 3");
        assert_eq!((status.code(), lines), (Some(3), ["one", "two", "three"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let (_, lines) = shell("seq 130");
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (LINES, Some("130")));
    }

    #[test]
    fn a_process_left_behind_holds_nobody() {
        let (status, lines) = shell("sleep 60 & echo $!");
        assert!(status.success());
        let left = lines.first().expect("its id");
        Command::new("kill").arg(left).status().expect("it is ended");
    }
}
