//! A small thing to point a WebSocket test suite at: `cargo run -p arqon-proto --example echo -- 127.0.0.1:9001`.
//!
//! It accepts messages of up to 16 MiB, which the suites send, and serves one connection after the other.

mod connection;
mod server;

use std::net::TcpListener;

use arqon_proto::ws::FrameLimits;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address)?;
    println!("echoing on ws://{}", listener.local_addr()?);
    let max = 16 * 1024 * 1024;
    loop {
        let (stream, peer) = listener.accept()?;
        let limits = FrameLimits { frame_bytes_max: max, message_bytes_max: max };
        if let Err(error) = server::serve_one(stream, limits) {
            eprintln!("{peer}: {error}");
        }
    }
}
