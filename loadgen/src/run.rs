//! The parent: it starts Shields and workers, gives them their orders, and adds up what they say.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::cast::{Even, Share, Work};
use crate::crew::Crew;
use crate::crowd::{Crowd, Scene, Start};
use crate::entry::Entry;
use crate::job::Job;
use crate::mem::Bus;
use crate::memory::{Memory, cpu, kernel_slab};
use crate::report::{Report, Round, Sample};
use crate::split::processes;
use crate::tally::Tally;
use crate::target::Target;
use crate::worker::{Answer, Opening, Order, Progress, machine_clock};

/// The allocator gives back within ten seconds what nobody uses any more, in steps of which the last may come later.
const RESTS_FOR: Duration = Duration::from_secs(30);
/// The longest time until all sockets are open, besides the pace that was asked for: a hundred thousand take less than half a minute.
const OPENS_WITHIN: Duration = Duration::from_secs(480);
/// From the order to the first publication: every process has begun to listen to its own clock by then.
const STARTS_AFTER: Duration = Duration::from_millis(500);
/// Sockets of one process in the round before the first: what a Shield allocates once is not a socket's.
const FIRST: u32 = 16;

/// Processes and what was seen of them.
struct Site<'a> {
    job: &'a Job,
    /// None, if they are somebody else's.
    shields: Vec<Target>,
    crew: Crew,
    count: u32,
    sockets: u32,
    began: Instant,
    samples: Vec<Sample>,
}

/// Sockets of TCP to as many Shields as the limit of open files asks for, or to those of somebody else.
pub(crate) async fn tcp(job: &Job) -> Result<Report> {
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = processes(job.work.sockets(), open_files).max(job.processes);
    let size = job.size(count)?;
    let mut shields = Vec::new();
    if job.outside.is_none() {
        for _ in 0..count {
            shields.push(Target::start(&job.setup).await?);
        }
    }
    let crew = Crew::start(count as usize)?;
    let mut site =
        Site { job, shields, crew, count, sockets: size.sockets, began: Instant::now(), samples: Vec::new() };
    if !site.shields.is_empty() {
        let interval = Duration::ZERO;
        let few = Even { sockets: FIRST * count, rooms: count, publications: 0, interval, payload_bytes: 0 };
        site.open(0, &Work::Even(few)).await?;
        site.close().await?;
    }
    let mut report = Report::new(job, size, site.shields.len(), site.resident()?);
    let slab = kernel_slab()?;
    for round in 1..=job.rounds {
        report.rounds.push(site.round(round, slab).await?);
    }
    let Site { shields, crew, .. } = site;
    crew.end().await?;
    for shield in shields {
        shield.end()?;
    }
    Ok(report)
}

