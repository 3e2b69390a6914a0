//! A publication on its way in and out, each part alone. `cargo bench -p arqon-proto`.

mod works;

use std::hint::black_box;
use std::time::Duration;

use arqon_proto::arena::Arena;
use arqon_proto::codec;
use arqon_proto::grant::{Actions, Admin, Grant, Identity, Pattern};
use arqon_proto::id::{RoomRef, SessionId, Tenant, User};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::{
    Command, CommandBody, Connect, Encoding, Payload, PublicationFrame, Publish, ServerBody, ServerFrame,
};
use arqon_proto::session::{AuthError, Host, Input, Output, Refusal, RoomError, RoomKey, Session};
use arqon_proto::spine::{Publication, Stamp};
use arqon_proto::time::Now;
use arqon_proto::ws::{Decoder, FrameLimits, Step};
use criterion::Criterion;
use works::Work;

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];
const DATA: &[u8] = br#"{"text":"a message of the usual size, such as people write them, with a few words more to fill it up","n":1234567890}"#;
const NOW: Now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };

/// Takes everything, and says nothing.
struct Quiet;

impl Host for Quiet {
    fn verify(&mut self, _: &str, _: Now) -> Result<Identity, AuthError> {
        let all = Actions { subscribe: true, publish: true, presence: true };
        Ok(Identity {
            tenant: Tenant::parse("acme").expect("a good name"),
            user: User::parse("ada").expect("a good name"),
            expires_wall_ms: NOW.wall_ms * 2,
            grants: [Grant { rooms: Pattern::parse("chat.>").expect("a good pattern"), can: all }].into(),
            issued_wall_ms: 0,
            token_id: None,
            admin: Admin::None,
            claims: None,
        })
    }

    fn admit(&mut self, _: &Identity) -> Result<SessionId, Refusal> {
        Ok(SessionId(7))
    }

    fn room(&mut self, _: &Tenant, _: RoomRef<'_>) -> Result<RoomKey, RoomError> {
        Ok(RoomKey { index: 1, generation: 1 })
    }

    fn retry_after_ms(&mut self) -> u64 {
        1_000
    }

    fn emit(&mut self, output: Output<'_>) {
        black_box(&output);
    }
}

fn publish(encoding: Encoding) -> Vec<u8> {
    let body = CommandBody::Publish(Publish {
        room: "chat.eu".into(),
        payload: Payload::Json(DATA),
        msg_id: None,
        echo: true,
        traceparent: None,
    });
    let mut message = Vec::new();
    codec::append(encoding, &mut message, |out| {
        codec::encode_command(encoding, &Command { id: 0, body }, out)
    });
    message
}

fn session(encoding: Encoding) -> Work {
    let limits = SessionLimits {
        publish_rate_per_s: 1_000_000_000,
        publish_burst: 1_000_000_000,
        command_rate_per_s: 1_000_000_000,
        command_burst: 1_000_000_000,
        ..SessionLimits::default()
    };
    let mut session = Session::new(encoding, NOW, &limits);
    let connect = CommandBody::Connect(Connect { token: Some("a token".into()), client: None });
    let mut hello = Vec::new();
    codec::append(encoding, &mut hello, |out| {
        codec::encode_command(encoding, &Command { id: 1, body: connect }, out);
    });
    session.handle(Input::Open { token: None }, NOW, &limits, &mut Quiet);
    session.handle(Input::Message(&hello), NOW, &limits, &mut Quiet);
    let message = publish(encoding);
    Work::new(format!("session: publish, {encoding:?}"), move || {
        session.handle(Input::Message(black_box(&message)), NOW, &limits, &mut Quiet);
        assert!(!session.is_closing(), "it takes them all");
    })
}

fn frame() -> Work {
    let limits = FrameLimits { frame_bytes_max: 1 << 16, message_bytes_max: 1 << 16 };
    let mut frame = vec![0x81, 0x80 | DATA.len() as u8, 1, 2, 3, 4];
    frame.extend(DATA.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
    let (mut decoder, mut bytes) = (Decoder::new(), frame.clone());
    Work::new(format!("frame: unmask and check {} bytes of text", DATA.len()), move || {
        bytes.copy_from_slice(&frame);
        let step = decoder.next(&mut bytes, &limits);
        assert!(matches!(step, Ok(Step::Consumed { .. })));
    })
}

fn publication() -> Publication<'static> {
    Publication {
        stamp: Stamp { shield: "shield-1", incarnation: 1_700_000_000_000, stream: 3, seq: 70_000 },
        session: SessionId(u128::MAX / 3),
        user: "ada",
        echo: true,
        msg_id: None,
        at_ms: NOW.wall_ms,
        traceparent: None,
        payload: Payload::Json(DATA),
    }
}

fn envelopes() -> [Work; 2] {
    let publication = publication();
    let mut arena = Arena::new();
    let envelope = publication.encode(&mut arena);
    let encode = Work::new("envelope: encode", move || drop(black_box(publication.encode(&mut arena))));
    let decode = Work::new("envelope: decode", move || {
        assert!(black_box(Publication::decode(black_box(&envelope))).is_ok());
    });
    [encode, decode]
}

fn for_clients(encoding: Encoding) -> Work {
    let (publication, mut out) = (publication(), Vec::with_capacity(1 << 10));
    let mut digits = [0; 32];
    let session = publication.session.write(&mut digits).to_owned();
    Work::new(format!("publication: encode, {encoding:?}"), move || {
        let body = ServerBody::Publication(PublicationFrame {
            room: "chat.eu".into(),
            payload: publication.payload,
            user: "ada".into(),
            session: session.as_str().into(),
            msg_id: None,
            at_ms: NOW.wall_ms,
            traceparent: None,
        });
        out.clear();
        codec::encode_server(encoding, black_box(&ServerFrame { id: 0, body }), &mut out);
    })
}

fn main() {
    let mut works = vec![frame()];
    works.extend(ENCODINGS.map(session));
    works.extend(envelopes());
    works.extend(ENCODINGS.map(for_clients));
    let criterion = || {
        let criterion = Criterion::default();
        criterion.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
    };
    works::main(criterion, works);
}
