//! Another implementation's client against the decoder, over real sockets.

#[path = "../examples/echo/connection.rs"]
mod connection;
#[path = "../examples/echo/server.rs"]
mod server;

use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use arqon_proto::ws::FrameLimits;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, WebSocket};
use tungstenite::{Error, Message};

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20 };

/// A connected client and the thread that echoes to it.
fn connect() -> (WebSocket<TcpStream>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = std::thread::spawn(move || server::serve_one(listener.accept()?.0, LIMITS));
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    let (client, _) = tungstenite::client(format!("ws://{address}/"), stream).expect("an upgrade");
    (client, server)
}

/// Reads up to the close frame of the server.
fn read_close(client: &mut WebSocket<TcpStream>) -> Option<u16> {
    loop {
        match client.read().expect("a close frame comes before the end") {
            Message::Close(frame) => return frame.map(|frame| frame.code.into()),
            other => assert!(matches!(other, Message::Pong(_)), "unexpected {other:?}"),
        }
    }
}

fn finish(mut client: WebSocket<TcpStream>, server: JoinHandle<std::io::Result<()>>) {
    while client.read().is_ok() {}
    drop(client);
    server.join().expect("the server does not panic").expect("a clean end");
}

#[test]
fn messages_of_every_size_come_back() {
    let (mut client, server) = connect();
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let text = Message::text("x".repeat(size));
        let binary = Message::binary(vec![0xFE; size]);
        for message in [text, binary] {
            client.send(message.clone()).expect("it is sent");
            assert!(client.read().expect("it comes back") == message, "size {size}");
        }
    }
    client.send(Message::Ping("are you there".into())).expect("it is sent");
    assert_eq!(client.read().expect("a pong"), Message::Pong("are you there".into()));
    let frame = CloseFrame { code: CloseCode::Library(4321), reason: "done".into() };
    client.close(Some(frame)).expect("it is sent");
    assert_eq!(read_close(&mut client), Some(4321));
    finish(client, server);
}

#[test]
fn fragments_with_a_ping_between_are_joined() {
    let (mut client, server) = connect();
    let fragment = |opcode, data: &'static [u8], fin| Frame::message(data, OpCode::Data(opcode), fin);
    let (head, tail) = "κόσμε".as_bytes().split_at(3);
    client.send(Message::Frame(fragment(Data::Text, head, false))).expect("it is sent");
    client.send(Message::Ping("between".into())).expect("it is sent");
    client.send(Message::Frame(fragment(Data::Continue, tail, true))).expect("it is sent");
    assert_eq!(client.read().expect("a pong"), Message::Pong("between".into()));
    assert_eq!(client.read().expect("the message"), Message::text("κόσμε"));
    client.close(None).expect("it is sent");
    assert_eq!(read_close(&mut client), None);
    finish(client, server);
}

#[test]
fn a_message_above_the_limit_is_answered_with_1009() {
    let (mut client, server) = connect();
    let sent = client.send(Message::binary(vec![0; (1 << 20) + 1]));
    assert!(!matches!(sent, Err(Error::Capacity(_))), "the limit is the server's, not the client's");
    assert_eq!(read_close(&mut client), Some(1009));
    finish(client, server);
}

#[test]
fn text_that_is_not_utf8_is_answered_with_1007() {
    let (mut client, server) = connect();
    let frame = Frame::message(&b"\xce\xba\xed\xa0\x80"[..], OpCode::Data(Data::Text), true);
    client.send(Message::Frame(frame)).expect("it is sent");
    assert_eq!(read_close(&mut client), Some(1007));
    finish(client, server);
}
