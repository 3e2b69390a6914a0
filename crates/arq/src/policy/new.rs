//! `arq policy new`: a small policy that works.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::cli::policy::{Lang, New};
use crate::failure::{Exit, Failure};
use crate::print::print_line;

/// Names of files, with what stands in them.
type Files = &'static [(&'static str, &'static str)];

const CASES: &str = include_str!("../../templates/policy/cases.toml");
const README: &str = include_str!("../../templates/policy/README.md");

const C: Files = &[
    ("policy.c", include_str!("../../templates/policy/c/policy.c")),
    ("arqon_policy.h", include_str!("../../../../policies/arqon_policy.h")),
];

const ASSEMBLYSCRIPT: Files = &[
    ("package.json", include_str!("../../templates/policy/assemblyscript/package.json")),
    ("asconfig.json", include_str!("../../templates/policy/assemblyscript/asconfig.json")),
    ("assembly/policy.ts", include_str!("../../templates/policy/assemblyscript/assembly/policy.ts")),
    ("assembly/event.ts", include_str!("../../templates/policy/assemblyscript/assembly/event.ts")),
    ("assembly/arqon.ts", include_str!("../../templates/policy/assemblyscript/assembly/arqon.ts")),
];

/// A Cargo.toml among the templates would be a package of this repository.
const RUST: Files = &[
    ("Cargo.toml", include_str!("../../templates/policy/rust/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/policy/rust/src/lib.rs")),
    ("src/arqon.rs", include_str!("../../templates/policy/rust/src/arqon.rs")),
];

pub(super) fn run(New { folder, lang }: &New) -> Result<(), Failure> {
    // Where the policy itself stands, and what has to be done once.
    let (files, source, before) = match lang {
        Lang::C => (C, "policy.c", ""),
        Lang::Assemblyscript => (ASSEMBLYSCRIPT, "assembly/policy.ts", "npm install\n"),
        Lang::Rust => (RUST, "src/lib.rs", "rustup target add wasm32-unknown-unknown\n"),
    };
    let readme = README.replace("@SOURCE@", &format!("`{source}`")).replace("@BEFORE@", before);
    let all: Vec<(&str, &str)> =
        files.iter().copied().chain([("cases.toml", CASES), ("README.md", &readme)]).collect();
    if let Some((name, _)) = all.iter().find(|(name, _)| folder.join(name).symlink_metadata().is_ok()) {
        let shown = folder.join(name);
        return Err(Failure::new(
            Exit::Usage,
            format!("{} is there already: choose another folder", shown.display()),
        ));
    }
    for (name, text) in all {
        write(&folder.join(name), text)?;
    }
    let shown = folder.display();
    print_line(
        format!("{shown}: {source} is the policy, cases.toml its tests, README.md what to do").as_bytes(),
    )
}

/// Where there is nothing yet.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        File::create_new(file)?.write_all(text.as_bytes())
    };
    write().map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}
