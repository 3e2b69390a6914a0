//! What a Brain costs: one Elixir Brain over a real nats-server, and this program as its Shields.
//!
//! `cargo bench -p arqon-stack --features real-parts --bench brain`, after `MIX_ENV=prod mix release` in `brain/`.
//!
//! It prints joins a second through the Brain, the memory of a member, and what the death and the return of a Shield with 15,000 sockets
//! cost it. A member that the Brain has not announced on its room's subject does not count as joined.

use std::time::Duration;

use arqon_proto::generated::arqon::v1::{self as pb, control::Body};
use arqon_stack::{Programs, Stack, StackOptions};
use async_nats::{Client, ConnectOptions, Subscriber};
use buffa::Message as _;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

/// In rooms of a hundred, as a Shield with that many sockets has them.
const SOCKETS: u64 = 15_000;
const ROOM: u64 = 100;
/// How many are there before memory is measured, and how many more then.
const CROWD: u64 = 100_000;
/// The Shield collects for 50 ms what it tells: a thousand joins a second are fifty at a time.
const TOGETHER: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(120);
/// The Brain counts its sessions every so often, too.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const META: &[u8] = br#"{"name":"somebody"}"#;

/// One Shield, as the Brain knows it.
struct Shield {
    name: &'static str,
    incarnation: u64,
    nats: Client,
    /// What the Brain tells of rooms.
    told: Subscriber,
    counter: u64,
}

impl Shield {
    async fn enter(name: &'static str, incarnation: u64, nats: &Client) -> Self {
        let own = nats.subscribe(format!("_arqon.shield.{name}")).await.expect("subscribed");
        let told = nats.subscribe("_arqon.presence.>").await.expect("subscribed");
        nats.flush().await.expect("flushed");
        let mut shield = Self { name, incarnation, nats: nats.clone(), told, counter: 0 };
        shield.say(Body::from(pb::Hello::default())).await;
        timeout(PATIENCE, welcome(own)).await.expect("a welcome");
        shield
    }

    async fn say(&mut self, body: Body) {
        let control = pb::Control {
            from: self.name.to_owned(),
            instance: 1,
            incarnation: self.incarnation,
            body: Some(body),
        };
        self.nats.publish("_arqon.brain", control.encode_to_vec().into()).await.expect("sent");
    }

    /// So many come, `together` in one message, into rooms that are named after the Shield.
    async fn join(&mut self, members: u64, together: u64) {
        for first in (0..members).step_by(together as usize) {
            let rooms = (first..first + together).map(|n| self.member(n)).collect();
            self.say(Body::from(pb::Update { rooms })).await;
        }
        self.nats.flush().await.expect("flushed");
        self.announced(members).await;
    }

    fn member(&mut self, n: u64) -> pb::RoomPart {
        self.counter += 1;
        let counter = self.counter;
        let entry = pb::Entry {
            counter,
            user: format!("user-{counter}"),
            session: u128::from(counter).to_be_bytes().to_vec(),
            meta: META.to_vec(),
        };
        let slice = pb::Slice {
            shield: self.name.to_owned(),
            incarnation: self.incarnation,
            spans: vec![pb::Span { from: counter, to: counter }],
            entries: vec![entry],
            members_version: counter,
            members: n % ROOM + 1,
        };
        pb::RoomPart { subject: format!("acme.{}-{}", self.name, n / ROOM), slices: vec![slice] }
    }

    /// Waits until the Brain has announced so many entries.
    async fn announced(&mut self, entries: u64) {
        let mut seen = 0;
        while seen < entries {
            let message = timeout(PATIENCE, self.told.next()).await.expect("an announcement in time");
            let message = message.expect("the connection stands");
            let control = pb::Control::decode_from_slice(&message.payload).expect("a control message");
            let Some(Body::Update(update)) = control.body else { continue };
            let slices = update.rooms.iter().flat_map(|room| &room.slices);
            seen += slices.map(|slice| slice.entries.len() as u64).sum::<u64>();
        }
    }
}

