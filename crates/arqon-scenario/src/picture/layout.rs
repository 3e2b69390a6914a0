//! Lanes, faults, and for each violation the view that explains it: which time, which lanes, which faults.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::concern::{Cast, Concern};
use crate::account::Account;
use crate::history::{Broken, Kind, Record, What};
use crate::oracle::Violation;

/// Lanes on the page at most; those that violations concern come first.
const LANES_MAX: usize = 2_000;
/// Violations with a view of their own.
const VIEWS_MAX: usize = 100;
/// Actors in a view at most: more lanes than these do not fit a screen.
const VIEW_ACTORS_MAX: usize = 8;
/// Faults that a view names as causes at most.
const CAUSES_MAX: usize = 4;
/// What a view shows before a violation that no fault explains.
const BEFORE_MS: u64 = 1_500;
/// How far back a view goes at most.
const BACK_MS: u64 = 60_000;

/// One line of the diagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lane {
    /// `shield.0`, `spine`, `actor 3`.
    pub(super) name: String,
    /// What stands at its left.
    pub(super) label: String,
    /// Lanes of one group are collapsed together.
    pub(super) group: String,
    /// The machine: a fault of this node hits this lane.
    pub(super) node: String,
    /// For the reader.
    pub(super) detail: String,
}

/// A fault, from its begin to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Band {
    pub(super) number: u32,
    /// Its kind, as scenarios write it.
    pub(super) kind: String,
    /// Kind and place, for the reader.
    pub(super) label: String,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    /// The nodes that it hits; empty: all machines with clients.
    pub(super) nodes: Vec<String>,
}

/// What to look at for one violation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct View {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    /// Indices of lanes, in their order.
    pub(super) lanes: Vec<usize>,
    /// The lanes on which the violation is marked.
    pub(super) marked: Vec<usize>,
    /// Indices of the faults that may explain it.
    pub(super) causes: Vec<usize>,
    /// The publications it names: publisher and number.
    pub(super) publications: Vec<(String, u64)>,
    /// The room it names.
    pub(super) room: Option<String>,
}

/// Where everything stands.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) lanes: Vec<Lane>,
    pub(super) bands: Vec<Band>,
    /// One for each of the first violations.
    pub(super) views: Vec<View>,
    /// Actor → lane.
    pub(super) lane_of: BTreeMap<u32, usize>,
    /// Actors without a lane.
    pub(super) left_out: usize,
}

/// What the views are made from.
struct Stage<'a> {
    account: &'a Account,
    cast: Cast<'a>,
    bands: Vec<Band>,
    /// Actor → its attempts to connect: when, and to which Shield.
    connects: BTreeMap<u32, Vec<(u64, u32)>>,
    rooms: BTreeSet<&'a str>,
}

impl Layout {
    pub(super) fn new(account: &Account, violations: &[Violation]) -> Self {
        let stage = Stage::new(account);
        let first = &violations[..violations.len().min(VIEWS_MAX)];
        let drafts: Vec<(Concern, View)> = first.iter().map(|v| stage.view(v)).collect();
        let mut wanted: Vec<u32> =
            drafts.iter().flat_map(|(about, _)| about.actors.iter().copied()).collect();
        wanted.extend(account.header.actors.iter().map(|part| part.id));
        let mut seen = BTreeSet::new();
        wanted.retain(|actor| seen.len() < LANES_MAX && seen.insert(*actor));
        let (lanes, lane_of) = lanes(account, &stage, &seen);
        let left_out = account.header.actors.len().saturating_sub(lane_of.len());
        let of_name = |name: &str| lanes.iter().position(|lane| lane.name == name);
        let views = drafts.into_iter().map(|(about, mut view)| {
            let mut marked: BTreeSet<usize> =
                about.actors.iter().filter_map(|a| lane_of.get(a)).copied().collect();
            let named = about.nodes.iter().filter_map(|node| of_name(node));
            let of_actors = marked.clone();
            marked.extend(named);
            let mut all = marked.clone();
            all.extend(
                stage.shields(&about, view.from_ms, view.to_ms).iter().filter_map(|node| of_name(node)),
            );
            let hit = view.causes.iter().flat_map(|cause| &stage.bands[*cause].nodes);
            all.extend(hit.filter_map(|node| of_name(node)));
            if marked.is_empty() {
                // Nobody is named: the whole run is to blame.
                all.extend(0..lanes.len().min(lanes.len() - lane_of.len() + VIEW_ACTORS_MAX));
            }
            view.lanes = all.into_iter().collect();
            view.marked = if of_actors.is_empty() { marked } else { of_actors }.into_iter().collect();
            view
        });
        Self { views: views.collect(), left_out, bands: stage.bands, lanes, lane_of }
    }
}

