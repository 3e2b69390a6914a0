//! Runs tables of tools and steps, prints each with its time, and counts.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::steps::{Each, Step};
use crate::tail;
use crate::tools::Tool;

/// Runs everything and prints `N passed, N failed` last; true if nothing failed.
///
/// A missing tool is a failure. What comes after a failure is still run, unless the user would not have tools installed.
///
/// # Errors
/// Only if the terminal cannot be read.
pub(crate) fn run(root: &Path, tools: &[Tool], steps: &[Step], yes: bool) -> Result<bool> {
    let mut runner = Runner { root, passed: 0, failed: Vec::new() };
    if runner.provide(tools, yes)? {
        for step in steps {
            runner.step(step);
        }
    }
    for failure in &runner.failed {
        println!("\n== {}: the end of what it printed", failure.name);
        failure.printed.iter().for_each(|line| println!("{line}"));
    }
    for failure in &runner.failed {
        println!("failed: {}", failure.name);
    }
    println!("{} passed, {} failed", runner.passed, runner.failed.len());
    Ok(runner.failed.is_empty())
}

struct Runner<'a> {
    root: &'a Path,
    passed: u32,
    failed: Vec<Failure>,
}

struct Failure {
    name: String,
    printed: Vec<String>,
}

/// The last lines that something printed that failed.
type Outcome = Result<(), Vec<String>>;

impl Runner<'_> {
    /// Checks the tools and installs what is missing; false if the user declined.
    fn provide(&mut self, tools: &[Tool], yes: bool) -> Result<bool> {
        let missing: Vec<_> = tools.iter().filter(|tool| !self.has(tool)).collect();
        if !missing.is_empty() {
            println!("Missing:");
        }
        for tool in &missing {
            println!("  {}, for {}; to be installed by", tool.name, tool.why);
            tool.install.iter().for_each(|command| println!("    {}", line(&[], &with_sudo(command))));
        }
        let agreed = missing.is_empty() || yes || ask("Install? [y/N] ")?;
        for tool in missing {
            let mut install =
                tool.install.iter().map(|command| self.execute(tool.name, &[], &with_sudo(command)));
            let installed = if agreed { install.try_for_each(|outcome| outcome) } else { Err(Vec::new()) };
            let missing = || vec![format!("{} is still missing", tool.name)];
            let installed = installed.and_then(|()| self.has(tool).then_some(()).ok_or_else(missing));
            self.count(format!("tool: {}", tool.name), installed);
        }
        Ok(agreed)
    }

    fn has(&self, tool: &Tool) -> bool {
        let [program, arguments @ ..] = tool.check else { return false };
        Command::new(program)
            .args(arguments)
            .current_dir(self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn step(&mut self, step: &Step) {
        if step.each == Each::Once {
            let passed = self.execute(step.name, step.env, step.command);
            self.count(step.name.to_owned(), passed);
            return;
        }
        let items = items(self.root, step.each);
        if items.is_empty() {
            println!("{}: there is nothing to run it for", step.name);
            self.count(step.name.to_owned(), Err(Vec::new()));
        }
        for item in items {
            let command: Vec<_> =
                step.command.iter().map(|word| if *word == "{}" { &item } else { *word }).collect();
            let name = format!("{}: {item}", step.name);
            let passed = self.execute(&name, step.env, &command);
            self.count(name, passed);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "how long a step takes on this machine is what is printed")]
    fn execute(&self, name: &str, env: &[(&str, &str)], command: &[&str]) -> Outcome {
        let [program, arguments @ ..] = command else { return Err(Vec::new()) };
        println!("\n== {name}\n$ {}", line(env, command));
        let started = Instant::now();
        let command = &mut Command::new(program);
        let ended = tail::run(command.args(arguments).envs(env.iter().copied()).current_dir(self.root));
        let seconds = started.elapsed().as_secs_f64();
        match ended {
            Ok((status, _)) if status.success() => {
                println!("== {name}: ok in {seconds:.1} s");
                Ok(())
            }
            Ok((status, printed)) => {
                println!("== {name}: FAILED in {seconds:.1} s, {status}");
                Err(printed)
            }
            Err(error) => {
                println!("== {name}: FAILED, {program} cannot be run: {error}");
                Err(vec![error.to_string()])
            }
        }
    }

    fn count(&mut self, name: String, outcome: Outcome) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(printed) => self.failed.push(Failure { name, printed }),
        }
    }
}

