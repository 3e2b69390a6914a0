//! The parent: it starts Shields and workers, gives them their orders, and adds up what they say.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::Args;
use crate::crowd::{Crowd, Traffic};
use crate::mem::Bus;
use crate::memory::{Memory, cpu, kernel_slab};
use crate::report::{Report, Round};
use crate::split::shares;
use crate::tally::Tally;
use crate::target::Target;
use crate::worker::{self, Answer, Order};

/// The allocator gives back within ten seconds what nobody uses any more, in steps of which the last may come later.
const RESTS_FOR: Duration = Duration::from_secs(30);
/// The longest wait for an answer of a worker, besides the time that its order takes by itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// The longest time until all sockets are open: a hundred thousand take less than half a minute.
const OPENS_WITHIN: Duration = Duration::from_secs(600);

/// A Shield and its clients.
struct Pair {
    shield: Target,
    worker: Worker,
    sockets: u32,
    rooms: u32,
}

struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("drive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("its input is piped")?;
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Self { child, orders, answers })
    }

    async fn order(&mut self, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await.context("a worker has ended")
    }

    /// The answer to an order that takes so long by itself. Cancel safe.
    async fn answer(&mut self, takes: Duration) -> Result<Answer> {
        let line = tokio::time::timeout(takes + ANSWERS_WITHIN, self.answers.next_line()).await;
        let line = line.context("a worker does not answer")??.context("a worker has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => bail!("a worker: {why}"),
            answer => Ok(answer),
        }
    }
}

/// Sockets of TCP to as many Shields as the limit of open files asks for.
pub(crate) async fn tcp(args: &Args) -> Result<Report> {
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let shares = shares(args.sockets, open_files);
    let mut pairs = Vec::new();
    for (at, sockets) in (0..).zip(&shares) {
        let count = shares.len() as u32;
        let rooms = (args.rooms / count + u32::from(at < args.rooms % count)).max(1);
        pairs.push(Pair { shield: Target::start()?, worker: Worker::start()?, sockets: *sockets, rooms });
    }
    // One round of a few sockets first: what a Shield allocates once is not a socket's.
    open(&mut pairs, 0, |pair| pair.sockets.min(16)).await?;
    close(&mut pairs).await?;
    let before = resident(&pairs)?;
    let slab = kernel_slab()?;
    let rooms = pairs.iter().map(|pair| pair.rooms.min(pair.sockets)).sum();
    let mut report = Report::new(args, rooms, pairs.len(), before);
    for round in 1..=args.rounds {
        let started = Instant::now();
        open(&mut pairs, round, |pair| pair.sockets).await?;
        let opened_in_s = started.elapsed().as_secs_f64();
        rest(args).await;
        let open_bytes = resident(&pairs)?;
        let kernel_bytes = kernel_slab()?.saturating_sub(slab);
        let cpu = processor(&pairs)?;
        let mut tally = publish(args, &mut pairs).await?;
        let cpu_s = (processor(&pairs)?.saturating_sub(cpu)).as_secs_f64();
        tally.closed = close(&mut pairs).await?;
        rest(args).await;
        let closed_bytes = resident(&pairs)?;
        report.rounds.push(Round { opened_in_s, open_bytes, closed_bytes, kernel_bytes, cpu_s, tally });
    }
    for pair in pairs {
        let Worker { mut child, orders, .. } = pair.worker;
        drop(orders);
        child.wait().await?;
        pair.shield.end()?;
    }
    Ok(report)
}