impl<'a> Stage<'a> {
    fn new(account: &'a Account) -> Self {
        let (mut connects, mut rooms) = (BTreeMap::<u32, Vec<(u64, u32)>>::new(), BTreeSet::new());
        for r in &account.history {
            if let (Kind::Invoke, What::Connect, Some(shield)) = (r.kind, r.what, r.shield) {
                connects.entry(r.actor).or_default().push((r.t_ms, shield));
            }
            rooms.extend(r.room.as_deref());
        }
        let cast = Cast::new(&account.header.actors);
        Self { account, cast, bands: bands(account), connects, rooms }
    }

    /// The Shields of these actors between two moments.
    fn shields(&self, about: &Concern, from_ms: u64, to_ms: u64) -> BTreeSet<String> {
        let mut shields = BTreeSet::new();
        for connects in about.actors.iter().filter_map(|actor| self.connects.get(actor)) {
            let first = connects.partition_point(|(t, _)| *t <= from_ms).saturating_sub(1);
            let within = connects[first..].iter().filter(|(t, _)| *t <= to_ms);
            shields.extend(within.map(|(_, shield)| format!("shield.{shield}")));
        }
        shields
    }

    /// What it is about, and when to look; lanes follow.
    fn view(&self, violation: &Violation) -> (Concern, View) {
        let mut about = self.cast.concern(&violation.what);
        while about.actors.len() > VIEW_ACTORS_MAX {
            about.actors.pop_last();
        }
        let causes = self.causes(&about, violation.t_ms);
        let t_ms = violation.t_ms;
        let room = about.words.iter().find(|word| self.rooms.contains(word.as_str())).cloned();
        let named = |r: &&Record| {
            let here = room.as_deref().is_none_or(|room| r.room_name() == room);
            let publication =
                |(publisher, seq): &(String, u64)| here && r.seq == *seq && r.publisher_name() == publisher;
            r.kind == Kind::Invoke && r.what == What::Publish && about.publications.iter().any(publication)
        };
        let evidence = self.account.history.iter().filter(|_| !about.publications.is_empty()).filter(named);
        let moments: Vec<u64> =
            evidence.map(|r| r.t_ms).chain(causes.iter().map(|cause| self.bands[*cause].from_ms)).collect();
        let back = if moments.is_empty() { t_ms.saturating_sub(BEFORE_MS) } else { t_ms };
        let from_ms = moments.iter().copied().fold(back, u64::min).max(t_ms.saturating_sub(BACK_MS));
        let to_ms = moments.into_iter().fold(t_ms, u64::max).min(t_ms + BACK_MS);
        let pad = ((to_ms - from_ms) / 12).max(250);
        let publications = about.publications.iter().cloned().collect();
        let end_ms = self.account.header.end_ms.max(t_ms + 1);
        let (from_ms, to_ms) = (from_ms.saturating_sub(pad), (to_ms + pad).min(end_ms));
        (about, View { from_ms, to_ms, causes, room, publications, ..View::default() })
    }