/// What a step is run for, sorted. A folder that is not there holds nothing.
fn items(root: &Path, each: Each) -> Vec<String> {
    let (folder, extension) = match each {
        Each::Once => return Vec::new(),
        Each::Scenario => ("scenarios", "toml"),
        Each::FuzzTarget => ("fuzz/fuzz_targets", "rs"),
    };
    let paths =
        std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: std::path::PathBuf| {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        let wanted = path.extension().is_some_and(|found| found == extension);
        wanted.then(|| if each == Each::Scenario { format!("{folder}/{stem}.{extension}") } else { stem })
    };
    let mut items: Vec<_> = paths.filter_map(name).collect();
    items.sort();
    items
}

/// A command as one would type it.
fn line(env: &[(&str, &str)], command: &[&str]) -> String {
    let quote = |word: &str| {
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=+./:,".contains(c));
        if plain { word.to_owned() } else { format!("'{word}'") }
    };
    let env = env.iter().map(|(name, value)| format!("{name}={}", quote(value)));
    env.chain(command.iter().map(|word| quote(word))).collect::<Vec<_>>().join(" ")
}

fn with_sudo<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let root = || {
        let id = Command::new("id").arg("-u").output();
        id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
    };
    let sudo = command.first() == Some(&"apt-get") && !root();
    sudo.then_some("sudo").into_iter().chain(command.iter().copied()).collect()
}

/// Asks on the terminal; anything but yes, also the end of the input, is no.
fn ask(question: &str) -> Result<bool> {
    print!("{question}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        println!("(nobody answers; --yes installs without asking)");
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(command: &'static [&'static str]) -> Step {
        Step { name: "step", command, env: &[("NAME", "a value")], each: Each::Once }
    }

    #[test]
    fn failures_are_counted_and_do_not_stop_the_rest() {
        let mut runner = Runner { root: crate::root(), passed: 0, failed: Vec::new() };
        for step in
            [once(&["false"]), once(&["no-such-program"]), once(&["sh", "-c", "test \"$NAME\" = 'a value'"])]
        {
            runner.step(&step);
        }
        assert_eq!((runner.passed, runner.failed.len()), (1, 2));
    }

    #[test]
    fn a_failure_keeps_what_it_printed() {
        let mut runner = Runner { root: crate::root(), passed: 0, failed: Vec::new() };
        runner.step(&once(&["sh", "-c", "echo why; false"]));
        assert_eq!(runner.failed[0].printed, ["why"]);
    }

    #[test]
    fn a_tool_that_stays_missing_is_a_failure() {
        let tool = Tool { name: "unicorn", why: "a test", check: &["false"], install: &[&["true"]] };
        let passed = run(crate::root(), &[tool], &[once(&["true"])], true).expect("nobody is asked");
        assert!(!passed);
    }

    #[test]
    fn nothing_to_repeat_a_step_for_is_a_failure() {
        let mut runner = Runner { root: Path::new("/nowhere"), passed: 0, failed: Vec::new() };
        runner.step(&Step { each: Each::Scenario, ..once(&["true", "{}"]) });
        assert_eq!((runner.passed, runner.failed.len()), (0, 1));
        assert!(items(crate::root(), Each::FuzzTarget).contains(&"ws_decoder".to_owned()));
    }

    #[test]
    fn commands_are_printed_as_one_would_type_them() {
        let printed = line(&[("RUSTDOCFLAGS", "-D warnings")], &["cargo", "doc", "--no-deps"]);
        assert_eq!(printed, "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn every_repeated_step_has_a_place_for_its_item() {
        for step in crate::steps::TEST.iter().chain(crate::steps::NIGHTLY) {
            assert_eq!(step.command.contains(&"{}"), step.each != Each::Once, "{}", step.name);
        }
    }
}
