//! A warm core module that allows or replaces costs no allocation of the host.

use allocation_counter::measure;
use arqon_policy::{Judge, JudgeLimits, Outcome};

use super::modules::{Abi, module};
use super::order::{ALLOW, REPLACE, at, bind};
use super::{engine, event, tenant};

#[test]
fn judging_allocates_nothing() {
    let acme = tenant("acme");
    for (body, expected) in [(ALLOW, Outcome::Allow), (REPLACE, Outcome::Replace(b"{\"a\":1}"))] {
        let binding = bind("one", module(&engine(), Abi::Core, body));
        let mut judge = Judge::new([binding].into(), JudgeLimits::default());
        let event = event(&acme, b"[1,2,3]");
        let mut times = |n: u64| {
            for mono_ms in 0..n {
                assert_eq!(judge.judge(&event, at(mono_ms), &mut |_| {}), expected);
            }
        };
        times(100);
        let counted = measure(|| times(1_000));
        assert_eq!(counted.count_total, 0, "{expected:?}");
    }
}
