//! The client against a Shield that says whatever a test needs.

mod support;

use std::time::Duration;

use arqon_client::{
    Carrier, Cause, Event, OpenError, Options, PublishOptions, RequestError, SubscribeOptions,
};
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::codec;
use arqon_proto::message::{CommandBody, Connected, Encoding, Payload, ServerBody, ServerFrame, Watch};
use support::{FakeShield, Upgrade, options, pair, upgrade};
use tokio_tungstenite::tungstenite::Message;

const PUBLICATION: &str = r#"{"publication":{"room":"lobby","data":{"n":1},"user":"ann","session":"00000000000000000000000000000001","at_ms":5}}"#;
const CONNECTED: &str = r#"{"id":1,"connect":{"session":"0000000000000000000000000000000a","user":"ann","ttl_ms":60000,"ping_interval_ms":25000,"pong_timeout_ms":10000,"message_bytes_max":65536}}"#;

fn describe(event: &Event) -> String {
    match event {
        Event::Reply(frame) => format!("reply {}", frame.id()),
        Event::Push(frame) => match frame.view().body {
            ServerBody::Publication(p) => {
                format!("publication {} {}", p.room, String::from_utf8_lossy(p.payload.bytes()))
            }
            ServerBody::Gap { room, missed } => format!("gap {room} {missed:?}"),
            other => format!("{other:?}"),
        },
        Event::Unreadable(unreadable) => format!("unreadable {}", String::from_utf8_lossy(&unreadable.bytes)),
        Event::Closed(closed) => format!("closed {}", closed.code),
    }
}

