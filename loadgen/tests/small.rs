//! The generator as a user runs it, small.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn loadgen(arguments: &[&str]) -> (bool, String) {
    said(&Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().expect("it starts"))
}

fn said(output: &Output) -> (bool, String) {
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_socket_hears_every_publication() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, html) = (file("report.json"), file("report.html"));
    let even = "--sockets 200 --rooms 10 --publications 3 --rounds 2 --deliveries-per-s 1000 --hurry --warm-up-s 0.3";
    for transport in ["tcp", "mem", "tcp --tls"] {
        let mut arguments: Vec<&str> = even.split(' ').collect();
        arguments.push("--transport");
        arguments.extend(transport.split(' '));
        arguments.extend(["--json", &json, "--html", &html]);
        let (passed, said) = loadgen(&arguments);
        assert!(passed, "{said}");
        assert_eq!(
            said.matches("600 deliveries of 600, 0 lost, 0 twice, 0 out of order").count(),
            2,
            "{said}"
        );
    }
    let (passed, said) = loadgen(&["compare", &json, &json]);
    assert!(passed && said.contains("1.00 ("), "{said}");
    assert!(std::fs::read_to_string(html).expect("a page").contains("passed"));
}

/// All at once, for each takes half a minute and next to nothing of the machine.
#[test]
fn every_workload_runs_and_nothing_is_lost() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/load");
    let mut files: Vec<_> =
        folder.read_dir().expect("workloads").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no workload", folder.display());
    let runs: Vec<_> = files
        .iter()
        .map(|file| {
            let arguments = ["--sockets", "300", "--processes", "2", "--hurry", "--scenario"];
            let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
            command.args(arguments).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    let expected = |name: &str| match name {
        "herd" => ["came back", "publications"],
        "mixed" => ["came back", "names told"],
        "presence_churn" => ["names told", "a join"],
        "idle" => ["authenticated sockets", "KiB a socket"],
        _ => ["publications", "deliveries of"],
    };
    for (file, run) in files.iter().zip(runs) {
        let ended = run.wait_with_output().expect("it ends");
        let (passed, said) = said(&ended);
        let name = file.file_stem().expect("a name").to_string_lossy();
        let as_expected = passed && expected(&name).iter().all(|part| said.contains(part));
        assert!(as_expected, "{name}: {said}{}", String::from_utf8_lossy(&ended.stderr));
    }
}
