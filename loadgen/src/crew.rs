//! The processes of clients, as their parent sees them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::worker::{Answer, Order, Progress};

/// The longest wait for answers, besides the time that the order takes by itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// Lines that wait for the parent.
const LINES: usize = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct Crew {
    workers: Vec<Worker>,
    answers: mpsc::Receiver<(usize, Result<Answer>)>,
    progress: Vec<Progress>,
    _readers: JoinSet<()>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    orders: ChildStdin,
}

impl Crew {
    /// Starts so many.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let (said, answers) = mpsc::channel(LINES);
        let (mut workers, mut readers) = (Vec::new(), JoinSet::new());
        for number in 0..count {
            let mut child = Command::new(std::env::current_exe()?)
                .arg("drive")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let orders = child.stdin.take().context("its input is piped")?;
            let output = child.stdout.take().context("its output is piped")?;
            readers.spawn_local(read(number, output, said.clone()));
            workers.push(Worker { child, orders });
        }
        Ok(Self { workers, answers, progress: vec![Progress::default(); count], _readers: readers })
    }

    /// Gives each its order.
    pub(crate) async fn order(&mut self, order: impl Fn(usize) -> Order) -> Result<()> {
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let line = serde_json::to_string(&order(number))? + "\n";
            worker.orders.write_all(line.as_bytes()).await.context("a worker has ended")?;
        }
        Ok(())
    }

    /// One answer of each, to an order that takes so long by itself; once a second it is told how far all are.
    pub(crate) async fn answers(
        &mut self,
        takes: Duration,
        mut tell: impl FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<Answer>> {
        let deadline = Instant::now() + takes + ANSWERS_WITHIN;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut answered: Vec<Option<Answer>> = self.workers.iter().map(|_| None).collect();
        while answered.iter().any(Option::is_none) {
            tokio::select! {
                biased;
                answer = self.answers.recv() => {
                    let (number, answer) = answer.context("all workers have ended")?;
                    match answer.with_context(|| format!("worker {number}"))? {
                        Answer::Failed(why) => bail!("a worker: {why}"),
                        Answer::Progress(progress) => self.progress[number] = progress,
                        answer => answered[number] = Some(answer),
                    }
                }
                _ = second.tick() => tell(self.far())?,
                () = tokio::time::sleep_until(deadline) => {
                    let far = self.far();
                    bail!("not all workers answered in time: {far:?}; ask for fewer sockets, or see what the Shields say");
                }
            }
        }
        Ok(answered.into_iter().flatten().collect())
    }

    /// How far all are together.
    pub(crate) fn far(&self) -> Progress {
        let mut all = Progress::default();
        for one in &self.progress {
            all.open += one.open;
            all.published += one.published;
            all.delivered += one.delivered;
        }
        all
    }

    /// Waits until all have ended.
    pub(crate) async fn end(self) -> Result<()> {
        for Worker { mut child, orders } in self.workers {
            drop(orders);
            child.wait().await?;
        }
        Ok(())
    }
}

/// Takes in what one worker says, until it ends or nobody wants it.
async fn read(number: usize, output: ChildStdout, said: mpsc::Sender<(usize, Result<Answer>)>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let answer = match lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).context("an answer that cannot be read"),
            Ok(None) => Err(anyhow::anyhow!("it has ended")),
            Err(error) => Err(error.into()),
        };
        let over = answer.is_err();
        if said.send((number, answer)).await.is_err() || over {
            return;
        }
    }
}
