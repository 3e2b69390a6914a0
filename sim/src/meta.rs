//! Is the simulator itself repeatable? Two processes, one seed, every line of TRACE output compared.
//!
//! And would that notice? The same with a planted hash map whose order differs by process must differ.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context as _;

/// What comparing two runs showed.
#[derive(Debug)]
enum Compared {
    /// So many lines, all the same.
    Same(u64),
    /// The number of the first line that differs, from 1, and both lines.
    Differs(u64, String, String),
}

/// Runs both checks. True if the runs are the same, and the planted difference was noticed.
///
/// # Errors
/// A run cannot be started or read, or says nothing at all.
pub(crate) fn meta(path: &Path, seed: u64) -> anyhow::Result<bool> {
    let shown = path.display();
    let same = match compare(path, seed, &[])? {
        Compared::Same(lines) => {
            println!("{shown} seed {seed}: two processes wrote the same {lines} lines");
            lines > 0
        }
        Compared::Differs(line, a, b) => {
            println!("{shown} seed {seed}: two processes differ at line {line}:\n  {a}\n  {b}");
            false
        }
    };
    let noticed = match compare(path, seed, &["--planted-hash-iteration"])? {
        Compared::Differs(line, _, _) => {
            println!("planted hash-map iteration: noticed at line {line}");
            true
        }
        Compared::Same(lines) => {
            println!("planted hash-map iteration: NOT noticed in {lines} lines; this check is blind");
            false
        }
    };
    Ok(same && noticed)
}

fn compare(path: &Path, seed: u64, more: &[&str]) -> anyhow::Result<Compared> {
    let (mut a, mut lines_a) = start(path, seed, more)?;
    let (mut b, mut lines_b) = start(path, seed, more)?;
    let mut number = 0;
    let compared = loop {
        number += 1;
        match (lines_a.next().transpose()?, lines_b.next().transpose()?) {
            (None, None) => break Compared::Same(number - 1),
            (a, b) if a == b => {}
            (a, b) => {
                let ended = || "(the end)".to_owned();
                break Compared::Differs(number, a.unwrap_or_else(ended), b.unwrap_or_else(ended));
            }
        }
    };
    for child in [&mut a, &mut b] {
        // After a difference the rest is not read: the child would wait for its reader.
        if matches!(compared, Compared::Differs(..)) {
            let _ = child.kill();
        }
        child.wait().context("waiting for a run")?;
    }
    Ok(compared)
}

fn start(path: &Path, seed: u64, more: &[&str]) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.arg("run").arg(path).args(["--seed", &seed.to_string(), "--trace"]).args(more);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("starting a run")?;
    let stdout = child.stdout.take().context("a run without output")?;
    Ok((child, BufReader::new(stdout).lines()))
}

/// The mistake that the meta check must notice: an order that comes from a hash map with the kernel's randomness.
#[expect(clippy::disallowed_types, clippy::iter_over_hash_type, reason = "the mistake is the point")]
pub(crate) fn shuffled_by_a_hash_map<T: Clone + Send + 'static>(items: Vec<T>) -> Vec<T> {
    // A thread that was not seeded draws real randomness, as a Shield without the shim would.
    let state = std::thread::spawn(std::hash::RandomState::new).join().unwrap_or_default();
    let mut map = std::collections::HashMap::with_hasher(state);
    map.extend(items.into_iter().enumerate());
    let mut shuffled = Vec::new();
    for item in map.into_values() {
        shuffled.push(item);
    }
    shuffled
}