impl Site<'_> {
    async fn round(&mut self, round: u32, slab: u64) -> Result<Round> {
        (self.began, self.samples) = (Instant::now(), Vec::new());
        let work = self.job.work.clone();
        self.open(round, &work).await?;
        let opened_in_s = self.began.elapsed().as_secs_f64();
        self.rest().await?;
        let open_bytes = self.resident()?;
        let kernel_bytes = kernel_slab()?.saturating_sub(slab);
        let (mut tally, cpu_s) = self.play(&work).await?;
        tally.closed = self.close().await?;
        self.rest().await?;
        let closed_bytes = self.resident()?;
        let samples = std::mem::take(&mut self.samples);
        Ok(Round { opened_in_s, open_bytes, closed_bytes, kernel_bytes, cpu_s, tally, samples })
    }

    fn opening(&self, number: usize, round: u32, work: &Work) -> Opening {
        let share = Share { number: number as u32, of: self.count, together: self.job.together() };
        let (door, tokens) = match &self.job.outside {
            Some(outside) => (outside.door.clone(), outside.tokens.clone()),
            None => {
                let shield = &self.shields[number];
                let address = shield.address(share.number, round);
                let door = shield.door(address);
                (door, shield.tokens())
            }
        };
        let connects_per_s = self.job.connects_per_s / f64::from(self.count);
        Opening { door, tokens, work: work.clone(), share, connects_per_s }
    }

    async fn open(&mut self, round: u32, work: &Work) -> Result<()> {
        let openings: Vec<Opening> =
            (0..self.count as usize).map(|number| self.opening(number, round, work)).collect();
        self.crew.order(|number| Order::Open(Box::new(openings[number].clone()))).await?;
        let paced = Duration::from_secs_f64(f64::from(work.sockets()) / self.job.connects_per_s);
        self.answers(OPENS_WITHIN + paced, "open").await?;
        // How many each Shield has is known only of its own clients.
        for (number, shield) in self.shields.iter().enumerate() {
            let share = openings[number].share;
            shield.settle(work.cast(share)?.parts.len() as u32).await?;
        }
        Ok(())
    }

    async fn play(&mut self, work: &Work) -> Result<(Tally, f64)> {
        let lasts = work.lasts();
        let begin = machine_clock() + STARTS_AFTER;
        let warm_up = self.job.warm_up;
        self.crew.order(|_| Order::Play { begin, warm_up }).await?;
        tokio::time::sleep(STARTS_AFTER + warm_up).await;
        let before = self.processor()?;
        let answers = self.answers(lasts, "deliveries").await?;
        let cpu_s = self.processor()?.saturating_sub(before).as_secs_f64();
        let mut all = Tally::default();
        for answer in answers {
            let Answer::Played(tally) = answer else { bail!("a worker answers something else") };
            all.add(&tally);
        }
        Ok((all, cpu_s))
    }

    async fn close(&mut self) -> Result<u64> {
        self.crew.order(|_| Order::Close).await?;
        let mut closed = 0;
        for answer in self.answers(Duration::ZERO, "open").await? {
            let Answer::Closed(unasked) = answer else { bail!("a worker answers something else") };
            closed += unasked;
        }
        for shield in &self.shields {
            shield.settle(0).await?;
        }
        Ok(closed)
    }

    /// All answers; what is seen meanwhile is kept, and told.
    async fn answers(&mut self, takes: Duration, what: &str) -> Result<Vec<Answer>> {
        let Self { shields, crew, began, samples, sockets: all, .. } = self;
        let mut told = Progress::default();
        crew.answers(takes, |far| {
            samples.push(sample(*began, far, shields)?);
            if far != told {
                match what {
                    "open" => eprintln!("{} of {all} sockets are open", far.open),
                    _ => eprintln!("{} publications, {} deliveries", far.published, far.delivered),
                }
                told = far;
            }
            Ok(())
        })
        .await
    }

    async fn rest(&mut self) -> Result<()> {
        if self.job.hurry || self.shields.is_empty() {
            return Ok(());
        }
        eprintln!("memory is measured in {RESTS_FOR:?}");
        let until = Instant::now() + RESTS_FOR;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let far = self.samples.last().map_or(Progress::default(), |last| Progress {
                open: last.sockets,
                delivered: last.delivered,
                published: 0,
            });
            self.samples.push(sample(self.began, far, &self.shields)?);
        }
        Ok(())
    }

    fn resident(&self) -> Result<u64> {
        resident(&self.shields)
    }

    fn processor(&self) -> Result<Duration> {
        self.shields.iter().map(|shield| cpu(shield.pid())).sum()
    }
}

fn resident(shields: &[Target]) -> Result<u64> {
    shields.iter().map(|shield| Ok(Memory::of(shield.pid())?.resident)).sum()
}

fn sample(began: Instant, far: Progress, shields: &[Target]) -> Result<Sample> {
    let (at_s, sockets, delivered) = (began.elapsed().as_secs_f64(), far.open, far.delivered);
    Ok(Sample { at_s, sockets, delivered, resident_bytes: resident(shields)? })
}

/// One Shield in this process; its memory and that of its clients cannot be told apart.
pub(crate) async fn mem(job: &Job, voices: Rc<LocalSet>) -> Result<Report> {
    let own = std::process::id();
    let bus = Bus::start(&job.setup)?;
    let before = Memory::of(own)?.resident;
    let mut report = Report::new(job, job.size(1)?, 1, before);
    for _ in 0..job.rounds {
        let started = Instant::now();
        let cast = job.work.cast(Share::default())?;
        let sockets = cast.parts.len();
        let entry = Entry::new("memory".to_owned(), None, bus.tokens.clone())?;
        let scene = Scene::new(bus.dial(), entry, &cast, 0);
        let mut crowd = Crowd::open(scene, cast, job.connects_per_s, &voices).await?;
        let opened_in_s = started.elapsed().as_secs_f64();
        if bus.sockets() != sockets {
            bail!("the Shield says that it has {} sockets", bus.sockets());
        }
        if !job.hurry {
            tokio::time::sleep(RESTS_FOR).await;
        }
        let open_bytes = Memory::of(own)?.resident;
        let warm = async {
            tokio::time::sleep(STARTS_AFTER + job.warm_up).await;
            cpu(own)
        };
        let start = Start { after: STARTS_AFTER, warm_up: job.warm_up };
        let (mut tally, cpu_before) = tokio::join!(crowd.play(start), warm);
        let cpu_s = cpu(own)?.saturating_sub(cpu_before?).as_secs_f64();
        tally.closed = crowd.closed();
        crowd.close().await?;
        if !job.hurry {
            tokio::time::sleep(RESTS_FOR).await;
        }
        let closed_bytes = Memory::of(own)?.resident;
        let (kernel_bytes, samples) = (0, Vec::new());
        report.rounds.push(Round {
            opened_in_s,
            open_bytes,
            closed_bytes,
            kernel_bytes,
            cpu_s,
            tally,
            samples,
        });
    }
    bus.end().await?;
    Ok(report)
}
