//! How many rooms share a message is not told by the contract: a Brain of several parts answers part by part, the model at
//! once. The world packs what one party says of rooms within one instant anew, and the same for all worlds.

use std::collections::BTreeMap;

use arqon_proto::generated::arqon::v1 as pb;
use buffa::Message as _;
use bytes::Bytes;
use pb::control::Body;

/// As a Brain or Shield packs at most.
const BYTES_MAX: usize = 32 * 1024;

/// Packs updates of one sender and subject, or pulls, anew; everything else is left alone.
pub(crate) fn repack(payloads: Vec<Bytes>) -> Vec<Bytes> {
    let decoded = payloads.iter().map(|payload| pb::Control::decode_from_slice(payload));
    let Ok(messages) = decoded.collect::<Result<Vec<_>, _>>() else { return payloads };
    let mut slices: BTreeMap<(String, String, Vec<u8>), pb::Slice> = BTreeMap::new();
    let mut pulls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(envelope) = messages.first().cloned() else { return payloads };
    for message in messages {
        match message.body {
            Some(Body::Update(update)) => {
                for room in update.rooms {
                    for slice in room.slices {
                        let key = (room.subject.clone(), slice.shield.clone(), slice.encode_to_vec());
                        slices.insert(key, slice);
                    }
                }
            }
            Some(Body::Pull(pull)) => pulls.entry(pull.to).or_default().extend(pull.subjects),
            _ => return payloads,
        }
    }
    let mut packed: Vec<Bytes> = updates(slices).into_iter().map(|body| encode(&envelope, body)).collect();
    for (to, mut subjects) in pulls {
        subjects.sort();
        subjects.dedup();
        packed.push(encode(&envelope, pb::Pull { to, subjects }));
    }
    packed
}

fn encode(envelope: &pb::Control, body: impl Into<Body>) -> Bytes {
    let control = pb::Control { body: Some(body.into()), ..envelope.clone() };
    control.encode_to_vec().into()
}

/// A message has each slice once, so that two pages of one slice are two messages.
fn updates(slices: BTreeMap<(String, String, Vec<u8>), pb::Slice>) -> Vec<pb::Update> {
    let mut done: Vec<pb::Update> = Vec::new();
    let mut bytes = BYTES_MAX;
    let mut last: Option<(String, String)> = None;
    for ((subject, shield, content), slice) in slices {
        let name = (subject.clone(), shield);
        let size = content.len() + subject.len() + 16;
        if bytes + size > BYTES_MAX || last.as_ref() == Some(&name) {
            done.push(pb::Update::default());
            bytes = 0;
        }
        bytes += size;
        last = Some(name);
        let Some(update) = done.last_mut() else { continue };
        match update.rooms.last_mut() {
            Some(room) if room.subject == subject => room.slices.push(slice),
            _ => update.rooms.push(pb::RoomPart { subject, slices: vec![slice] }),
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(rooms: &[(&str, &[&str])]) -> Bytes {
        let slice = |name: &&str| pb::Slice { shield: (*name).to_owned(), ..Default::default() };
        let part = |(subject, shields): &(&str, &[&str])| pb::RoomPart {
            subject: (*subject).to_owned(),
            slices: shields.iter().map(slice).collect(),
        };
        let body = pb::Update { rooms: rooms.iter().map(part).collect() };
        encode(&pb::Control { from: "brain-0".to_owned(), ..Default::default() }, body)
    }

    #[test]
    fn the_same_rooms_are_the_same_messages_however_they_came() {
        let whole = vec![update(&[("a", &["x", "y"]), ("b", &["x"])])];
        let parts = vec![update(&[("b", &["x"])]), update(&[("a", &["y"])]), update(&[("a", &["x"])])];
        assert_eq!(repack(parts), repack(whole.clone()));
        assert_eq!(repack(whole.clone()), whole);
    }

    #[test]
    fn two_pages_of_a_slice_stay_two_messages() {
        let slice = |n| pb::Slice { shield: "x".to_owned(), members: n, ..Default::default() };
        let page = |n| {
            let room = pb::RoomPart { subject: "a".to_owned(), slices: vec![slice(n)] };
            encode(&pb::Control::default(), pb::Update { rooms: vec![room] })
        };
        assert_eq!(repack(vec![page(1), page(2)]).len(), 2);
    }

    #[test]
    fn what_is_no_update_is_left_alone() {
        let hello = encode(&pb::Control::default(), pb::Hello {});
        assert_eq!(repack(vec![hello.clone(), hello.clone()]), [hello.clone(), hello]);
    }
}