    /// The faults that may explain it: of those that had begun and hit who is concerned (or what serves everybody), the
    /// ones that were active; else the one that ended last.
    fn causes(&self, about: &Concern, t_ms: u64) -> Vec<usize> {
        let parts = &self.account.header.actors;
        let hosts = parts.iter().filter(|part| about.actors.contains(&part.id));
        let mut nodes: BTreeSet<String> = hosts.map(|part| format!("client.{}", part.host)).collect();
        nodes.extend(about.nodes.iter().cloned());
        nodes.extend(self.shields(about, 0, t_ms));
        let concerns = |band: &Band| {
            let for_all = |node: &String| !node.starts_with("client") && !node.starts_with("shield");
            band.nodes.is_empty() || band.nodes.iter().any(|node| nodes.contains(node) || for_all(node))
        };
        let begun: Vec<usize> = (0..self.bands.len()).filter(|i| self.bands[*i].from_ms <= t_ms).collect();
        let mut close: Vec<usize> = begun.iter().copied().filter(|i| concerns(&self.bands[*i])).collect();
        if close.is_empty() {
            close = begun;
        }
        let active = |i: &usize| self.bands[*i].to_ms >= t_ms;
        if close.iter().any(active) {
            close.retain(active);
        } else {
            let last = close.into_iter().max_by_key(|i| self.bands[*i].to_ms);
            close = last.into_iter().collect();
        }
        close.sort_by_key(|i| std::cmp::Reverse(self.bands[*i].from_ms));
        close.truncate(CAUSES_MAX);
        close.sort_unstable();
        close
    }
}

/// Brains, spine, Shields, then actors by cohort.
fn lanes(account: &Account, stage: &Stage<'_>, actors: &BTreeSet<u32>) -> (Vec<Lane>, BTreeMap<u32, usize>) {
    let header = &account.header;
    let mut nodes: BTreeSet<String> = (0..header.surroundings.brains).map(|n| format!("brain.{n}")).collect();
    nodes.extend(stage.connects.values().flatten().map(|(_, shield)| format!("shield.{shield}")));
    nodes.extend(account.history.iter().filter_map(|r| r.shield).map(|shield| format!("shield.{shield}")));
    nodes.extend(stage.bands.iter().flat_map(|band| band.nodes.iter().cloned()));
    nodes.insert("spine".to_owned());
    nodes.retain(|node| !node.starts_with("client"));
    let rank = |node: &str| {
        let place = ["valkey", "brain", "spine", "shield"].iter().position(|kind| node.starts_with(kind));
        let number = node.split_once('.').and_then(|(_, number)| number.parse::<u32>().ok());
        (place, number)
    };
    let mut nodes: Vec<String> = nodes.into_iter().collect();
    nodes.sort_by_key(|node| rank(node));
    let lane = |name: String| {
        let group = name.split('.').next().unwrap_or_default().to_owned();
        Lane { label: name.clone(), node: name.clone(), detail: String::new(), group, name }
    };
    let mut lanes: Vec<Lane> = nodes.into_iter().map(lane).collect();
    let mut lane_of = BTreeMap::new();
    for part in header.actors.iter().filter(|part| actors.contains(&part.id)) {
        lane_of.insert(part.id, lanes.len());
        lanes.push(Lane {
            name: format!("actor {}", part.id),
            label: format!("actor {} · {}", part.id, part.user),
            group: part.cohort.clone(),
            node: format!("client.{}", part.host),
            detail: format!(
                "actor {}, user {} of tenant {}, on client.{}",
                part.id, part.user, part.tenant, part.host
            ),
        });
    }
    (lanes, lane_of)
}

/// The faults of a history. One that is never undone lasts to the end.
fn bands(account: &Account) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for r in account.history.iter().filter(|r| r.what == What::Fault) {
        let Some(fault) = &r.fault else { continue };
        if r.kind == Kind::Invoke {
            let kind = written(fault);
            // These are over as soon as they have begun.
            let moment = ["drop_all", "conn_reset"].contains(&kind.as_str());
            let to_ms = if moment { r.t_ms } else { account.header.end_ms };
            let nodes = hit(fault, &kind);
            let label =
                if nodes.is_empty() { kind.clone() } else { format!("{kind} {}", nodes.join(" – ")) };
            bands.push(Band { number: fault.number, kind, label, from_ms: r.t_ms, to_ms, nodes });
        } else if let Some(band) = bands.iter_mut().rev().find(|band| band.number == fault.number) {
            band.to_ms = r.t_ms;
        }
    }
    bands
}

fn written(fault: &Broken) -> String {
    let json = serde_json::to_value(fault.kind).ok();
    json.as_ref().and_then(serde_json::Value::as_str).unwrap_or("fault").to_owned()
}

