//! Every scenario of the repository reads, says why it is there, and compiles.

use std::path::Path;

use arqon_scenario::Scenario;
use arqon_scenario::plan::compile;

#[test]
fn every_scenario_reads_and_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let plan = compile(&scenario, 1);
        assert!(!plan.actors.is_empty() && plan.ops.len() > plan.actors.len(), "{}", path.display());
        read += 1;
    }
    assert!(read >= 7, "{read} scenarios");
}
