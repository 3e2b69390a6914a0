//! Sections 1 to 5: sizes, control frames, reserved bits, opcodes, fragmentation.

use arqon_proto::ws::Opcode;

use super::{Case, Reply, case, echoed, failed, fragments, frame, ping, raw, text};

pub(crate) fn section_1() -> Vec<Case> {
    let sizes = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
    let mut cases = Vec::new();
    for (i, size) in sizes.into_iter().enumerate() {
        let payload = vec![b'*'; size];
        cases.push(case(format!("1.1.{}", i + 1), vec![text(&payload)], vec![echoed(&payload)]));
        let payload = vec![0xFE; size];
        let sent = vec![frame(true, Opcode::Binary, &payload)];
        cases.push(case(format!("1.2.{}", i + 1), sent, vec![Reply::Binary(payload)]));
    }
    for last in cases.iter_mut().filter(|case| case.number.ends_with(".8")) {
        last.chops = vec![997];
    }
    cases
}

pub(crate) fn section_2() -> Vec<Case> {
    let pong = |payload: &[u8]| Reply::Pong(payload.to_vec());
    let unsolicited = |payload: &str| frame(true, Opcode::Pong, payload);
    let binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
    let ten: Vec<_> = (0..10).map(|i| format!("payload-{i}")).collect();
    let ten_sent: Vec<_> = ten.iter().map(ping).collect();
    let ten_replies: Vec<_> = ten.iter().map(|payload| pong(payload.as_bytes())).collect();
    vec![
        case("2.1", vec![ping("")], vec![pong(b"")]),
        case("2.2", vec![ping("Hello, world!")], vec![pong(b"Hello, world!")]),
        case("2.3", vec![ping(binary)], vec![pong(binary)]),
        case("2.4", vec![ping([0xFE; 125])], vec![pong(&[0xFE; 125])]),
        case("2.5", vec![ping([0xFE; 126])], vec![failed(1002)]),
        case("2.6", vec![ping([0xFE; 125])], vec![pong(&[0xFE; 125])]),
        case("2.7", vec![unsolicited("")], vec![]),
        case("2.8", vec![unsolicited("unsolicited pong payload")], vec![]),
        case(
            "2.9",
            vec![unsolicited("unsolicited pong payload"), ping("ping payload")],
            vec![pong(b"ping payload")],
        ),
        case("2.10", ten_sent.clone(), ten_replies.clone()),
        case("2.11", ten_sent, ten_replies),
    ]
}

pub(crate) fn section_3() -> Vec<Case> {
    let hello = "Hello, world!";
    // The reserved bits stand at 0x40, 0x20 and 0x10; the suite counts them as a number from 1 to 7.
    let after_text = |number: &str, rsv: u8| {
        let sent = vec![text(hello), raw(0x81 | rsv << 4, hello), ping("")];
        case(number, sent, vec![echoed(hello), failed(1002)])
    };
    vec![
        case("3.1", vec![raw(0x81 | 1 << 4, hello)], vec![failed(1002)]),
        after_text("3.2", 2),
        after_text("3.3", 3),
        after_text("3.4", 4),
        case("3.5", vec![raw(0x82 | 5 << 4, [0, 0xFF, 0xFE])], vec![failed(1002)]),
        case("3.6", vec![raw(0x89 | 6 << 4, hello)], vec![failed(1002)]),
        case("3.7", vec![raw(0x88 | 7 << 4, "")], vec![failed(1002)]),
    ]
}

pub(crate) fn section_4() -> Vec<Case> {
    let hello = "Hello, world!";
    let mut cases = Vec::new();
    for (group, base) in [("4.1", 3), ("4.2", 11)] {
        for i in 0..5 {
            // Even cases of the suite carry a payload; from the third on a valid message comes before, a ping after.
            let reserved = raw(0x80 | (base + i), if i % 2 == 0 { "" } else { "reserved opcode payload" });
            let number = format!("{group}.{}", i + 1);
            cases.push(if i < 2 {
                case(number, vec![reserved], vec![failed(1002)])
            } else {
                case(number, vec![text(hello), reserved, ping("")], vec![echoed(hello), failed(1002)])
            });
        }
    }
    cases
}

const PARTS: [&[u8]; 2] = [b"fragment1", b"fragment2"];

pub(crate) fn section_5() -> Vec<Case> {
    let continuation = |fin, payload: &str| frame(fin, Opcode::Continuation, payload);
    let two = || fragments(Opcode::Text, &PARTS);
    let whole = || echoed(PARTS.concat());
    let pinged = || vec![two()[0].clone(), ping("ping payload"), two()[1].clone()];
    let pinged_replies = || vec![Reply::Pong(b"ping payload".to_vec()), whole()];
    let nothing_to_continue =
        |fin| vec![continuation(fin, "non-continuation payload"), text("Hello, world!")];
    let after_message = |fin| {
        let mut sent = two();
        sent.extend([continuation(fin, "fragment3"), text("Hello, world!")]);
        sent
    };
    let twice = |fin| {
        let once = [continuation(fin, "fragment1")].into_iter().chain(two());
        once.clone().chain(once).collect::<Vec<_>>()
    };
    let mut cases = vec![
        case("5.1", fragments(Opcode::Ping, &PARTS), vec![failed(1002)]),
        case("5.2", fragments(Opcode::Pong, &PARTS), vec![failed(1002)]),
        case("5.15", after_message(true), vec![whole(), failed(1002)]),
        case("5.16", twice(false), vec![failed(1002)]),
        case("5.17", twice(true), vec![failed(1002)]),
        case(
            "5.18",
            vec![frame(false, Opcode::Text, PARTS[0]), frame(true, Opcode::Text, PARTS[1])],
            vec![failed(1002)],
        ),
    ];
    // The suite repeats each whole, in one chop a frame and byte by byte; the driver does all of them every time.
    for i in 0..3 {
        cases.push(case(format!("5.{}", 3 + i), two(), vec![whole()]));
        cases.push(case(format!("5.{}", 6 + i), pinged(), pinged_replies()));
        cases.push(case(format!("5.{}", 9 + i), nothing_to_continue(true), vec![failed(1002)]));
        cases.push(case(format!("5.{}", 12 + i), nothing_to_continue(false), vec![failed(1002)]));
    }
    for number in ["5.19", "5.20"] {
        let parts: [&[u8]; 5] = [b"fragment1", b"fragment2", b"fragment3", b"fragment4", b"fragment5"];
        let mut sent = fragments(Opcode::Text, &parts);
        sent.insert(4, ping("pongme 2!"));
        sent.insert(2, ping("pongme 1!"));
        let pongs = ["pongme 1!", "pongme 2!"].map(|payload| Reply::Pong(payload.into()));
        cases.push(case(number, sent, pongs.into_iter().chain([echoed(parts.concat())]).collect()));
    }
    cases
}
