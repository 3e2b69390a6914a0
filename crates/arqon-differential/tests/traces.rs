//! The traces that were kept, in the world of the model: each runs, ends in the truth, and is the same twice. The same files
//! are replayed against the Elixir Brain by `differential replay`.

use std::collections::BTreeSet;
use std::path::Path;

use arqon_differential::brain::{RustBrain, Times};
use arqon_differential::draw::{Size, draw};
use arqon_differential::plan::Plan;
use arqon_differential::record::Record;
use arqon_differential::run::run_with_traffic;

fn model(plan: &Plan) -> Record {
    let mut brains =
        ["brain-0", "brain-1"].map(|name| RustBrain::new(name, Times::TEST).expect("a good name"));
    let [a, b] = &mut brains;
    run_with_traffic(plan, vec![a, b]).expect("the model answers")
}

#[test]
fn traces_that_were_kept_run_and_end_in_the_truth() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/traces");
    let files = std::fs::read_dir(folder).expect("vectors/traces is there");
    let files: BTreeSet<_> = files.map(|entry| entry.expect("it can be read").path()).collect();
    assert!(!files.is_empty(), "there are traces");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let plan = Plan::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!plan.note.is_empty(), "{}: it says why it is kept", file.display());
        let (first, second) = (model(&plan), model(&plan));
        assert_eq!(first.faults, Vec::<String>::new(), "{}", file.display());
        assert_eq!(first.difference(&second), None, "{}", file.display());
    }
}

/// What no trace reaches is not compared.
#[test]
fn traces_reach_what_they_are_for() {
    const REACHED: &[&str] = &[
        // Every kind of message of the contract that Brains hear...
        "hears _arqon.brain from shield-0",
        "Hello(",
        "Heartbeat(",
        "Bye(",
        ": update acme.room.",
        "Digests(",
        "Compare(",
        "OrderReply(",
        ": close_refused acme.room.",
        "Ask(",
        "hears _arqon.brain from shield-1 ",
        "hears _arqon.brains from brain-1: update",
        "hears _arqon.brains from brain-1: pull",
        "hears _arqon.brains from brain-1: Shared(",
        // ...and say.
        "accepted: true",
        "accepted: false",
        "Forgotten(",
        "Occupied(",
        "Resync(",
        "says _arqon.shield.shield-0 from brain-0: pull",
        "says _arqon.shields from brain-0: Shared(",
        "warming: true",
        "warming: false",
        "idle_close acme.room.",
        "order 1 ",
        // What clients see.
        ": diff",
        " -user-",
        " ~user-",
        "stale true",
        "conflict",
        "synced",
        "kick user-",
        "close acme.room.",
        "drain asked",
        "revoked [\"User",
        "settings true",
        "OutcomeUnknown",
        "error Conflict",
        "unreached [\"",
        // The life of rooms and Shields.
        ": idle,",
        ": active,",
        ": closed,",
        "life 2: created",
        "phase: \"closing\"",
        "instance: 0",
        "up: false",
        // What ghosts are told.
        "error BadRequest",
        "error NotFound",
        "error LimitExceeded",
        ": update acme.ghost.",
        "from brain-0: pull ghost-",
    ];
    let text: String = (0..60).map(|seed| model(&draw(seed, Size::NORMAL)).text()).collect();
    let missed: Vec<_> = REACHED.iter().filter(|what| !text.contains(**what)).collect();
    assert!(missed.is_empty(), "not reached: {missed:?}");
    assert!(text.contains("floor: 1700"), "a Shield was given up");
}
