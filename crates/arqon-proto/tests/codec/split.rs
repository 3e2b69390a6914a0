//! Several items in one message.

use arqon_proto::codec::{DecodeError, append, split};
use arqon_proto::message::Encoding::{self, Json, Protobuf};
use proptest::collection::vec;
use proptest::prelude::*;

/// A message of these items, and where each item ends in it.
fn message(encoding: Encoding, items: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut message, mut ends) = (Vec::new(), Vec::new());
    for item in items {
        append(encoding, &mut message, |out| out.extend_from_slice(item));
        ends.push(message.len());
    }
    (message, ends)
}

fn items(encoding: Encoding, message: &[u8]) -> Vec<Result<&[u8], DecodeError>> {
    split(encoding, message).collect()
}

proptest! {
    #[test]
    fn protobuf_comes_apart_as_it_was_put_together(list in vec(vec(any::<u8>(), 0..300), 0..6)) {
        let (message, ends) = message(Protobuf, &list);
        let found: Vec<_> = split(Protobuf, &message).collect::<Result<_, _>>()?;
        prop_assert_eq!(&found, &list);
        for cut in 0..message.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let mut found = items(Protobuf, &message[..cut]);
            if cut != 0 && !ends.contains(&cut) {
                prop_assert_eq!(found.pop(), Some(Err(DecodeError::Truncated)), "cut at {}", cut);
            }
            let found: Vec<_> = found.into_iter().collect::<Result<_, _>>()?;
            prop_assert_eq!(&found, &list[..whole], "cut at {}", cut);
        }
    }

    #[test]
    fn json_comes_apart_as_it_was_put_together(list in vec("[!-~é]{1,40}", 0..6)) {
        let list: Vec<_> = list.into_iter().map(String::into_bytes).collect();
        let (message, ends) = message(Json, &list);
        for cut in 0..=message.len() {
            let found: Vec<_> = split(Json, &message[..cut]).collect::<Result<_, _>>()?;
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            prop_assert_eq!(&found[..whole], &list[..whole], "cut at {}", cut);
            // A line that was cut is an item of its own: a reader of JSON Lines cannot tell, the decoder refuses it.
            for rest in &found[whole..] {
                prop_assert!(list[whole].starts_with(rest) && found.len() == whole + 1, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn anything_comes_apart_into_pieces_of_it(message in vec(any::<u8>(), 0..400)) {
        for encoding in [Json, Protobuf] {
            let found = items(encoding, &message);
            let errors = found.iter().filter(|item| item.is_err()).count();
            prop_assert!(errors == 0 || (errors == 1 && found[found.len() - 1].is_err()), "ends after the first error");
            let bytes: usize = found.iter().flatten().map(|item| item.len()).sum();
            prop_assert!(bytes <= message.len() && found.len() <= message.len());
        }
    }
}

#[test]
fn lines_may_be_blank_and_end_as_on_windows() {
    let found = items(Json, b"\n \t\r\n{}\r\n\n  1 \n\n2");
    assert_eq!(found, [Ok(&b"{}"[..]), Ok(b"1"), Ok(b"2")]);
    assert_eq!(items(Json, b"\n\r\n "), []);
    assert_eq!(items(Json, b""), []);
}

#[test]
fn an_empty_protobuf_item_is_an_item() {
    assert_eq!(items(Protobuf, b"\x00\x00\x01a"), [Ok(&b""[..]), Ok(b""), Ok(b"a")]);
    assert_eq!(items(Protobuf, b""), []);
}

#[test]
fn hostile_lengths_are_errors() {
    // A length is a varint of at most ten bytes; it may be larger than any memory, and padded with zeros.
    let large = [&[0xff; 9][..], b"\x01abc"].concat();
    let too_large = [&[0xff; 9][..], b"\x02abc"].concat();
    let endless = [0x80; 1 << 16];
    let cases: &[&[u8]] =
        &[b"\x80", b"\xff\xff\xff\xff", b"\x02a", &large, &too_large, &[0xff; 11], &endless];
    for case in cases {
        let found = items(Protobuf, case);
        assert!(matches!(found[..], [Err(_)]), "{found:?}");
    }
    assert_eq!(items(Protobuf, b"\x81\x80\x00a"), [Ok(&b"a"[..])], "padded, and still a varint");
}
