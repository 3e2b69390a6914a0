//! `arq policy test`: the cases of a folder.

use std::collections::BTreeSet;

use arqon_policy::{Isolation, Limits, Module, Policy};
use arqon_proto::id::Tenant;
use serde::Deserialize;

use super::build::build;
use super::event::{Occurrence, Said, Written};
use super::{compile, engine, read, read_module, refused_as};
use crate::cli::policy::Test;
use crate::failure::{Exit, Failure};
use crate::print::print_line;

/// `cases.toml`: they are put to one instance for each tenant, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Written>,
}

struct Case {
    why: String,
    times: u32,
    event: Occurrence,
    expect: Said,
}

pub(super) fn run(Test { folder, module }: &Test) -> Result<(), Failure> {
    let file = folder.join("cases.toml");
    let wrong = |message: String| Failure::new(Exit::BadConfig, format!("{}: {message}", file.display()));
    let text = String::from_utf8(read(&file)?).map_err(|_| wrong("not UTF-8".to_owned()))?;
    let cases = parse(&text).map_err(wrong)?;
    let scratch = tempfile::tempdir()?;
    let built = scratch.path().join("policy.wasm");
    let module = match module {
        Some(module) => module,
        None => {
            build(folder, &built)?;
            &built
        }
    };
    let compiled = compile(&engine(instances(&cases))?, &read_module(module)?);
    let compiled = compiled.map_err(|refused| refused_as(module, &refused))?;
    let mut policies: Vec<(Tenant, Policy)> = Vec::new();
    let mut failed = 0;
    for Case { why, times, event, expect } in &cases {
        let (said, fuel) = put(event, *times, &compiled, &mut policies);
        let good = said == *expect;
        failed += usize::from(!good);
        let mark = if good { "ok    " } else { "FAILED" };
        let instead = if good { String::new() } else { format!(": {said:?} and not {expect:?}") };
        print_line(format!("{mark} {why} (fuel {fuel}){instead}").as_bytes())?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} of {} cases failed", cases.len()))),
    }
}

fn parse(text: &str) -> Result<Vec<Case>, String> {
    let cases: Cases = toml::from_str(text).map_err(|error| error.to_string())?;
    let read = |(at, mut case): (usize, Written)| {
        let (Some(why), Some(expect)) = (case.why.take(), case.expect.take()) else {
            return Err(format!("case {}: `why` or `expect` is missing", at + 1));
        };
        let times = case.times.unwrap_or(1);
        let event = case.read().map_err(|error| format!("case {}: {error}", at + 1))?;
        Ok(Case { why, times, event, expect })
    };
    cases.case.into_iter().enumerate().map(read).collect()
}

/// One for each tenant, and one that is made while another still has its place.
fn instances(cases: &[Case]) -> u32 {
    let tenants: BTreeSet<&Tenant> = cases.iter().map(|case| &case.event.tenant).collect();
    u32::try_from(tenants.len()).unwrap_or(u32::MAX).saturating_add(2)
}

/// What the policy of the event's tenant says the last of so many times, and for how much fuel.
fn put(event: &Occurrence, times: u32, module: &Module, policies: &mut Vec<(Tenant, Policy)>) -> (Said, u64) {
    let at = policies.iter().position(|(of, _)| *of == event.tenant).unwrap_or_else(|| {
        let policy = Policy::new(module.clone(), event.tenant.clone(), Limits::default(), Isolation::Tenant);
        policies.push((event.tenant.clone(), policy));
        policies.len() - 1
    });
    let (event, policy) = (event.event(), &mut policies[at].1);
    (1..times).for_each(|_| drop(policy.judge(&event)));
    let judged = policy.judge(&event);
    (Said::of(judged.verdict.as_ref().copied()), judged.fuel)
}