async fn open(pairs: &mut [Pair], round: u32, sockets: impl Fn(&Pair) -> u32) -> Result<()> {
    for (at, pair) in (0..).zip(pairs.iter_mut()) {
        let order = Order::Open {
            address: pair.shield.address(at, round),
            token: pair.shield.token().to_owned(),
            sockets: sockets(pair),
            rooms: pair.rooms,
        };
        pair.worker.order(&order).await?;
    }
    let all: u32 = pairs.iter().map(&sockets).sum();
    let deadline = Instant::now() + OPENS_WITHIN;
    for at in 0..pairs.len() {
        loop {
            tokio::select! {
                answer = pairs[at].worker.answer(OPENS_WITHIN) => {
                    let Answer::Opened = answer? else { bail!("a worker answers something else") };
                    break;
                }
                // Only here nothing else says that it goes on.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            let open = progress(pairs, all).await?;
            if Instant::now() > deadline {
                bail!(
                    "{open} of {all} sockets are open after {OPENS_WITHIN:?}; ask for fewer, or see what the Shields say"
                );
            }
        }
    }
    for pair in pairs {
        let wanted = sockets(pair);
        pair.shield.settle(wanted).await?;
    }
    Ok(())
}

async fn progress(pairs: &[Pair], all: u32) -> Result<u64> {
    let mut open = 0;
    for pair in pairs {
        open += pair.shield.sockets().await?;
    }
    eprintln!("{open} of {all} sockets are open");
    Ok(open)
}

async fn publish(args: &Args, pairs: &mut [Pair]) -> Result<Tally> {
    if args.publications == 0 {
        return Ok(Tally::default());
    }
    let traffic = traffic(args);
    eprintln!("{} publications in each room, one in {:?}", traffic.publications, traffic.interval);
    for pair in pairs.iter_mut() {
        pair.worker.order(&Order::Publish(traffic)).await?;
    }
    let mut all = Tally::default();
    for pair in pairs {
        let Answer::Published(tally) = pair.worker.answer(traffic.lasts()).await? else {
            bail!("a worker answers something else")
        };
        all.add(&tally);
    }
    Ok(all)
}

/// So that all together cause as many deliveries a second as was asked for.
fn traffic(args: &Args) -> Traffic {
    let interval = Duration::from_secs_f64(f64::from(args.sockets) / f64::from(args.deliveries_per_s.max(1)));
    Traffic { publications: args.publications, interval, payload_bytes: args.payload_bytes }
}

async fn close(pairs: &mut [Pair]) -> Result<u64> {
    let mut closed = 0;
    for pair in pairs.iter_mut() {
        pair.worker.order(&Order::Close).await?;
    }
    for pair in pairs.iter_mut() {
        let Answer::Closed(unasked) = pair.worker.answer(Duration::ZERO).await? else {
            bail!("a worker answers something else")
        };
        closed += unasked;
        pair.shield.settle(0).await?;
    }
    Ok(closed)
}

fn resident(pairs: &[Pair]) -> Result<u64> {
    pairs.iter().map(|pair| Ok(Memory::of(pair.shield.pid())?.resident)).sum()
}

fn processor(pairs: &[Pair]) -> Result<Duration> {
    pairs.iter().map(|pair| cpu(pair.shield.pid())).sum()
}

async fn rest(args: &Args) {
    if !args.hurry {
        eprintln!("memory is measured in {RESTS_FOR:?}");
        tokio::time::sleep(RESTS_FOR).await;
    }
}

/// One Shield in this process; its memory and that of its clients cannot be told apart.
pub(crate) async fn mem(args: &Args) -> Result<Report> {
    let own = std::process::id();
    let bus = Bus::start()?;
    let before = Memory::of(own)?.resident;
    let mut report = Report::new(args, args.rooms.clamp(1, args.sockets.max(1)), 1, before);
    for _ in 0..args.rounds {
        let started = Instant::now();
        let options = worker::options("memory".to_owned(), bus.token.clone());
        let mut crowd = Crowd::open(bus.dial(), options, args.sockets, args.rooms).await?;
        let opened_in_s = started.elapsed().as_secs_f64();
        if bus.sockets() != args.sockets as usize {
            bail!("the Shield says that it has {} sockets", bus.sockets());
        }
        rest(args).await;
        let open_bytes = Memory::of(own)?.resident;
        let cpu_before = cpu(own)?;
        let mut tally = Tally::default();
        if args.publications > 0 {
            tally = crowd.publish(traffic(args)).await;
        }
        let cpu_s = cpu(own)?.saturating_sub(cpu_before).as_secs_f64();
        tally.closed = crowd.closed();
        crowd.close().await?;
        rest(args).await;
        let closed_bytes = Memory::of(own)?.resident;
        report.rounds.push(Round { opened_in_s, open_bytes, closed_bytes, kernel_bytes: 0, cpu_s, tally });
    }
    bus.end().await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn an_order_keeps_the_distance_of_publications_whatever_it_is() {
        let args = Args::parse_from(["loadgen", "--sockets", "10", "--deliveries-per-s", "11000"]);
        let traffic = traffic(&args);
        assert_eq!(traffic.interval.as_micros(), 909);
        let line = serde_json::to_string(&Order::Publish(traffic)).expect("JSON");
        let Order::Publish(read) = serde_json::from_str(&line).expect("an order") else { panic!("{line}") };
        assert_eq!(read, traffic);
    }

    #[test]
    fn an_order_may_take_as_long_as_it_takes() {
        let args = Args::parse_from(["loadgen", "--publications", "1000", "--deliveries-per-s", "15000"]);
        assert!(traffic(&args).lasts() > Duration::from_secs(1000));
    }
}
