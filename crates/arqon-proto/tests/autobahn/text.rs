//! Section 6: UTF-8 in text messages.

use arqon_proto::ws::Opcode;

use super::{Case, case, echoed, failed, fragments, text};

/// The suite writes the second letter as U+1F79, three bytes long.
const KOSME: &[u8] = "κ\u{1f79}σμε".as_bytes();
const HELLO: &str = "Hello-µ@ßöäüàá-UTF-8!!";

pub(crate) fn section_6() -> Vec<Case> {
    let mut cases = messages();
    cases.extend(fail_fast());
    for (group, validity, sequences) in groups() {
        for (i, sequence) in sequences.iter().enumerate() {
            let number = format!("6.{group}.{}", i + 1);
            cases.push(match validity {
                Validity::All => accepted(number, sequence),
                Validity::None => refused(number, sequence),
                Validity::Only(valid) if valid.contains(&(i + 1)) => accepted(number, sequence),
                Validity::Only(_) => refused(number, sequence),
            });
        }
    }
    cases
}

fn accepted(number: String, sequence: &[u8]) -> Case {
    case(number, vec![text(sequence)], vec![echoed(sequence)])
}

fn refused(number: String, sequence: &[u8]) -> Case {
    case(number, vec![text(sequence)], vec![failed(1007)])
}

/// One frame for every byte.
fn octets(payload: &[u8]) -> Vec<Vec<u8>> {
    fragments(Opcode::Text, &payload.chunks(1).collect::<Vec<_>>())
}

/// 6.1 and 6.2: empty and valid messages, in fragments cut between and inside characters.
fn messages() -> Vec<Case> {
    let hello = HELLO.as_bytes();
    let cut = HELLO.find('ä').expect("it is there");
    vec![
        case("6.1.1", vec![text("")], vec![echoed("")]),
        case("6.1.2", fragments(Opcode::Text, &[b"", b"", b""]), vec![echoed("")]),
        case("6.1.3", fragments(Opcode::Text, &[b"", b"middle frame", b""]), vec![echoed("middle frame")]),
        case("6.2.1", vec![text(hello)], vec![echoed(hello)]),
        case("6.2.2", fragments(Opcode::Text, &[&hello[..cut], &hello[cut..]]), vec![echoed(hello)]),
        case("6.2.3", octets(hello), vec![echoed(hello)]),
        case("6.2.4", octets(KOSME), vec![echoed(KOSME)]),
    ]
}

/// 6.3 and 6.4: the connection fails with the frame that holds the first impossible byte, not at the end.
///
/// 6.4.3 and 6.4.4 send one frame in chops; failing when that frame is complete is what the suite calls non-strict, and
/// allows.
fn fail_fast() -> Vec<Case> {
    let surrogate = [KOSME, b"\xed\xa0\x80", b"edited"].concat();
    let beyond: [&[u8]; 3] = [KOSME, b"\xf4\x90\x80\x80", b"edited"];
    let first_bad: [&[u8]; 3] = [KOSME, b"\xf4\x90", b"\x80\x80edited"];
    let fails = |number: &str, sent: Vec<Vec<u8>>, after: usize| {
        let mut case = case(number, sent, vec![failed(1007)]);
        case.failed_after = Some(after);
        case
    };
    vec![
        fails("6.3.1", vec![text(&surrogate)], 1),
        // ED may begin a character, ED A0 may not.
        fails("6.3.2", octets(&surrogate), KOSME.len() + 2),
        fails("6.4.1", fragments(Opcode::Text, &beyond), 2),
        fails("6.4.2", fragments(Opcode::Text, &first_bad), 2),
        fails("6.4.3", vec![text(beyond.concat())], 1),
        fails("6.4.4", vec![text(first_bad.concat())], 1),
    ]
}

/// Which sequences of a group are valid, counted from 1.
enum Validity {
    All,
    None,
    Only(&'static [usize]),
}

type Sequences = Vec<Vec<u8>>;

fn groups() -> Vec<(usize, Validity, Sequences)> {
    let prefixes = (1..=KOSME.len()).map(|n| KOSME[..n].to_vec()).collect();
    let incomplete = hex("c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf");
    let concatenated = incomplete.concat();
    vec![
        (
            5,
            Validity::All,
            ["hello$world", "hello¢world", "hello€world", "hello𤭢world", "κ\u{1f79}σμε"]
                .map(Vec::from)
                .into(),
        ),
        (6, Validity::Only(&[2, 5, 7, 9, 11]), prefixes),
        (7, Validity::All, hex("00 c280 e0a080 f0908080")),
        (8, Validity::None, hex("f888808080 fc8480808080")),
        (9, Validity::All, hex("7f dfbf efbfbf f48fbfbf")),
        (10, Validity::None, hex("f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf")),
        (11, Validity::Only(&[1, 2, 3, 4]), hex("ed9fbf ee8080 efbfbd f48fbfbf f4908080")),
        (12, Validity::None, unexpected_continuations()),
        (13, Validity::None, lonely_starts()),
        (14, Validity::None, incomplete),
        (15, Validity::None, vec![concatenated]),
        (16, Validity::None, hex("fe ff fefeffff")),
        (17, Validity::None, hex("c0af e080af f08080af f8808080af fc80808080af")),
        (18, Validity::None, hex("c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf")),
        (19, Validity::None, hex("c080 e08080 f0808080 f880808080 fc8080808080")),
        (20, Validity::None, hex("eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf")),
        (
            21,
            Validity::None,
            hex("eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf \
                 edafbfedb080 edafbfedbfbf"),
        ),
        (22, Validity::All, non_characters()),
        (23, Validity::All, hex("efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf")),
    ]
}

fn hex(words: &str) -> Sequences {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("the table is ASCII");
        u8::from_str_radix(pair, 16).expect("the table is hexadecimal")
    };
    words.split_whitespace().map(|word| word.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// One to seven alternating continuation bytes, then all 64.
fn unexpected_continuations() -> Sequences {
    let alternating = [0x80, 0xBF, 0x80, 0xBF, 0x80, 0xBF, 0x80];
    let mut sequences = hex("80 bf");
    sequences.extend((2..=6).map(|n| alternating[..n].to_vec()));
    sequences.push((0x80..=0xBF).collect());
    sequences
}

/// Every start byte of one length, each followed by a space.
fn lonely_starts() -> Sequences {
    [0xC0..=0xDF, 0xE0..=0xEF, 0xF0..=0xF7, 0xF8..=0xFB, 0xFC..=0xFD]
        .map(|range: std::ops::RangeInclusive<u8>| range.flat_map(|start| [start, b' ']).collect())
        .into()
}

/// U+xFFFE and U+xFFFF of all 17 planes.
fn non_characters() -> Sequences {
    (0..17_u32)
        .flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF])
        .map(|point| char::from_u32(point).expect("not a surrogate").to_string().into_bytes())
        .collect()
}
