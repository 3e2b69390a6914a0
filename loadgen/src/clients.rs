//! Idle clients: connected, authenticated, a member of one room each, and read from all the time.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arqon_client::{Connection, Event, Options, SubscribeOptions};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::target::Target;

/// Handshakes at once: enough to keep both sides busy, few enough that none waits for its turn for long.
const OPENING_AT_ONCE: usize = 128;

/// All clients of one round.
#[derive(Debug)]
pub(crate) struct Herd {
    tasks: JoinSet<()>,
    leave: watch::Sender<bool>,
    lost: Rc<Cell<u32>>,
}

impl Herd {
    /// Opens them; returns when every one is a member of its room.
    pub(crate) async fn open(target: &Target, round: u32, sockets: u32, rooms: u32) -> Result<Self> {
        let (leave, leaving) = watch::channel(false);
        let lost = Rc::new(Cell::new(0));
        let places = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let mut opening = JoinSet::new();
        let address = target.address(round);
        let mut options = Options::new(address.to_string()).with_token(target.token());
        // An idle client reads little.
        options.read_buffer_bytes = 1024;
        let options = Rc::new(options);
        for number in 0..sockets {
            let place = Arc::clone(&places).acquire_owned().await?;
            let options = Rc::clone(&options);
            opening.spawn_local(async move {
                let _place = place;
                let stream = TcpStream::connect(address).await.context("connecting")?;
                stream.set_nodelay(true)?;
                let mut connection = Connection::open(stream, &options).await?;
                connection.connect().await?;
                connection
                    .subscribe(&format!("idle.{}", number % rooms.max(1)), &SubscribeOptions::default())
                    .await?;
                anyhow::Ok(connection)
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(opened) = opening.join_next().await {
            let connection = opened.context("a client's task")??;
            tasks.spawn_local(hold(connection, leaving.clone(), Rc::clone(&lost)));
        }
        Ok(Self { tasks, leave, lost })
    }

    /// How many were closed without being asked.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.get()
    }

    /// Closes them all.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.leave.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client's task")?;
        }
        Ok(())
    }
}

async fn hold(
    mut connection: Connection<TcpStream>,
    mut leaving: watch::Receiver<bool>,
    lost: Rc<Cell<u32>>,
) {
    loop {
        tokio::select! {
            biased;
            // An error means that the herd was dropped: leave as well.
            _ = leaving.wait_for(|leaving| *leaving) => {
                connection.close().await;
                return;
            }
            event = connection.next() => {
                if matches!(event, Event::Closed(_)) {
                    lost.set(lost.get() + 1);
                    return;
                }
            }
        }
    }
}
