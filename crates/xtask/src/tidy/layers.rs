//! Which package may use which.

use super::{Findings, Repo};

/// Every package of the workspace and the packages of the workspace it uses. Programs stand last.
///
/// The table is exact: an edge that is not here is forbidden, one that nobody uses is struck.
const EDGES: &[(&str, &[&str])] = &[
    ("arqon-proto", &[]),
    ("arqon-presence", &["arqon-proto"]),
    ("arqon-policy", &["arqon-proto"]),
    ("arqon-client", &["arqon-proto"]),
    ("arqon-scenario", &["arqon-proto"]),
    ("arqon-shield", &["arqon-policy", "arqon-presence", "arqon-proto"]),
    ("arqon-stack", &["arqon-shield"]),
    (
        "arq",
        &["arqon-client", "arqon-policy", "arqon-proto", "arqon-scenario", "arqon-shield", "arqon-stack"],
    ),
    ("sim", &["arqon-client", "arqon-proto", "arqon-scenario", "arqon-shield", "arqon-stack"]),
    ("loadgen", &["arqon-client", "arqon-proto", "arqon-scenario", "arqon-shield", "arqon-stack"]),
    ("arqon-differential", &["arqon-presence", "arqon-proto", "arqon-stack"]),
    ("xtask", &[]),
];

/// Packages that are programs: nobody uses them, not even in tests.
const PROGRAMS: &[&str] = &["arq", "sim", "loadgen", "arqon-differential", "xtask"];

/// The pure packages: their tests may use no more than they do themselves.
const PURE: &[&str] = &["arqon-proto", "arqon-presence"];

/// Normal and build dependencies equal the table. A dev-dependency is freer, because it ships nowhere: it may name every
/// library, except in a pure package, whose tests need no I/O either.
pub(super) fn check(repo: &Repo) -> Findings {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for file in repo.files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        // The fuzz targets are a workspace of their own, because they are compiled with flags of their own.
        if file.path.starts_with("fuzz/") {
            continue;
        }
        match file.text.parse::<toml::Table>() {
            Ok(manifest) => findings.extend(check_manifest(&file.path, &manifest, &mut seen)),
            Err(error) => findings.push(format!("{}: {}", file.path, error.message())),
        }
    }
    let absent = EDGES.iter().filter(|(name, _)| !seen.iter().any(|seen| seen == name));
    findings.extend(
        absent.map(|(name, _)| format!("Cargo.toml: there is no package {name}, strike it from EDGES")),
    );
    findings
}

fn check_manifest(path: &str, manifest: &toml::Table, seen: &mut Vec<String>) -> Findings {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let Some(name) = name else { return Vec::new() };
    seen.push(name.to_owned());
    let Some((_, allowed)) = EDGES.iter().find(|(package, _)| *package == name) else {
        return vec![format!("{path}: {name} is not in EDGES")];
    };
    let normal = used(manifest, &["dependencies", "build-dependencies"]);
    let mut findings = Vec::new();
    for package in &normal {
        if !allowed.contains(&package.as_str()) {
            findings.push(format!("{path}: {name} may not use {package}"));
        }
    }
    for package in allowed.iter().filter(|package| !normal.iter().any(|used| used == *package)) {
        findings.push(format!("{path}: {name} does not use {package}, strike it from EDGES"));
    }
    for package in used(manifest, &["dev-dependencies"]) {
        let package = package.as_str();
        let free = !PROGRAMS.contains(&package) && !PURE.contains(&name);
        if !free && !allowed.contains(&package) {
            findings.push(format!("{path}: the tests of {name} may not use {package}"));
        }
    }
    findings
}

/// The packages of the workspace in these sections, also where they depend on a target or go by another name.
fn used(manifest: &toml::Table, sections: &[&str]) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
    let mut used: Vec<_> = std::iter::once(manifest)
        .chain(tables)
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flatten()
        .map(|(key, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned())
        .filter(|name| EDGES.iter().any(|(package, _)| package == name))
        .collect();
    used.sort();
    used.dedup();
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifest: &str) -> Findings {
        let manifest = manifest.parse().expect("the test writes TOML");
        check_manifest("Cargo.toml", &manifest, &mut Vec::new())
    }

    #[test]
    fn edges_outside_the_table_are_found_under_any_name() {
        let presence = "[package]\nname = 'arqon-presence'\n[dependencies]\narqon-proto.workspace = true\n";
        assert_eq!(findings(presence), Findings::new());
        for edge in [
            "arqon-shield.workspace = true",
            "gateway = { package = 'arqon-shield', path = '../arqon-shield' }",
            "[target.'cfg(unix)'.dependencies]\narqon-shield.workspace = true",
            "[build-dependencies]\narqon-shield.workspace = true",
        ] {
            let found = findings(&format!("{presence}{edge}"));
            assert_eq!(found, ["Cargo.toml: arqon-presence may not use arqon-shield"], "{edge}");
        }
    }

    #[test]
    fn an_edge_that_nobody_uses_is_struck() {
        let found = findings("[package]\nname = 'arqon-presence'");
        assert_eq!(found, ["Cargo.toml: arqon-presence does not use arqon-proto, strike it from EDGES"]);
    }

    #[test]
    fn tests_may_use_libraries_but_those_of_pure_packages_may_not() {
        let client = "[package]\nname = 'arqon-client'\n[dependencies]\narqon-proto.workspace = true\n[dev-dependencies]\n";
        assert_eq!(findings(&format!("{client}arqon-shield.workspace = true")), Findings::new());
        let found = findings(&format!("{client}sim.workspace = true"));
        assert_eq!(found, ["Cargo.toml: the tests of arqon-client may not use sim"]);
        let found =
            findings("[package]\nname = 'arqon-proto'\n[dev-dependencies]\narqon-client.workspace = true");
        assert_eq!(found, ["Cargo.toml: the tests of arqon-proto may not use arqon-client"]);
    }
}
