//! The comparison can fail: every planted bug is found, and the model does not differ from itself.

use arqon_differential::brain::{RustBrain, Times};
use arqon_differential::draw::{Size, draw};
use arqon_differential::mutant::{BUGS, Bug, Mutant};
use arqon_differential::plan::Plan;
use arqon_differential::record::Record;
use arqon_differential::run::run;

/// Within so many traces every bug is found.
const TRACES: u64 = 60;

fn model(plan: &Plan) -> Record {
    let mut brains =
        ["brain-0", "brain-1"].map(|name| RustBrain::new(name, Times::TEST).expect("a good name"));
    let [a, b] = &mut brains;
    run(plan, vec![a, b]).expect("the model answers")
}

fn mutant(plan: &Plan, bug: Bug) -> Record {
    let mut brains =
        ["brain-0", "brain-1"].map(|name| Mutant::new(name, Times::TEST, bug).expect("a good name"));
    let [a, b] = &mut brains;
    run(plan, vec![a, b]).expect("the model answers")
}

#[test]
fn every_planted_bug_is_found() {
    let plans: Vec<Plan> = (0..TRACES).map(|seed| draw(seed, Size::NORMAL)).collect();
    let models: Vec<Record> = plans.iter().map(model).collect();
    let mut missed = Vec::new();
    for (name, bug) in BUGS {
        let found = plans
            .iter()
            .zip(&models)
            .position(|(plan, model)| model.difference(&mutant(plan, *bug)).is_some());
        match found {
            Some(at) => println!("{name}: found in trace {at}"),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found within {TRACES} traces: {missed:?}");
}

#[test]
fn the_model_is_the_same_twice_and_every_world_ends_in_the_truth() {
    for seed in 0..TRACES {
        let plan = draw(seed, Size::NORMAL);
        let (first, second) = (model(&plan), model(&plan));
        assert_eq!(first.difference(&second), None, "seed {seed}");
        assert_eq!(first.faults, Vec::<String>::new(), "seed {seed}");
        assert!(first.lines() > 100, "seed {seed}: {} lines", first.lines());
    }
}

#[test]
fn a_plan_is_read_as_it_was_written() {
    let plan = draw(1, Size::NORMAL);
    let text = plan.to_json().expect("it can be written");
    assert_eq!(Plan::from_json(&text).expect("it can be read"), plan);
}
