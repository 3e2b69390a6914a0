//! The network of this machine, as actors see it: each link has a proxy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use arqon_proto::time::millis;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::driver::Ground;

/// Where clients of each machine find each Shield.
pub(crate) type Doors = BTreeMap<(u32, u32), SocketAddr>;

/// Real sockets and real time.
#[derive(Clone, Debug)]
pub(crate) struct LiveGround {
    pub(crate) doors: Rc<RefCell<Doors>>,
    pub(crate) began: Instant,
}

impl Ground for LiveGround {
    type Stream = TcpStream;

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    async fn connect(&self, host: u32, shield: u32) -> io::Result<TcpStream> {
        let door = self.doors.borrow().get(&(host, shield)).copied();
        let stream = TcpStream::connect(door.ok_or(io::ErrorKind::NotFound)?).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn authority(&self, shield: u32) -> String {
        format!("shield-{shield}")
    }
}
