//! The spine of a stack: a nats-server, or a cluster of two.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stack::{Peer, Route};
use crate::{NatsOptions, NatsServer, Process, ReservedPort, StackError, http};

/// Two servers find each other at once when they start, and try again each second when they were parted.
const JOINED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One nats-server, or two that pass on to each other what their clients want.
#[derive(Debug)]
pub struct Spine {
    servers: Vec<NatsServer>,
    /// Of a cluster: where each takes the other's connections, and where it tells of them.
    cluster: Vec<Doors>,
}

#[derive(Debug)]
struct Doors {
    routes: ReservedPort,
    monitor: ReservedPort,
}

impl Doors {
    fn take() -> std::io::Result<Self> {
        Ok(Self { routes: ReservedPort::take()?, monitor: ReservedPort::take()? })
    }
}

impl Spine {
    /// Starts one server, or a cluster if `servers` is 2, and returns when they take clients and hear each other.
    ///
    /// The second connects to the first by the address that `route` gives for `nats-2` and [`Peer::Spine`].
    ///
    /// # Errors
    /// As [`NatsServer::start`], and what `route` says.
    pub(crate) async fn start(
        servers: usize,
        options: &NatsOptions,
        route: Route<'_>,
    ) -> Result<Self, StackError> {
        let mut spine = Self { servers: Vec::new(), cluster: Vec::new() };
        if servers < 2 {
            spine.servers.push(NatsServer::start(options).await?);
            return Ok(spine);
        }
        let io = StackError::io("nats-server", "cannot take a port");
        spine.cluster = [Doors::take(), Doors::take()].into_iter().collect::<Result<_, _>>().map_err(io)?;
        let first = route("nats-2", Peer::Spine, spine.cluster[0].routes.address())?;
        for (doors, routes) in spine.cluster.iter().zip([String::new(), format!("\"nats://{first}\"")]) {
            let mut options = options.clone();
            // Whose clients were told of the other server would go round the links that are cut.
            options.config += &format!(
                "\ncluster {{ name: \"arqon\", listen: \"{}\", no_advertise: true, routes: [{routes}] }}\n",
                doors.routes.address()
            );
            options.monitor = Some(doors.monitor.address());
            spine.servers.push(NatsServer::start(&options).await?);
        }
        spine.joined().await?;
        Ok(spine)
    }

    /// Waits until each server of a cluster has a route to the other.
    async fn joined(&self) -> Result<(), StackError> {
        let late = StackError::io("nats-server", "has no route to the other");
        let joined = async {
            for doors in &self.cluster {
                while !has_route(doors.monitor.address()).await {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        };
        tokio::time::timeout(JOINED_WITHIN, joined).await.map_err(|error| late(error.into()))
    }

    /// Where the server of a Shield or Brain listens; they are dealt out to the servers by their number, counted from 0.
    #[must_use]
    pub fn address(&self, number: usize) -> SocketAddr {
        self.servers[number % self.servers.len()].address()
    }

    /// Ends every server as `kill -9` does.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&mut self) -> Result<(), StackError> {
        for server in &mut self.servers {
            server.kill().await?;
        }
        Ok(())
    }

    /// Starts every server anew, on the same ports; kills it first if it runs.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn restart(&mut self) -> Result<(), StackError> {
        for server in &mut self.servers {
            server.restart().await?;
        }
        self.joined().await
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// A server does not end in time.
    pub async fn stop(&mut self) -> Result<(), StackError> {
        for server in &mut self.servers {
            server.stop().await?;
        }
        Ok(())
    }

    /// Connections stay open, and nobody answers.
    ///
    /// # Errors
    /// A server does not run.
    pub async fn freeze(&mut self) -> Result<(), StackError> {
        for server in &mut self.servers {
            server.freeze().await?;
        }
        Ok(())
    }

    /// It runs on.
    ///
    /// # Errors
    /// A server does not run.
    pub fn thaw(&mut self) -> Result<(), StackError> {
        self.servers.iter_mut().try_for_each(NatsServer::thaw)
    }

    /// Its servers that run, by name: `nats`, or `nats-1` and `nats-2`.
    pub(crate) fn running(&mut self) -> impl Iterator<Item = (String, &mut Process)> {
        let alone = self.servers.len() == 1;
        let name = move |n: usize| if alone { "nats".to_owned() } else { format!("nats-{n}") };
        (1..).zip(&mut self.servers).filter_map(move |(n, server)| Some((name(n), server.running().ok()?)))
    }
}

async fn has_route(monitor: SocketAddr) -> bool {
    let answer = tokio::time::timeout(Duration::from_secs(2), http::get(monitor, "/routez")).await;
    let Ok(Some((200, body))) = answer else { return false };
    // As nats-server writes it; it counts connections, of which there are several between two servers.
    body.contains("\"num_routes\":") && !body.contains("\"num_routes\": 0,")
}
