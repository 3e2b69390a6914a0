//! What a violation is about, read from its words: oracles name connections (`3.1`), actors, users, nodes, rooms and publications.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::Part;

/// Who and what a violation names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Concern {
    /// Actors, by number.
    pub(super) actors: BTreeSet<u32>,
    /// Shields, Brains and the spine, as they are written.
    pub(super) nodes: BTreeSet<String>,
    /// Publications: publisher and number.
    pub(super) publications: BTreeSet<(String, u64)>,
    /// Words that may be a room.
    pub(super) words: BTreeSet<String>,
}

/// The users of a run, by name.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    users: BTreeMap<&'a str, u32>,
    last: u32,
}

impl<'a> Cast<'a> {
    pub(super) fn new(parts: &'a [Part]) -> Self {
        let users = parts.iter().map(|part| (part.user.as_str(), part.id)).collect();
        Self { users, last: parts.iter().map(|part| part.id).max().unwrap_or_default() }
    }

    /// The actor whose connection this is: `3.1` is the first of actor 3.
    fn connection(&self, word: &str) -> Option<u32> {
        let (actor, conn) = word.split_once('.')?;
        let (actor, _): (u32, u32) = (actor.parse().ok()?, conn.parse().ok()?);
        (1..=self.last).contains(&actor).then_some(actor)
    }

    /// Reads the words of a violation.
    pub(super) fn concern(&self, text: &str) -> Concern {
        let mut concern = Concern::default();
        let words = text.split_whitespace().map(|word| word.trim_matches([',', ':', ';', '(', ')', '"']));
        let words: Vec<&str> = words.collect();
        for (i, word) in words.iter().enumerate() {
            let before = |n: usize| i.checked_sub(n).map(|at| words[at]);
            if let Some(actor) = self.connection(word) {
                concern.actors.insert(actor);
                if let (Some("of"), Some(Ok(seq))) = (before(1), before(2).map(str::parse)) {
                    concern.publications.insert(((*word).to_owned(), seq));
                }
            } else if let Some(actor) = self.users.get(word) {
                concern.actors.insert(*actor);
            } else if before(1) == Some("actor") {
                concern.actors.extend(word.parse::<u32>().ok().filter(|n| (1..=self.last).contains(n)));
            } else if is_node(word) {
                concern.nodes.insert((*word).to_owned());
            } else {
                // Presence names a room with its tenant.
                let room = word.split_once('.').map_or(*word, |(_, room)| room);
                concern.words.extend([(*word).to_owned(), room.to_owned()]);
            }
        }
        concern
    }
}

fn is_node(word: &str) -> bool {
    let numbered = |(kind, number): (&str, &str)| {
        ["shield", "brain", "client"].contains(&kind) && number.parse::<u32>().is_ok()
    };
    word == "spine" || word.split_once('.').is_some_and(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::part;

    #[test]
    fn the_words_of_the_oracles_are_understood() {
        let parts: Vec<Part> = (1..=12).map(|id| part(id, &format!("chat.{}", id - 1))).collect();
        let cast = Cast::new(&parts);
        let of = |text: &str| {
            let concern = cast.concern(text);
            (Vec::from_iter(concern.actors), Vec::from_iter(concern.nodes), concern.publications)
        };
        let one = |publisher: &str, seq| BTreeSet::from([(publisher.to_owned(), seq)]);
        assert_eq!(
            of("9.2 got 31 of 12.1 in r1 before its subscribe was answered"),
            (vec![9, 12], vec![], one("12.1", 31))
        );
        assert_eq!(
            of("1.1 in lobby: shield.1 heard no Brain since 5510 ms"),
            (vec![1], vec!["shield.1".to_owned()], BTreeSet::new())
        );
        assert_eq!(
            of("2.1 sees the ghost of chat.4, chat.5 in acme.lobby"),
            (vec![2, 5, 6], vec![], BTreeSet::new())
        );
        assert_eq!(of("actor 7 has no connection").0, [7]);
        assert_eq!(of("egress of shield.0: 9 bytes wait, the bound is 8").1, ["shield.0"]);
        assert_eq!(of("actor 13 (13.1) at 3.5"), (vec![3], vec![], BTreeSet::new()), "there are only twelve");
        assert!(cast.concern("2.1 sees the ghost of chat.4 in acme.lobby").words.contains("lobby"));
    }
}
