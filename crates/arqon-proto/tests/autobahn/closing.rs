//! Section 7: the closing handshake and its codes.

use arqon_proto::ws::Opcode;

use super::{Case, Reply, case, close, code, echoed, failed, frame, ping, text};

pub(crate) fn section_7() -> Vec<Case> {
    let hello = "Hello World!";
    let normal = || close(code(1000, ""));
    let closed = || failed(1000);
    let large = vec![b'*'; 256 * 1024];
    let half = frame(false, Opcode::Text, "fragment1");
    let rest = frame(true, Opcode::Continuation, "fragment2");
    let bad_reason = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    let mut cases = vec![
        case("7.1.1", vec![text(hello), normal()], vec![echoed(hello), closed()]),
        case("7.1.2", vec![normal(), normal()], vec![closed()]),
        case("7.1.3", vec![normal(), ping("")], vec![closed()]),
        case("7.1.4", vec![normal(), text(hello)], vec![closed()]),
        case("7.1.5", vec![half, normal(), rest], vec![closed()]),
        case(
            "7.1.6",
            vec![text(&large), text(hello), normal(), ping("")],
            vec![echoed(&large), echoed(hello), closed()],
        ),
        case("7.3.1", vec![close("")], vec![Reply::Close(None)]),
        case("7.3.2", vec![close("a")], vec![failed(1002)]),
        case("7.3.3", vec![normal()], vec![closed()]),
        case("7.3.4", vec![close(code(1000, hello))], vec![closed()]),
        case("7.3.5", vec![close(code(1000, [b'*'; 123]))], vec![closed()]),
        case("7.3.6", vec![close(code(1000, [b'*'; 124]))], vec![failed(1002)]),
        case("7.5.1", vec![close(code(1000, bad_reason))], vec![failed(1007)]),
    ];
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (i, number) in valid.into_iter().enumerate() {
        let sent = vec![close(code(number, ""))];
        cases.push(case(format!("7.7.{}", i + 1), sent, vec![failed(number)]));
    }
    let invalid = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
    for (i, number) in invalid.into_iter().enumerate() {
        let sent = vec![close(code(number, ""))];
        cases.push(case(format!("7.9.{}", i + 1), sent, vec![failed(1002)]));
    }
    // The suite takes any answer to these two; ours is the strict one.
    for (number, beyond) in [("7.13.1", 5000), ("7.13.2", u16::MAX)] {
        cases.push(case(number, vec![close(code(beyond, ""))], vec![failed(1002)]));
    }
    cases
}
