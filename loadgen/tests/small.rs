//! The generator as a user runs it, small.

use std::process::Command;

fn loadgen(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().expect("it starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_socket_hears_every_publication() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, html) = (file("report.json"), file("report.html"));
    for transport in ["tcp", "mem"] {
        let (passed, said) = loadgen(&[
            "--transport",
            transport,
            "--sockets",
            "200",
            "--rooms",
            "10",
            "--publications",
            "3",
            "--rounds",
            "2",
            "--deliveries-per-s",
            "1000",
            "--hurry",
            "--json",
            &json,
            "--html",
            &html,
        ]);
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