async fn welcome(mut own: Subscriber) {
    while let Some(message) = own.next().await {
        let control = pb::Control::decode_from_slice(&message.payload).expect("a control message");
        if matches!(control.body, Some(Body::Welcome(welcome)) if welcome.accepted) {
            return;
        }
    }
}

/// The Brain's process.
struct Seen<'a>(&'a mut Stack);

impl Seen<'_> {
    fn file(&mut self, name: &str) -> String {
        let pid = self.0.brains[0].part.running().expect("it runs").id().expect("it has a number");
        std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("Linux")
    }

    /// Processor seconds so far, of all its threads.
    fn cpu(&mut self) -> f64 {
        let stat = self.file("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
        // The 14th and 15th field, counted from 1; the first two are cut off. A tick is a hundredth of a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    fn rss_kib(&mut self) -> u64 {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits until the Brain tells so many sessions.
    async fn knows(&mut self, sessions: u64) {
        let admin = self.0.brains[0].admin();
        let line = format!("arqon_brain_sessions {sessions}\n");
        let told = async {
            while !arqon_stack::http::get(admin, "/metrics").await.expect("metrics").1.contains(&line) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("the Brain never knew {sessions} sessions"));
    }
}

async fn measure(stack: &mut Stack) {
    let password = std::fs::read_to_string(&stack.secrets().nats_shield).expect("the password");
    let options = ConnectOptions::with_user_and_password("shield".to_owned(), password.trim().to_owned())
        .subscription_capacity(1 << 20);
    let nats = options.connect(stack.spine.address(0).to_string()).await.expect("connected");
    let mut seen = Seen(stack);
    println!("| | a second | processor time |\n|---|---|---|");
    let mut shield = Shield::enter("alone", 1, &nats).await;
    for (what, together) in [("joins, one a message", 1), ("joins, fifty a message", TOGETHER)] {
        let (began, cpu) = (Instant::now(), seen.cpu());
        shield.join(SOCKETS, together).await;
        let (took, cpu) = (began.elapsed().as_secs_f64(), seen.cpu() - cpu);
        println!("| {what} | {:.0} | {:.1} µs each |", SOCKETS as f64 / took, cpu * 1e6 / SOCKETS as f64);
    }

    drop(shield);
    let mut crowd = Shield::enter("crowd", 1, &nats).await;
    seen.knows(2 * SOCKETS).await;
    let before = seen.rss_kib();
    crowd.join(CROWD, TOGETHER).await;
    seen.knows(2 * SOCKETS + CROWD).await;
    let after = seen.rss_kib();
    let each = after.saturating_sub(before) as f64 / CROWD as f64;
    println!(
        "\n{CROWD} members in rooms of {ROOM}: {} to {} MiB resident, {each:.2} KiB each",
        before >> 10,
        after >> 10
    );

    died(&mut seen, &nats).await;
}

/// A Shield with 15,000 sockets says nothing any more, and comes back in a new life.
async fn died(seen: &mut Seen<'_>, nats: &Client) {
    let mut shield = Shield::enter("mortal", 1, nats).await;
    shield.join(SOCKETS, TOGETHER).await;
    seen.knows(3 * SOCKETS + CROWD).await;
    let cpu = seen.cpu();
    // Lease and grace, by the defaults, and what comes of it.
    tokio::time::sleep(Duration::from_secs(6 + 5 + 2)).await;
    println!(
        "a Shield with {SOCKETS} sockets is silent for lease and grace: {:.2} s of processor time in 13 s",
        seen.cpu() - cpu
    );
    let (began, cpu) = (Instant::now(), seen.cpu());
    let _back = Shield::enter("mortal", 2, nats).await;
    seen.knows(2 * SOCKETS + CROWD).await;
    let took = began.elapsed().as_secs_f64();
    println!(
        "it comes back without them: forgotten after {took:.2} s, {:.2} s of processor time",
        seen.cpu() - cpu
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut options = StackOptions::new(Programs::of_this_test().unwrap_or_else(|error| panic!("{error}")));
    (options.shields, options.brains) = (0, 1);
    let mut stack = Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    measure(&mut stack).await;
}
