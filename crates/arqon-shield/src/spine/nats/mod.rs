//! The spine over a NATS server, by async-nats.
//!
//! The library moves bytes, and three of its habits are kept from showing:
//!
//! - It has a queue for each subscription, so that the order across subjects is lost, and a barrier with it. [`tap`] takes
//!   every message out in the moment the library puts it in, into one queue in the order of the wire.
//! - It reconnects by itself, subscribes again, and sends what it was given before: a spine must not. [`connection`]
//!   uses one client of the library for one connection only, and makes the next one itself.
//! - Its queues have bounds of their own, and what does not fit is lost. Here nothing waits in them: inbound messages wait in
//!   the [`EventQueue`], commands in a queue that says [`Full`].

mod connection;
mod settings;
mod tap;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{EventQueue, Full, Spine, SpineCommand, SpineEvent};
use crate::env::Entropy;

pub(crate) use settings::parse_server;
pub use settings::{NatsError, NatsSettings};

/// Counts for every command that waits, besides its payload.
const COMMAND_OVERHEAD: usize = size_of::<SpineCommand>();

/// A client of a NATS server, or of the first one in a list that answers.
///
/// It connects from the first [`Spine::poll_event`] on, in a task on the runtime of that call. That must be a
/// current-thread runtime: the order of messages rests on it.
#[derive(Debug)]
pub struct NatsSpine {
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    New(Box<(NatsSettings, Box<dyn Entropy>)>),
    Running(JoinHandle<()>),
    Starting,
}

impl NatsSpine {
    /// A spine that connects when it is polled. At most `queue_messages_max` messages with `queue_bytes_max` bytes wait in
    /// each direction.
    #[must_use]
    pub fn new(
        settings: NatsSettings,
        queue_messages_max: usize,
        queue_bytes_max: usize,
        entropy: Box<dyn Entropy>,
    ) -> Self {
        let queues = Queues {
            events: EventQueue::new(queue_messages_max, queue_bytes_max),
            waker: None,
            max_payload: 0,
            commands: VecDeque::new(),
            commands_bytes: 0,
            commands_max: queue_messages_max,
            commands_bytes_max: queue_bytes_max,
            unsent: false,
            sent_awaited: false,
        };
        let shared =
            Shared { queues: Mutex::new(queues), changed: Notify::new(), refusals: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), state: State::New(Box::new((settings, entropy))) }
    }

    fn start(&mut self) {
        let State::New(parts) = std::mem::replace(&mut self.state, State::Starting) else { return };
        assert!(
            Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            "the order of messages needs a current-thread runtime"
        );
        let (settings, entropy) = *parts;
        let run = connection::run(settings, Arc::clone(&self.shared), entropy);
        self.state = State::Running(tokio::spawn(run));
    }
}

impl Spine for NatsSpine {
    fn send(&mut self, command: SpineCommand) -> Result<(), Full> {
        self.shared.lock().take(command)?;
        self.shared.changed.notify_one();
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SpineEvent> {
        if matches!(self.state, State::New(_)) {
            self.start();
        }
        let mut queues = self.shared.lock();
        match queues.events.pop() {
            Some(event) => Poll::Ready(event),
            None => queues.wait(cx),
        }
    }

    fn refusals(&self) -> u64 {
        self.shared.refusals.load(Ordering::Relaxed)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queues = self.shared.lock();
        if !queues.unsent {
            return Poll::Ready(());
        }
        queues.sent_awaited = true;
        self.shared.changed.notify_one();
        queues.wait(cx)
    }
}

impl Drop for NatsSpine {
    fn drop(&mut self) {
        if let State::Running(task) = &self.state {
            task.abort();
        }
    }
}

/// What the owner of the spine, its task and its taps share. They are on one thread: the lock is never waited for.
#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    /// There are commands.
    changed: Notify,
    /// Commands that the server has refused.
    refusals: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // A panic elsewhere leaves no half-made change behind: each one is made in one go.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Queues {
    events: EventQueue,
    waker: Option<Waker>,
    max_payload: usize,
    commands: VecDeque<SpineCommand>,
    commands_bytes: usize,
    commands_max: usize,
    commands_bytes_max: usize,
    /// A command was taken that may not have reached the socket.
    unsent: bool,
    /// Somebody waits until all have.
    sent_awaited: bool,
}

impl Queues {
    fn take(&mut self, command: SpineCommand) -> Result<(), Full> {
        if !self.events.is_connected() {
            return Ok(());
        }
        if let SpineCommand::Publish { subject, payload } = &command
            && payload.len() > self.max_payload
        {
            // The server would end the connection. The link knows the limit and refuses earlier.
            tracing::error!(%subject, bytes = payload.len(), max_payload = self.max_payload, "a message is too large for NATS");
            return Ok(());
        }
        let bytes = size(&command);
        let full = self.commands.len() >= self.commands_max
            || self.commands_bytes.saturating_add(bytes) > self.commands_bytes_max;
        // Something larger than the whole queue passes alone, or it never would.
        if full && !self.commands.is_empty() {
            return Err(Full);
        }
        self.commands_bytes += bytes;
        self.commands.push_back(command);
        self.unsent = true;
        Ok(())
    }

    /// The next command for the library.
    fn next_command(&mut self) -> Option<SpineCommand> {
        let command = self.commands.pop_front()?;
        self.commands_bytes -= size(&command);
        Some(command)
    }

    fn flush_wanted(&self) -> bool {
        self.unsent && self.sent_awaited
    }

    /// What was handed to the library has reached the socket.
    fn flushed(&mut self) {
        if self.commands.is_empty() {
            (self.unsent, self.sent_awaited) = (false, false);
            self.wake();
        }
    }

    fn up(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
        self.events.up(max_payload);
        self.wake();
    }

    fn down(&mut self) {
        self.events.down();
        self.commands.clear();
        self.commands_bytes = 0;
        (self.unsent, self.sent_awaited) = (false, false);
        self.wake();
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn size(command: &SpineCommand) -> usize {
    let payload = match command {
        SpineCommand::Publish { payload, .. } => payload.len(),
        SpineCommand::Subscribe { .. } | SpineCommand::Unsubscribe { .. } => 0,
    };
    payload + COMMAND_OVERHEAD
}
