//! Policies are obeyed: what they refuse is refused with the right code and reaches nobody, what they replace is never seen as it was.
//!
//! Both are judged by what clients were told and by what payloads prove: it makes no difference whether a policy was exchanged meanwhile, a
//! Shield was started again, or a publication came twice.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::history::{Kind, Record, What};

/// Which cohort an actor belongs to.
type Cohorts = BTreeMap<u32, String>;

/// No publication of these cohorts is taken or reaches anybody, each refusal has one of the codes, and each actor is refused at least once.
pub(super) fn refused_with(
    history: &[Record],
    codes_of: &BTreeMap<String, Vec<u16>>,
    cohort_of: &Cohorts,
) -> Vec<Violation> {
    const ORACLE: &str = "refused_with";
    let codes = |actor: u32| codes_of.get(cohort_of.get(&actor)?);
    let (mut found, mut refused) = (Vec::new(), BTreeSet::new());
    for r in history.iter().filter(|r| r.what == What::Publish) {
        let Some(codes) = codes(if r.kind == Kind::Recv { publisher(r) } else { r.actor }) else { continue };
        let (who, n) = (r.publisher_name(), r.seq);
        let what = match (r.kind, r.code) {
            (Kind::Recv, _) => format!("{}.{} got {n} of {who}, which had to be refused", r.actor, r.conn),
            (Kind::Ok, _) => format!("{n} of {who} was taken, and had to be refused"),
            (Kind::Fail, Some(code)) if codes.contains(&code) => {
                refused.insert(r.actor);
                continue;
            }
            (Kind::Fail, code) => {
                format!("{n} of {who} was refused with {}, not with one of {codes:?}", code.unwrap_or(0))
            }
            _ => continue,
        };
        found.push(Violation { oracle: ORACLE, t_ms: r.t_ms, what });
    }
    let t_ms = history.last().map_or(0, |r| r.t_ms);
    for (actor, cohort) in cohort_of {
        if codes(*actor).is_some() && !refused.contains(actor) {
            let what = format!("nothing of actor {actor} ({cohort}) was ever refused");
            found.push(Violation { oracle: ORACLE, t_ms, what });
        }
    }
    found
}

/// Whatever arrives of these cohorts has a policy's mark, and something does.
pub(super) fn replaced(history: &[Record], cohorts: &[String], cohort_of: &Cohorts) -> Vec<Violation> {
    const ORACLE: &str = "replaced";
    let mut found = Vec::new();
    let mut unseen: BTreeSet<&String> = cohorts.iter().collect();
    for r in history.iter().filter(|r| r.kind == Kind::Recv) {
        let Some(cohort) = cohort_of.get(&publisher(r)).filter(|cohort| cohorts.contains(cohort)) else {
            continue;
        };
        if r.mark.is_some() {
            unseen.remove(cohort);
            continue;
        }
        let what = format!("{}.{} got {} of {} as it was", r.actor, r.conn, r.seq, r.publisher_name());
        found.push(Violation { oracle: ORACLE, t_ms: r.t_ms, what });
    }
    let t_ms = history.last().map_or(0, |r| r.t_ms);
    let silent = |cohort: &String| format!("nothing with a mark came of {cohort}");
    found.extend(unseen.into_iter().map(|cohort| Violation { oracle: ORACLE, t_ms, what: silent(cohort) }));
    found
}

/// The actor that a payload proves; 0, which is none, for a payload that proves nothing.
fn publisher(r: &Record) -> u32 {
    r.publisher_name().split_once('.').and_then(|(actor, _)| actor.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{publish, rec, recv};
    use super::*;

    fn cohorts() -> Cohorts {
        BTreeMap::from([(1, "loud".to_owned()), (2, "polite".to_owned())])
    }

    fn answered(kind: Kind, code: u16) -> Record {
        let answer = rec(103, 1, kind, What::Publish, 2).room("lobby").publication("1.1", 1);
        if kind == Kind::Fail { answer.code(code) } else { answer }
    }

    fn judged(more: Vec<Record>) -> usize {
        let mut history = publish(100, 2, 1, 1);
        history.extend(more);
        refused_with(&history, &BTreeMap::from([("loud".to_owned(), vec![116, 123])]), &cohorts()).len()
    }

    #[test]
    fn what_has_to_be_refused_is_neither_taken_nor_heard_nor_refused_for_another_reason() {
        let refused = || answered(Kind::Fail, 116);
        assert_eq!(judged(vec![refused(), recv(110, 1, "2.1", 1)]), 0);
        assert_eq!(judged(vec![refused(), answered(Kind::Ok, 0)]), 1);
        assert_eq!(judged(vec![refused(), answered(Kind::Fail, 110)]), 1);
        assert_eq!(judged(vec![refused(), recv(110, 2, "1.1", 1)]), 1);
        assert_eq!(judged(vec![answered(Kind::Info, 0), refused()]), 0, "no answer may come of a crash");
        assert_eq!(judged(Vec::new()), 1, "it never published");
    }

    #[test]
    fn what_is_replaced_comes_with_a_mark() {
        let got = |mark| Record { mark, ..recv(110, 2, "1.1", 1) };
        let found = |history: &[Record]| replaced(history, &["loud".to_owned()], &cohorts()).len();
        assert_eq!(found(&[got(Some('1')), recv(111, 1, "2.1", 1)]), 0);
        assert_eq!(found(&[got(Some('1')), got(None)]), 1);
        assert_eq!(found(&[recv(111, 1, "2.1", 1)]), 1, "nothing came at all");
    }
}
