//! How nodes reach the simulated spine, and where it runs.

use std::io;

use arqon_scenario::Node;
use arqon_shield::env::Entropy;
use turmoil::Sim;

use crate::net::{SimListener, SimStream};
use crate::spine::{Accept, BrokerConfig, ClientConfig, WireSpine, serve};

const PORT: u16 = 4222;

impl Accept for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<SimStream> {
        arqon_shield::env::Listener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Adds the broker's host.
pub(crate) fn add_broker(sim: &mut Sim<'_>) {
    sim.host(Node::Spine.to_string(), || async {
        let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
        let never = serve(SimListener(listener), BrokerConfig::default()).await?;
        match never {}
    });
}

/// A connection of the current host to the broker, made again for as long as it lives.
pub(crate) fn connect(mut entropy: Box<dyn Entropy>) -> WireSpine {
    let dial = || async {
        let stream = turmoil::net::TcpStream::connect((Node::Spine.to_string(), PORT)).await?;
        Ok(SimStream(stream))
    };
    WireSpine::new(dial, ClientConfig::new(entropy.next_u64()))
}