#[tokio::test]
async fn a_session_opens_subscribes_and_publishes() {
    let (mut client, mut shield) = pair().await;

    let (opened, heard) = tokio::join!(client.connect(), shield.answers(CONNECTED));
    let opened = opened.expect("connected");
    assert_eq!((opened.user.as_str(), opened.ttl_ms, opened.session.map(|s| s.0)), ("ann", 60_000, Some(10)));
    assert_eq!(heard.trim_end(), r#"{"id":1,"connect":{}}"#);

    let watch = SubscribeOptions { track: Some(br#"{"a":1}"#), watch: Watch::Names, echo: false };
    let answer = r#"{"id":2,"subscribe":{"room":"lobby"}}"#;
    let (subscribed, heard) = tokio::join!(client.subscribe("lobby", &watch), shield.answers(answer));
    subscribed.expect("subscribed");
    for part in [r#""room":"lobby""#, r#""track":{"a":1}"#, r#""watch":"names""#, r#""echo":false"#] {
        assert!(heard.contains(part), "{part} in {heard}");
    }

    let publish = PublishOptions { msg_id: Some("m-1"), ..PublishOptions::default() };
    let (published, heard) = tokio::join!(
        client.publish("lobby", Payload::Json(b"[1,2]"), &publish),
        shield.answers(r#"{"id":3,"publish":{}}"#)
    );
    published.expect("published");
    assert!(heard.contains(r#""data":[1,2]"#) && heard.contains(r#""msg_id":"m-1""#), "{heard}");
}

#[tokio::test]
async fn a_protobuf_session_speaks_binary() {
    let options = options().with_encoding(Encoding::Protobuf);
    let (client, shield) = upgrade(&options, Upgrade::Choose("arqon.v1.pb")).await;
    let (mut client, mut shield) = (client.expect("upgraded"), shield.expect("upgraded"));
    assert_eq!(shield.headers["sec-websocket-protocol"], "arqon.v1.pb");

    let reply = ServerFrame {
        id: 1,
        body: ServerBody::Connected(Connected {
            session: "0000000000000000000000000000000a".into(),
            user: "ann".into(),
            ttl_ms: 7,
            ping_interval_ms: 1,
            pong_timeout_ms: 1,
            message_bytes_max: 1,
        }),
    };
    let gap = ServerFrame { id: 0, body: ServerBody::Gap { room: "lobby".into(), missed: None } };
    let mut message = Vec::new();
    for frame in [&gap, &reply] {
        codec::append(Encoding::Protobuf, &mut message, |out| {
            codec::encode_server(Encoding::Protobuf, frame, out);
        });
    }
    let (opened, heard) = tokio::join!(client.connect(), async {
        let heard = shield.hears().await;
        shield.says_binary(message).await;
        heard
    });
    assert_eq!(opened.expect("connected").ttl_ms, 7);
    assert!(matches!(heard, Message::Binary(_)), "{heard:?}");
    assert_eq!(describe(&client.next().await), "gap lobby None");
}

#[tokio::test]
async fn the_token_travels_as_the_options_say() {
    let carried = |carrier| Options { carrier, ..options().with_token("a.b.c") };

    let (_, shield) = upgrade(&carried(Carrier::Header), Upgrade::Choose("arqon.v1.json")).await;
    assert_eq!(shield.expect("upgraded").headers["authorization"], "Bearer a.b.c");

    let (_, shield) = upgrade(&carried(Carrier::Subprotocol), Upgrade::Choose("arqon.v1.json")).await;
    let headers = shield.expect("upgraded").headers;
    assert_eq!(headers["sec-websocket-protocol"], "arqon.v1.json, arqon.bearer.a.b.c");
    assert!(!headers.contains_key("authorization"));

    let (client, shield) = upgrade(&carried(Carrier::Command), Upgrade::Choose("arqon.v1.json")).await;
    let (mut client, mut shield) = (client.expect("upgraded"), shield.expect("upgraded"));
    assert!(!shield.headers.contains_key("authorization"));
    let (opened, heard) = tokio::join!(client.connect(), shield.answers(CONNECTED));
    opened.expect("connected");
    assert!(heard.contains(r#""token":"a.b.c""#), "{heard}");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_says_why() {
    let (refused, _) = upgrade(&options(), Upgrade::Refuse(503, "draining")).await;
    let error = refused.expect_err("refused");
    assert!(matches!(&error, OpenError::Refused { status: 503, body } if body == "draining"), "{error:?}");
    assert!(error.temporary());

    let (refused, _) = upgrade(&options(), Upgrade::Refuse(404, "no such path")).await;
    assert!(!refused.expect_err("refused").temporary());

    // A bearer subprotocol that comes back would put the token into every log on the way.
    let echoing = Options { carrier: Carrier::Subprotocol, ..options().with_token("t") };
    let (refused, _) = upgrade(&echoing, Upgrade::Choose("arqon.bearer.t")).await;
    assert!(matches!(refused.expect_err("refused"), OpenError::NotAShield(_)));

    let (refused, _) = upgrade(&options().with_token("two\nlines"), Upgrade::Choose("arqon.v1.json")).await;
    assert!(matches!(refused.expect_err("refused"), OpenError::BadOption("token")));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_answered_ends_in_time() {
    let (near, _far) = tokio::io::duplex(4096);
    let error = arqon_client::Connection::open(near, &options()).await.expect_err("nobody answers");
    assert!(matches!(error, OpenError::Timeout(after) if after == Duration::from_secs(10)));
}

#[tokio::test]
async fn what_arrives_before_a_reply_is_kept_in_order() {
    let (mut client, mut shield) = pair().await;
    let first = client.send(&CommandBody::Ping).await.expect("sent");
    shield.hears_text().await;
    let message = format!(
        "{PUBLICATION}\n{{\"gap\":{{\"room\":\"lobby\",\"missed\":3}}}}\n{{\"id\":{first},\"pong\":{{}}}}\n{{\"id\":2,\"pong\":{{}}}}\n{PUBLICATION}"
    );
    let (pong, _) = tokio::join!(client.ping(), shield.answers(&message));
    pong.expect("the second ping is answered");

    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(describe(&client.next().await));
    }
    let publication = r#"publication lobby {"n":1}"#;
    assert_eq!(seen, [publication, "gap lobby Some(3)", "reply 1", publication]);
}

#[tokio::test]
async fn a_refusal_is_typed() {
    let (mut client, mut shield) = pair().await;
    let answer = r#"{"id":1,"error":{"code":109,"name":"rate_limited","message":"publish_rate_per_s is 100","temporary":true,"retry_after_ms":40}}"#;
    let options = PublishOptions::default();
    let (result, _) =
        tokio::join!(client.publish("lobby", Payload::Json(b"1"), &options), shield.answers(answer));
    let Err(RequestError::Refused(refusal)) = result else { panic!("{result:?}") };
    assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::RateLimited, Some(40)));
    assert_eq!(refusal.to_string(), "rate_limited (109): publish_rate_per_s is 100");
}

#[tokio::test]
async fn a_reply_of_another_kind_is_an_error() {
    let (mut client, mut shield) = pair().await;
    let (result, _) = tokio::join!(client.ping(), shield.answers(r#"{"id":1,"publish":{}}"#));
    assert!(matches!(result, Err(RequestError::Unexpected(_))), "{result:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_and_passed_over() {
    let (mut client, mut shield) = pair().await;
    let unknown = r#"{"hologram":{"room":"lobby"}}"#;
    shield.says(&format!("{unknown}\n{PUBLICATION}")).await;
    shield.says("not json").await;
    shield.says_binary(vec![1, 2, 3]).await;
    shield.says(PUBLICATION).await;

    assert_eq!(describe(&client.next().await), format!("unreadable {unknown}"));
    assert_eq!(describe(&client.next().await), r#"publication lobby {"n":1}"#);
    assert_eq!(describe(&client.next().await), "unreadable not json");
    assert!(matches!(client.next().await, Event::Unreadable(_)), "a binary message in a JSON session");
    assert_eq!(describe(&client.next().await), r#"publication lobby {"n":1}"#);
}

#[tokio::test(start_paused = true)]
async fn a_missing_reply_fails_the_request_and_not_the_connection() {
    let (mut client, mut shield) = pair().await;
    let result = client.ping().await;
    assert!(
        matches!(result, Err(RequestError::Timeout(after)) if after == Duration::from_secs(10)),
        "{result:?}"
    );

    shield.says(r#"{"id":1,"pong":{}}"#).await;
    assert_eq!(describe(&client.next().await), "reply 1");
}

#[tokio::test]
async fn a_flood_before_a_reply_is_bounded() {
    let bounded = Options { kept_events_max: 3, ..options() };
    let (client, shield) = upgrade(&bounded, Upgrade::Choose("arqon.v1.json")).await;
    let (mut client, mut shield) = (client.expect("upgraded"), shield.expect("upgraded"));
    let flood =
        format!("{PUBLICATION}\n{PUBLICATION}\n{PUBLICATION}\n{PUBLICATION}\n{{\"id\":1,\"pong\":{{}}}}");
    let (result, _) = tokio::join!(client.ping(), shield.answers(&flood));
    assert!(matches!(result, Err(RequestError::TooManyEvents { max: 3 })), "{result:?}");
    for _ in 0..4 {
        assert_eq!(describe(&client.next().await), r#"publication lobby {"n":1}"#);
    }
    assert_eq!(describe(&client.next().await), "reply 1");
}

#[tokio::test]
async fn a_batch_is_one_message_with_consecutive_ids() {
    let (mut client, mut shield) = pair().await;
    client.send_unanswered(&CommandBody::Ping).await.expect("sent");
    let first = client.send_batch(&[CommandBody::Ping, CommandBody::Ping]).await.expect("sent");
    assert_eq!(first, 1);
    assert_eq!(shield.hears_text().await.trim_end(), r#"{"ping":{}}"#);
    assert_eq!(shield.hears_text().await.trim_end(), "{\"id\":1,\"ping\":{}}\n{\"id\":2,\"ping\":{}}");
    assert_eq!(client.send(&CommandBody::Ping).await.expect("sent"), 3);
}

async fn says_slow_consumer(shield: &mut FakeShield) {
    shield
        .says(r#"{"disconnect":{"code":4001,"name":"slow_consumer","reason":"egress_bytes_max is 262144","reconnect":true,"retry_after_ms":1234}}"#)
        .await;
}

#[tokio::test]
async fn a_close_keeps_its_code_reason_and_advice() {
    let (mut client, mut shield) = pair().await;
    says_slow_consumer(&mut shield).await;
    shield.closes(4001, "slow_consumer").await;

    assert!(matches!(client.next().await, Event::Push(_)), "the disconnect push itself is seen");
    for _ in 0..2 {
        let Event::Closed(closed) = client.next().await else { panic!("expected the end") };
        assert_eq!(
            (closed.cause, closed.code, &*closed.reason),
            (Cause::Shield, 4001, "egress_bytes_max is 262144")
        );
        assert_eq!((closed.known(), closed.retry_after_ms), (Some(CloseCode::SlowConsumer), Some(1234)));
        assert!(closed.reconnect());
    }
    assert!(matches!(shield.hears().await, Message::Close(_)), "the close is answered");
    assert!(client.send(&CommandBody::Ping).await.is_err());
}

#[tokio::test]
async fn a_terminal_close_fails_the_request_under_way() {
    let (mut client, mut shield) = pair().await;
    let (result, ()) = tokio::join!(client.connect(), async {
        shield.hears_text().await;
        shield.closes(4501, "unauthorized").await;
    });
    let Err(RequestError::Closed(closed)) = result else { panic!("{result:?}") };
    assert!(!closed.reconnect());
    assert_eq!(closed.to_string(), "closed by the Shield with 4501 unauthorized");
}

#[tokio::test]
async fn a_lost_stream_is_told_by_what_was_pushed_before() {
    let (mut client, shield) = pair().await;
    drop(shield);
    let Event::Closed(closed) = client.next().await else { panic!("expected the end") };
    assert_eq!((closed.cause, closed.code), (Cause::Lost, 1006));
    assert!(closed.reconnect());

    let (mut client, mut shield) = pair().await;
    says_slow_consumer(&mut shield).await;
    drop(shield);
    client.next().await;
    let Event::Closed(closed) = client.next().await else { panic!("expected the end") };
    assert_eq!((closed.cause, closed.code, closed.retry_after_ms), (Cause::Lost, 4001, Some(1234)));
}

#[tokio::test]
async fn a_shield_that_breaks_the_protocol_is_named() {
    let small = Options { message_bytes_max: 64, ..options() };
    let (client, shield) = upgrade(&small, Upgrade::Choose("arqon.v1.json")).await;
    let (mut client, mut shield) = (client.expect("upgraded"), shield.expect("upgraded"));
    shield.says(PUBLICATION).await;
    let Event::Closed(closed) = client.next().await else { panic!("expected the end") };
    assert_eq!(closed.cause, Cause::Violation);
    assert!(!closed.reconnect());

    let (mut client, mut shield) = pair().await;
    shield.writes(&[0xff, 0x00]).await;
    let Event::Closed(closed) = client.next().await else { panic!("expected the end") };
    assert_eq!(closed.cause, Cause::Violation);
}

#[tokio::test]
async fn a_cancelled_next_loses_nothing_wherever_the_bytes_break() {
    let line = br#"{"gap":{"room":"lobby","missed":3}}"#;
    let mut frame = vec![0x81, u8::try_from(line.len()).expect("a short frame")];
    frame.extend_from_slice(line);
    let (mut client, mut shield) = pair().await;
    for cut in 0..frame.len() {
        shield.writes(&frame[..cut]).await;
        tokio::select! {
            biased;
            event = client.next() => panic!("half a frame became {event:?}"),
            () = tokio::task::yield_now() => {}
        }
        shield.writes(&frame[cut..]).await;
        assert_eq!(describe(&client.next().await), "gap lobby Some(3)", "cut at {cut}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_while_the_owner_reads() {
    let (mut client, mut shield) = pair().await;
    shield.pings().await;
    shield.says(PUBLICATION).await;
    client.next().await;
    tokio::select! {
        event = client.next() => panic!("nothing more was said, but {event:?}"),
        heard = shield.hears() => assert!(matches!(heard, Message::Pong(_)), "{heard:?}"),
    }
}

#[tokio::test]
async fn closing_waits_for_the_answer() {
    let (mut client, mut shield) = pair().await;
    shield.says(PUBLICATION).await;
    let (closed, heard) = tokio::join!(client.close(), async {
        let heard = shield.hears().await;
        shield.hears_the_end().await;
        heard
    });
    assert!(matches!(heard, Message::Close(Some(frame)) if u16::from(frame.code) == 1000));
    assert_eq!((closed.cause, closed.code), (Cause::Client, 1000));
    assert!(!closed.reconnect());
}