fn hit(fault: &Broken, kind: &str) -> Vec<String> {
    let named = fault.node.iter().chain(&fault.peer).chain(&fault.side);
    let mut nodes: Vec<String> = named.map(ToString::to_string).collect();
    for node in ["spine", "valkey"] {
        if kind.starts_with(node) && !nodes.iter().any(|named| named == node) {
            nodes.push(node.to_owned());
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FaultKind;
    use crate::picture::testing::{account, connect, fault, publish, recv, violation};
    use crate::values::Node;

    fn names(layout: &Layout, lanes: &[usize]) -> Vec<String> {
        lanes.iter().map(|lane| layout.lanes[*lane].name.clone()).collect()
    }

    /// Actors 1 to 12 on three machines and two Shields; two faults, of which the second hits only actors 3, 6, 9 and 12.
    fn history() -> Vec<Record> {
        let mut history: Vec<Record> = (1..=12).flat_map(|actor| connect(100, actor, actor % 2)).collect();
        history.extend(fault(0, FaultKind::SpineDown, None, 5_000, 7_000));
        history.extend(fault(1, FaultKind::Partition, Some(Node::Client(2)), 20_000, 24_000));
        history.extend([publish(21_000, 3, "lobby", 4), recv(23_000, 5, 3, "lobby", 4)]);
        history
    }

    #[test]
    fn a_violation_is_seen_with_its_lanes_its_publication_and_the_fault_before_it() {
        let account = account(history());
        let layout = Layout::new(&account, &[violation(25_000, "5.1 got 4 of 3.1 in lobby twice")]);
        let view = &layout.views[0];
        assert_eq!(names(&layout, &view.lanes), ["shield.1", "actor 3", "actor 5"]);
        assert_eq!(names(&layout, &view.marked), ["actor 3", "actor 5"]);
        assert_eq!((view.causes.as_slice(), view.room.as_deref()), (&[1][..], Some("lobby")));
        assert!(
            view.from_ms < 20_000 && view.to_ms > 25_000 && view.to_ms - view.from_ms < 7_000,
            "{view:?}"
        );
    }

    #[test]
    fn what_hits_everybody_explains_more_than_what_hits_others() {
        let account = account(history());
        let layout = Layout::new(&account, &[violation(25_000, "actor 1 has no connection")]);
        let view = &layout.views[0];
        assert_eq!(view.causes, [0], "actor 1 is not on client.2");
        assert_eq!(names(&layout, &view.lanes), ["spine", "shield.1", "actor 1"]);
        assert!(view.from_ms < 5_000);
    }

    #[test]
    fn without_a_fault_the_moments_before_it_are_seen() {
        let history = (1..=12).flat_map(|actor| connect(100, actor, 0)).collect();
        let layout = Layout::new(&account(history), &[violation(40_000, "actor 2 has no connection")]);
        let view = &layout.views[0];
        assert!(view.causes.is_empty() && view.from_ms > 38_000 && view.to_ms > 40_000, "{view:?}");
    }

    #[test]
    fn nobody_named_means_everybody_but_not_more_than_a_screen() {
        let layout = Layout::new(&account(history()), &[violation(9_000, "the world panicked")]);
        assert_eq!(layout.views[0].lanes.len(), 4 + VIEW_ACTORS_MAX, "a Brain, the spine, two Shields");
    }

    #[test]
    fn a_fault_that_is_never_undone_lasts_and_one_that_is_a_moment_does_not() {
        let [begin, _] = fault(0, FaultKind::Kill, Some(Node::Shield(1)), 2_000, 0);
        let [drop, _] = fault(1, FaultKind::DropAll, None, 3_000, 0);
        let account = account(vec![begin, drop]);
        let bands = bands(&account);
        let of = |band: &Band| (band.label.clone(), band.from_ms, band.to_ms);
        assert_eq!(of(&bands[0]), ("kill shield.1".to_owned(), 2_000, account.header.end_ms));
        assert_eq!(of(&bands[1]), ("drop_all".to_owned(), 3_000, 3_000));
    }
}
