//! Ten thousand members in one room, on two Shields with two real Brains: what a snapshot and a join cost. The numbers in
//! `docs/measured.md` are what it prints.

mod bed;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use arqon_client::{Connection, Event, Options, SubscribeOptions};
use arqon_proto::message::{Encoding, ServerBody, Watch};
use arqon_stack::{Programs, Secrets, Stack, StackOptions};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use bed::{ROOM, token};

const CROWD: usize = 10_000;
/// Joins that are measured: one after the other, and then all at once.
const ALONE: usize = 50;
const TOGETHER: usize = 500;
const META: &[u8] = b"{\"name\":\"somebody in the crowd\"}";
/// For everything together; a test that hangs fails.
const DEADLINE: Duration = Duration::from_secs(240);

type Client = Connection<TcpStream>;

fn settings() -> toml::Table {
    let text = "
        [limits]
        connections_per_address_max = 20000
        connections_per_tenant_max = 20000
        connect_rate_per_s = 100000
        connect_burst = 100000
        ping_interval = \"1h\"
        [drain]
        window = \"5s\"
    ";
    text.parse().expect("valid TOML")
}

async fn open(shield: SocketAddr, secrets: &Secrets, user: &str, encoding: Encoding) -> Client {
    let stream = TcpStream::connect(shield).await.expect("the Shield listens");
    let options = Options::new(shield.to_string()).with_token(token(secrets, user)).with_encoding(encoding);
    let mut connection = Connection::open(stream, &options).await.expect("the upgrade is taken");
    connection.connect().await.expect("the token is good");
    connection
}

async fn member(shield: SocketAddr, secrets: &Secrets, user: &str) -> Client {
    let mut client = open(shield, secrets, user, Encoding::Protobuf).await;
    let how = SubscribeOptions { track: Some(META), ..SubscribeOptions::default() };
    client.subscribe(ROOM, &how).await.expect("the room can be entered");
    client
}

/// Who watches: users, and the bytes that told of them.
struct Watcher {
    client: Client,
    users: BTreeSet<String>,
    bytes: usize,
    pushes: usize,
}

impl Watcher {
    async fn enter(shield: SocketAddr, secrets: &Secrets, encoding: Encoding) -> Self {
        let mut client = open(shield, secrets, "watcher", encoding).await;
        let how = SubscribeOptions { watch: Watch::Names, ..SubscribeOptions::default() };
        client.subscribe(ROOM, &how).await.expect("the room can be entered");
        Self { client, users: BTreeSet::new(), bytes: 0, pushes: 0 }
    }

    /// Reads until so many users are there.
    async fn counts(&mut self, users: usize) {
        while self.users.len() < users {
            let Event::Push(frame) = self.client.next().await else { panic!("closed while it was reading") };
            self.bytes += frame.bytes().len();
            self.pushes += 1;
            match frame.view().body {
                ServerBody::PresenceState(page) => {
                    self.users.extend(page.members.iter().map(|member| member.user.to_string()));
                }
                ServerBody::PresenceDiff(diff) => {
                    self.users.extend(diff.joins.iter().map(|member| member.user.to_string()));
                }
                _ => {}
            }
        }
    }

    fn forget_cost(&mut self) {
        (self.bytes, self.pushes) = (0, 0);
    }
}

async fn measure(stack: &Stack) {
    let shields = [stack.shields[0].clients(), stack.shields[1].clients()];
    let secrets = stack.secrets();
    let mut first = Watcher::enter(shields[0], secrets, Encoding::Json).await;
    let begun = Instant::now();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(member(shields[number % 2], secrets, &format!("user-{number}")).await);
    }
    let filled = begun.elapsed();
    first.counts(CROWD).await;
    let (per_join, pushes) = (first.bytes / CROWD, first.pushes);
    println!(
        "{CROWD} members entered in {filled:?}; one who watched got {per_join} B a join in {pushes} pushes"
    );

    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let asked = Instant::now();
        let mut late = Watcher::enter(shields[1], secrets, encoding).await;
        late.counts(CROWD).await;
        let (took, bytes, pages) = (asked.elapsed(), late.bytes, late.pushes);
        println!("full snapshot, {encoding:?}: {took:?} from the handshake on, {bytes} B in {pages} pages");
    }

    first.forget_cost();
    for number in 0..ALONE {
        crowd.push(member(shields[1], secrets, &format!("alone-{number}")).await);
        first.counts(CROWD + number + 1).await;
    }
    let alone = first.bytes / ALONE;
    first.forget_cost();
    for number in 0..TOGETHER {
        crowd.push(member(shields[1], secrets, &format!("together-{number}")).await);
    }
    first.counts(CROWD + ALONE + TOGETHER).await;
    let (together, pushes) = (first.bytes / TOGETHER, first.pushes);
    println!(
        "a join alone: {alone} B to each who watches; {TOGETHER} at once: {together} B each in {pushes} pushes"
    );
    assert!(alone < 1024 && together < 1024, "a join costs the others a diff and no snapshot");
}

#[tokio::test]
async fn ten_thousand_members_of_one_room() {
    let programs = Programs::of_this_test().expect("this test knows where it is");
    let options = StackOptions { settings: settings(), ..StackOptions::new(programs) };
    let stack = Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    timeout(DEADLINE, measure(&stack)).await.expect("all of it in time");
}
