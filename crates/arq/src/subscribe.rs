//! `arq sub`.

use std::time::Duration;

use arqon_client::{Backoff, Closed, Connection, Event, Frame, Next, RequestError, SubscribeOptions, Wire};
use arqon_proto::message::{ServerBody, Watch};

use crate::cli::Subscribe;
use crate::failure::Failure;
use crate::machine::Interrupts;
use crate::print::{Lines, print_line};
use crate::runtime_file::RuntimeDir;
use crate::talk::{self, Place};
use crate::{machine, publish};

pub(crate) async fn run(args: &Subscribe) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut listener = Listener {
        args,
        track: args.track.as_deref().map(publish::as_json),
        left: args.count.unwrap_or(u64::MAX),
        connection: None,
    };
    let done = tokio::select! {
        () = interrupts.next() => Ok(()),
        done = listener.follow() => done,
    };
    // Leaves at once; without it the others would see this session for the grace period.
    if let Some(connection) = listener.connection.take() {
        talk::close(connection).await;
    }
    done
}

/// What is to be heard, over all connections.
struct Listener<'a> {
    args: &'a Subscribe,
    track: Option<String>,
    /// Publications still to come.
    left: u64,
    connection: Option<Connection<Wire>>,
}

impl Listener<'_> {
    /// Prints what arrives, comes back after every end that allows it, and returns once everything asked for was heard.
    async fn follow(&mut self) -> Result<(), Failure> {
        // The first failure is most likely a mistake of the user: it ends the command. Later ones are the network's.
        let mut connection = self.open().await?;
        let mut backoff = Backoff::default();
        while let Some(closed) = self.hear(connection).await? {
            connection = self.come_back(closed, &mut backoff).await?;
            eprintln!("arq: back; what was published in between is lost");
            backoff.reset();
        }
        Ok(())
    }

    async fn come_back(&self, closed: Closed, backoff: &mut Backoff) -> Result<Connection<Wire>, Failure> {
        let mut advice = backoff.after_close(&closed, machine::random()?);
        let mut failure = Failure::from(RequestError::Closed(closed));
        loop {
            let wait = match advice {
                Next::Wait(wait) if failure.temporary => wait,
                Next::Wait(_) | Next::Stop => return Err(failure),
            };
            eprintln!("arq: {failure}; trying again in {}", rounded(wait));
            tokio::time::sleep(wait).await;
            match self.open().await {
                Ok(connection) => return Ok(connection),
                Err(again) => failure = again,
            }
            advice = backoff.after_unreachable(machine::random()?);
        }
    }

    async fn open(&self) -> Result<Connection<Wire>, Failure> {
        // Looked up each time: a dev bus that was started again has another token, perhaps another port.
        let place = Place::find(&self.args.access, &RuntimeDir::of_user())?;
        let (mut connection, _) = place.open().await?;
        let options = SubscribeOptions {
            track: self.track.as_deref().map(str::as_bytes),
            watch: self.args.watch.map_or(Watch::Nothing, Watch::from),
            echo: true,
        };
        for room in &self.args.rooms {
            connection.subscribe(room.as_str(), &options).await?;
        }
        Ok(connection)
    }

    /// Prints until the connection ends, or `None` once everything asked for was heard.
    async fn hear(&mut self, connection: Connection<Wire>) -> Result<Option<Closed>, Failure> {
        let connection = self.connection.insert(connection);
        while self.left > 0 {
            match connection.next().await {
                Event::Push(frame) => print(self.args, &frame, &mut self.left)?,
                Event::Reply(_) => {}
                Event::Unreadable(unreadable) => {
                    eprintln!("arq: a frame this version cannot read: {}", unreadable.reason);
                }
                Event::Closed(closed) => {
                    self.connection = None;
                    return Ok(Some(closed));
                }
            }
        }
        Ok(None)
    }
}

fn print(args: &Subscribe, frame: &Frame, left: &mut u64) -> Result<(), Failure> {
    let body = frame.view().body;
    if args.json {
        print_line(frame.bytes())?;
    } else {
        Lines::of(&body).print()?;
    }
    if matches!(body, ServerBody::Publication(_)) {
        *left -= 1;
    }
    Ok(())
}

fn rounded(wait: Duration) -> String {
    format!("{}.{} s", wait.as_secs(), wait.subsec_millis() / 100)
}
