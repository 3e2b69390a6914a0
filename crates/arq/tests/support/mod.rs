//! Runs `arq` once and shows what a user sees.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::Expect;

/// Runs `arq` where no dev bus is.
pub(crate) fn arq(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arq"))
        .args(args)
        .env("XDG_RUNTIME_DIR", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("arq runs")
}

/// Exit code, then what was printed where.
pub(crate) fn check(args: &[&str], expected: &Expect) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    expected.assert_eq(&shown(&arq(dir.path(), args)));
}

pub(crate) fn shown(output: &Output) -> String {
    let code = output.status.code().expect("it ended by itself");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n{out}{err}")
}
