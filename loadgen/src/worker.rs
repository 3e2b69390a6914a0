//! A process of clients: it does what its parent writes to it, a line of JSON each, and answers with a line each.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use arqon_client::Options;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::crowd::{Crowd, Dial, Traffic};
use crate::tally::Tally;

/// What the parent says.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    Open { address: SocketAddr, token: String, sockets: u32, rooms: u32 },
    Publish(Traffic),
    Close,
}

/// What the worker answers.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    Opened,
    Published(Tally),
    /// Sockets that were closed without being asked.
    Closed(u64),
    Failed(String),
}

/// What clients of a small machine need: an idle one reads little.
pub(crate) fn options(host: String, token: String) -> Options {
    let mut options = Options::new(host).with_token(token);
    options.read_buffer_bytes = 1024;
    options
}

pub(crate) struct Tcp(SocketAddr);

impl Dial for Tcp {
    type Io = TcpStream;

    async fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.0).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The worker's life; it ends with its standard input.
pub(crate) async fn work() -> Result<()> {
    let (lines, mut orders) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut crowd = None;
    while let Some(line) = orders.recv().await {
        let order = serde_json::from_str(&line).with_context(|| format!("an order: {line}"))?;
        let answer =
            obey(order, &mut crowd).await.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
        println!("{}", serde_json::to_string(&answer)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn obey(order: Order, crowd: &mut Option<Crowd>) -> Result<Answer> {
    match order {
        Order::Open { address, token, sockets, rooms } => {
            let options = options(address.to_string(), token);
            *crowd = Some(Crowd::open(Tcp(address), options, sockets, rooms).await?);
            Ok(Answer::Opened)
        }
        Order::Publish(traffic) => {
            let crowd = crowd.as_mut().context("nothing is open")?;
            Ok(Answer::Published(crowd.publish(traffic).await))
        }
        Order::Close => {
            let crowd = crowd.take().context("nothing is open")?;
            let closed = crowd.closed();
            crowd.close().await?;
            Ok(Answer::Closed(closed))
        }
    }
}
