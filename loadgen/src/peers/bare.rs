//! Two servers without anything: axum as it comes, and the kernel's floor.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::routing::get;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use tokio::sync::broadcast;

type Rooms = Arc<Mutex<BTreeMap<String, broadcast::Sender<Utf8Bytes>>>>;

/// axum 0.8 and a broadcast channel for each room: what its examples show.
pub(crate) fn serve_axum() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", json!({ "port": listener.local_addr()?.port() }));
        let router = Router::new().route("/", get(upgrade)).with_state(Rooms::default());
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn upgrade(
    State(rooms): State<Rooms>,
    Query(query): Query<BTreeMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    let room = query.get("room").cloned().unwrap_or_default();
    let sender = rooms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(room)
        .or_insert_with(|| broadcast::channel(1024).0)
        .clone();
    let receiver = sender.subscribe();
    upgrade.on_upgrade(|socket| member(socket, sender, receiver))
}

async fn member(
    mut socket: WebSocket,
    sender: broadcast::Sender<Utf8Bytes>,
    mut receiver: broadcast::Receiver<Utf8Bytes>,
) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => drop(sender.send(text)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            text = receiver.recv() => {
                let Ok(text) = text else { return };
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Socket {
    stream: mio::net::TcpStream,
    room: usize,
    upgraded: bool,
}

/// One thread, one epoll: what a publisher sends goes out to the room as it stands, several frames in one write.
pub(crate) fn serve_floor() -> Result<()> {
    const LISTENER: Token = Token(usize::MAX);
    let mut listener = mio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut sockets: Vec<Socket> = Vec::new();
    let mut rooms: Vec<Vec<usize>> = Vec::new();
    let (mut buffer, mut out) = (vec![0; 64 * 1024], Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(sockets.len()), Interest::READABLE)?;
                    sockets.push(Socket { stream, room: 0, upgraded: false });
                }
                continue;
            }
            let Token(at) = event.token();
            let socket = &mut sockets[at];
            let n = match socket.stream.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            if n == 0 {
                // The client ends its run by leaving, all sockets at once.
                return Ok(());
            }
            if socket.upgraded {
                out.clear();
                forward(&mut buffer[..n], &mut out);
                for &member in &rooms[socket.room] {
                    // The clients read all the time: what one of them does not take is a run that says nothing.
                    sockets[member].stream.write_all(&out).context("a client is slow")?;
                }
            } else {
                socket.room = accept(&mut socket.stream, &buffer[..n])?;
                socket.upgraded = true;
                let room = socket.room;
                if rooms.len() <= room {
                    rooms.resize_with(room + 1, Vec::new);
                }
                rooms[room].push(at);
            }
        }
    }
}

/// Answers an upgrade request without looking at it, but for its room.
fn accept(stream: &mut mio::net::TcpStream, request: &[u8]) -> Result<usize> {
    let text = std::str::from_utf8(request)?;
    let room = text.split_once("room=r").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    room.context("a request without a room")
}

/// Unmasks whole frames of 126 to 65,535 bytes, which is what publications are here.
fn forward(mut bytes: &mut [u8], out: &mut Vec<u8>) {
    while bytes.len() > 8 {
        let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (frame, rest) = bytes.split_at_mut((8 + len).min(bytes.len()));
        out.extend_from_slice(&[frame[0], 126, frame[2], frame[3]]);
        let key = [frame[4], frame[5], frame[6], frame[7]];
        out.extend(frame[8..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes = rest;
    }
}
