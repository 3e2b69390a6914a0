//! Sections 9 and 10: big messages, many fragments, many chops.

use arqon_proto::ws::Opcode;

use super::{Case, Reply, case, fragments, frame};

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

pub(crate) fn section_9() -> Vec<Case> {
    let mut cases = Vec::new();
    for (offset, opcode) in [(0, Opcode::Text), (1, Opcode::Binary)] {
        let group = |base: usize, i: usize| format!("9.{}.{}", base + offset, i + 1);
        let payload = |size: usize| vec![b'*'; size];
        let reply = |payload: Vec<u8>| match opcode {
            Opcode::Text => Reply::Text(payload),
            _ => Reply::Binary(payload),
        };
        for (i, size) in [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB].into_iter().enumerate() {
            let sent = vec![frame(true, opcode, payload(size))];
            cases.push(case(group(1, i), sent, vec![reply(payload(size))]));
        }
        let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
        for (i, size) in sizes.into_iter().enumerate() {
            let whole = payload(4 * MIB);
            let sent = fragments(opcode, &whole.chunks(size).collect::<Vec<_>>());
            cases.push(case(group(3, i), sent, vec![reply(whole)]));
        }
        for (i, chop) in [64, 128, 256, 512, KIB, 2 * KIB].into_iter().enumerate() {
            let sent = vec![frame(true, opcode, payload(MIB))];
            let mut case = case(group(5, i), sent, vec![reply(payload(MIB))]);
            case.chops = vec![chop];
            cases.push(case);
        }
        for (i, size) in [0, 16, 64, 256, KIB, 4 * KIB].into_iter().enumerate() {
            let sent = vec![frame(true, opcode, payload(size)); 1000];
            cases.push(case(group(7, i), sent, vec![reply(payload(size)); 1000]));
        }
    }
    cases
}

pub(crate) fn section_10() -> Vec<Case> {
    let whole = vec![b'*'; 65_536];
    let sent = fragments(Opcode::Text, &whole.chunks(1300).collect::<Vec<_>>());
    vec![case("10.1.1", sent, vec![Reply::Text(whole)])]
}
