//! The rules of `docs/control.md`, one by one.

use super::*;

const SIZE: usize = 60_000;

fn name(name: &str) -> ShieldId {
    ShieldId::parse(name).expect("a good name")
}

fn one(of: &str) -> Holder {
    Holder::One(name(of))
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: mono_ms }
}

fn module(of: u8) -> Bytes {
    (0..SIZE).map(|at| (at % 251) as u8 ^ of).collect::<Vec<u8>>().into()
}

fn wants(all: &[&Bytes]) -> Modules {
    let mut modules = Modules::default();
    modules.want(all.iter().map(|bytes| (ModuleHash::of(bytes), bytes.len() as u64)).collect());
    modules
}

fn holding(bytes: &Bytes) -> Modules {
    let mut modules = wants(&[bytes]);
    modules.bring(bytes.clone(), at(0));
    modules
}

#[test]
fn it_is_fetched_part_by_part_from_who_has_it() {
    let bytes = module(0);
    let (mut here, there, elsewhere) = (wants(&[&bytes]), holding(&bytes), Modules::default());
    let holders = [one("a"), one("b")];
    let (mut asked, mut complete) = (Vec::new(), false);
    while let Some((holder, want)) = here.ask(&holders, at(0)) {
        let Holder::One(from) = &holder else { panic!("nobody else can be asked") };
        asked.push((want.to.clone(), want.offset));
        let owner = if *from == name("b") { &there } else { &elsewhere };
        let part = owner.answer(&want).expect("a good want").expect("it was asked by name");
        complete = here.take(from, part).expect("a good part");
    }
    assert!(complete);
    assert_eq!(here.held().get(&ModuleHash::of(&bytes)), Some(&bytes));
    let b = |offset| ("b".to_owned(), offset);
    assert_eq!(asked, [("a".to_owned(), 0), b(0), b(24_576), b(49_152)]);
    assert_eq!(here.next_timeout(), None);
}

#[test]
fn who_does_not_answer_is_passed_over_and_after_the_last_there_is_a_rest() {
    let bytes = module(0);
    let mut here = wants(&[&bytes]);
    let holders = [one("a"), Holder::Brains];
    let whom = |here: &mut Modules, now| here.ask(&holders, at(now)).map(|(holder, _)| holder);
    assert_eq!(whom(&mut here, 0), Some(one("a")));
    assert_eq!(whom(&mut here, 999), None, "it still has time");
    assert_eq!(here.next_timeout(), Some(1_000));
    for turn in 1..6 {
        let next = if turn % 2 == 0 { one("a") } else { Holder::Brains };
        assert_eq!(whom(&mut here, 1_000 * turn), Some(next));
    }
    assert_eq!(whom(&mut here, 6_000), None);
    assert_eq!(here.next_timeout(), Some(6_250));
    assert_eq!(whom(&mut here, 6_249), None);
    assert_eq!(whom(&mut here, 6_250), Some(one("a")), "from the first again");
    for turn in 1..6 {
        assert!(whom(&mut here, 6_250 + 1_000 * turn).is_some());
    }
    assert_eq!(whom(&mut here, 12_250), None);
    assert_eq!(here.next_timeout(), Some(12_750), "a rest twice as long");
}

#[test]
fn what_nobody_has_keeps_no_other_waiting() {
    let (lost, there) = (module(1), module(2));
    let mut here = wants(&[&lost, &there]);
    let holder = holding(&there);
    let holders = [one("a")];
    let (_, want) = here.ask(&holders, at(0)).expect("something is missing");
    let part = holder.answer(&want).expect("a good want").expect("asked by name");
    assert!(part.data.is_empty());
    assert_eq!(here.take(&name("a"), part), Ok(false));
    let (_, want) = here.ask(&holders, at(0)).expect("the next one");
    assert_eq!(want.module, ModuleHash::of(&there).0);
}

#[test]
fn only_what_was_asked_for_is_taken_and_only_if_the_hash_agrees() {
    let bytes = module(0);
    let mut here = wants(&[&bytes]);
    let holders = [one("a"), one("b")];
    let (_, want) = here.ask(&holders, at(0)).expect("something is missing");
    let part = holding(&bytes).answer(&want).expect("a good want").expect("asked by name");
    assert_eq!(here.take(&name("b"), part.clone()), Ok(false), "b was not asked");
    assert_eq!(here.take(&name("a"), pb::Part { offset: 1, ..part.clone() }), Ok(false), "not this offset");
    let large = pb::Part { data: vec![0; PART_BYTES_MAX + 1], ..part.clone() };
    assert_eq!(here.take(&name("a"), large), Err(Malformed));
    // The next, which lies about what it has.
    for offset in [0, 24_576, 49_152] {
        let (holder, want) = here.ask(&holders, at(1)).expect("the next");
        assert_eq!((holder, want.offset), (one("b"), offset));
        let data = vec![7; PART_BYTES_MAX.min(SIZE - offset as usize)];
        let taken = here.take(&name("b"), pb::Part { offset, data, ..part.clone() });
        let last = offset == 49_152;
        assert_eq!(taken, if last { Err(Malformed) } else { Ok(false) });
    }
    assert!(here.held().is_empty());
    assert_eq!(here.ask(&holders, at(2)), None, "both had their turn");
}

#[test]
fn what_is_named_no_more_is_forgotten_and_what_was_brought_has_its_time() {
    let (old, new) = (module(1), module(2));
    let mut here = wants(&[&old]);
    here.bring(old.clone(), at(0));
    here.bring(new.clone(), at(1));
    assert!(!here.expire(at(BROUGHT_FOR_MS)), "the first is named, the second has a millisecond left");
    assert_eq!(here.held().len(), 2);
    assert!(here.expire(at(BROUGHT_FOR_MS + 1)));
    assert!(here.held().contains_key(&ModuleHash::of(&old)));
    assert!(here.want(Vec::new()));
    assert!(here.held().is_empty());
}

#[test]
fn brains_that_do_not_have_it_say_nothing_when_all_are_asked() {
    let bytes = module(0);
    let (_, want) = wants(&[&bytes]).ask(&[Holder::Brains], at(0)).expect("something is missing");
    assert_eq!(Modules::default().answer(&want), Ok(None));
    assert!(holding(&bytes).answer(&want).expect("a good want").is_some());
    let short = pb::Want { module: vec![0; 31], ..want };
    assert_eq!(holding(&bytes).answer(&short), Err(Malformed));
}
