//! A process of clients: it does what its parent writes to it, a line of JSON each, and answers with a line each.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_client::{TlsFiles, Trust, Wire};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::cast::{Share, Work};
use crate::crowd::{Crowd, Dial, Scene, Start};
use crate::entry::{Entry, Tokens};
use crate::tally::Tally;

/// What the parent says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    Open(Box<Opening>),
    /// Begins when [`machine_clock`] says so; what is published within the warm-up counts for no latency.
    Play {
        begin: Duration,
        warm_up: Duration,
    },
    Close,
}

/// Who is to come, and where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Opening {
    pub(crate) door: Door,
    pub(crate) tokens: Tokens,
    pub(crate) work: Work,
    pub(crate) share: Share,
    pub(crate) connects_per_s: f64,
}

/// Where clients connect, in turns.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Door {
    pub(crate) addresses: Vec<SocketAddr>,
    /// As the header `Host` says it.
    pub(crate) host: String,
    /// If it is not the usual one.
    pub(crate) path: Option<String>,
    /// If TLS is spoken there.
    pub(crate) tls: Option<Secure>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Secure {
    /// The name that the other side must prove.
    pub(crate) name: String,
    /// Who signs it, if not an authority of the system.
    pub(crate) ca: Option<PathBuf>,
}

/// What the worker answers.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    Opened,
    Played(Box<Tally>),
    /// Sockets that were closed without being asked.
    Closed(u64),
    Failed(String),
    /// Comes once a second by itself.
    Progress(Progress),
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Progress {
    pub(crate) open: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
}

/// Time since the machine started: the same for all processes on it.
pub(crate) fn machine_clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[derive(Debug)]
pub(crate) struct Tcp {
    addresses: Vec<SocketAddr>,
    tls: Option<(Trust, String)>,
    turn: std::cell::Cell<usize>,
}

impl Tcp {
    fn new(door: &Door) -> Result<Self> {
        if door.addresses.is_empty() {
            bail!("there is no address to connect to");
        }
        let trust = |Secure { name, ca }: &Secure| -> Result<(Trust, String)> {
            Ok((Trust::load(&TlsFiles { ca: ca.clone(), identity: None })?, name.clone()))
        };
        let tls = door.tls.as_ref().map(trust).transpose()?;
        Ok(Self { addresses: door.addresses.clone(), tls, turn: std::cell::Cell::new(0) })
    }
}

impl Dial for Tcp {
    type Io = Wire;

    async fn dial(&self) -> Result<Wire> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let address = self.addresses[turn % self.addresses.len()];
        let tls = self.tls.as_ref().map(|(trust, name)| (trust, name.as_str()));
        Wire::to(address, tls).await.with_context(|| format!("connecting to {address}"))
    }

    fn cut(io: &Wire) {
        // Its port is free at once: a herd that comes back needs as many again.
        if let Err(error) = socket2::SockRef::from(io.tcp()).set_linger(Some(Duration::ZERO)) {
            eprintln!("a socket cannot be cut off: {error}");
        }
    }
}

/// The worker's life; it ends with its standard input.
pub(crate) async fn work(voices: Rc<LocalSet>) -> Result<()> {
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
        let order = serde_json::from_str(&line).context("an order that cannot be read")?;
        say(&obey(order, &mut crowd, &voices)
            .await
            .unwrap_or_else(|error| Answer::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

fn say(answer: &Answer) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(std::io::stdout().flush()?)
}

async fn obey(order: Order, crowd: &mut Option<Crowd<Tcp>>, voices: &LocalSet) -> Result<Answer> {
    match order {
        Order::Open(opening) => {
            let Opening { door, tokens, work, share, connects_per_s } = *opening;
            let cast = work.cast(share)?;
            let dial = Tcp::new(&door)?;
            let entry = Entry::new(door.host, door.path, tokens)?;
            let scene = Scene::new(dial, entry, &cast, share.number);
            tokio::task::spawn_local(tell(Rc::downgrade(&scene)));
            *crowd = Some(Crowd::open(scene, cast, connects_per_s, voices).await?);
            Ok(Answer::Opened)
        }
        Order::Play { begin, warm_up } => {
            let crowd = crowd.as_mut().context("nothing is open")?;
            let start = Start { after: begin.saturating_sub(machine_clock()), warm_up };
            Ok(Answer::Played(Box::new(crowd.play(start).await)))
        }
        Order::Close => {
            let crowd = crowd.take().context("nothing is open")?;
            let closed = crowd.closed();
            crowd.close().await?;
            Ok(Answer::Closed(closed))
        }
    }
}

/// Says each second how far it is, for as long as there is something.
async fn tell(scene: Weak<Scene<Tcp>>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(scene) = scene.upgrade() else { return };
        let tally = scene.tally.borrow();
        let (published, delivered) = (tally.published, tally.delivered);
        // The parent is gone if nobody reads: the orders end as well.
        let _ = say(&Answer::Progress(Progress { open: scene.open.get(), published, delivered }));
    }
}
