//! The simulator's broker as the spine of real processes: in this process, so that it can be taken away and told what to lose.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::spine::{Accept, BrokerConfig, Hand, serve};

/// Connections that wait to be accepted.
const BACKLOG: usize = 256;

/// One end of a connection, and the name of who is at the other.
type Caller = (DuplexStream, String);

/// By which proxies reach the broker. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Rc<RefCell<Option<mpsc::Sender<Caller>>>>);

impl Door {
    /// Hands over one end of a connection, and the name of who is at the other. False if nobody is there.
    pub(crate) fn enter(&self, stream: DuplexStream, name: &str) -> bool {
        let door = self.0.borrow();
        door.as_ref().is_some_and(|door| door.try_send((stream, name.to_owned())).is_ok())
    }
}

/// The broker, on or off. Dropped, it is off.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) door: Door,
    pub(crate) hand: Hand,
    task: Option<AbortHandle>,
}

struct Port(mpsc::Receiver<Caller>);

impl Accept for Port {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<Caller> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Broker {
    /// A broker that runs. Must be called where `spawn_local` works.
    pub(crate) fn start(hand: Hand) -> Self {
        let mut broker = Self { door: Door::default(), hand, task: None };
        broker.turn_on();
        broker
    }

    /// Starts it without any memory.
    pub(crate) fn turn_on(&mut self) {
        self.turn_off();
        let (door, port) = mpsc::channel(BACKLOG);
        self.door.0.replace(Some(door));
        let hand = self.hand.clone();
        let task = tokio::task::spawn_local(async move {
            let ended = serve(Port(port), BrokerConfig::default(), hand).await;
            tracing::debug!(?ended, "the broker has ended");
        });
        self.task = Some(task.abort_handle());
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn turn_off(&mut self) {
        self.door.0.take();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.turn_off();
    }
}
