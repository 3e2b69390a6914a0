//! What is encoded is read back the same, in both encodings.

use arqon_proto::codec::{decode_command, decode_server, encode_command, encode_server};
use arqon_proto::message::{Command, CommandBody, Encoding, Payload, ServerBody, ServerFrame};
use proptest::prelude::*;

use crate::strategies;

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

/// Turns base64 into the bytes it stands for: JSON reads back base64 what was written as bytes.
fn resolve(payload: &mut Payload<'_>) {
    let mut scratch = Vec::new();
    if let Payload::Bytes(bytes) = payload.decode_into(&mut scratch) {
        *payload = Payload::Bytes(bytes.to_vec().leak());
    }
}

fn resolved_command(mut command: Command<'_>) -> Command<'_> {
    if let CommandBody::Publish(publish) = &mut command.body {
        resolve(&mut publish.payload);
    }
    command
}

fn resolved_server(mut frame: ServerFrame<'_>) -> ServerFrame<'_> {
    if let ServerBody::Publication(publication) = &mut frame.body {
        resolve(&mut publication.payload);
    }
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn commands(command in strategies::command()) {
        for encoding in BOTH {
            let mut item = b"kept".to_vec();
            encode_command(encoding, &command, &mut item);
            prop_assert!(item.starts_with(b"kept"), "appended, not replaced");
            let back = decode_command(encoding, &item[4..])?;
            prop_assert_eq!(resolved_command(back), resolved_command(command.clone()), "{:?}", encoding);
        }
    }

    #[test]
    fn frames(frame in strategies::server()) {
        for encoding in BOTH {
            let mut item = b"kept".to_vec();
            encode_server(encoding, &frame, &mut item);
            prop_assert!(item.starts_with(b"kept"), "appended, not replaced");
            let back = decode_server(encoding, &item[4..])?;
            prop_assert_eq!(resolved_server(back), resolved_server(frame.clone()), "{:?}", encoding);
        }
    }

    #[test]
    fn json_is_one_line_that_serde_json_reads(command in strategies::command(), frame in strategies::server()) {
        for encode in [
            &(|out: &mut Vec<u8>| encode_command(Encoding::Json, &command, out)) as &dyn Fn(&mut Vec<u8>),
            &|out: &mut Vec<u8>| encode_server(Encoding::Json, &frame, out),
        ] {
            let mut item = Vec::new();
            encode(&mut item);
            prop_assert!(!item.contains(&b'\n') && !item.contains(&b'\r'));
            let value: serde_json::Value = serde_json::from_slice(&item)?;
            let keys = value.as_object().map_or(0, |object| object.keys().filter(|key| *key != "id").count());
            prop_assert_eq!(keys, 1, "one key besides the id names the item");
        }
    }
}
