//! How nodes reach the simulated spine, and where it runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use arqon_proto::generated::arqon::v1::{self as pb, control::Body};
use arqon_scenario::{Kind, Node, Record, What};
use arqon_shield::env::Entropy;
use buffa::Message as _;
use turmoil::Sim;

use crate::clock::now_ms;
use crate::net::{SimListener, SimStream};
use crate::recorder::Recorder;
use crate::spine::{Accept, BrokerConfig, ClientConfig, Hand, WireSpine, serve};

const PORT: u16 = 4222;

impl Accept for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, String)> {
        let (stream, peer) = arqon_shield::env::Listener::accept(self).await?;
        Ok((stream, turmoil::reverse_lookup(peer.ip()).unwrap_or_default()))
    }
}

/// Adds the broker's host. What returns can hold it.
pub(crate) fn add_broker(sim: &mut Sim<'_>, recorder: &Recorder) -> Hand {
    let ear = Ear::new(recorder);
    let hand = Hand::new(move |_, subject, payload| ear.hear(now_ms(), subject, payload));
    let broker = hand.clone();
    sim.host(Node::Spine.to_string(), move || {
        let broker = broker.clone();
        async {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
            let never = serve(SimListener(listener), BrokerConfig::default(), broker).await?;
            match never {}
        }
    });
    hand
}

/// Writes down that a Brain has forgotten a Shield, and that a Shield took a new life. Oracles judge what clients see;
/// these lines only show that a scenario came so far.
pub(crate) struct Ear {
    recorder: Recorder,
    /// The latest life of each Shield: process and incarnation.
    lives: RefCell<BTreeMap<String, (u64, u64)>>,
}

impl Ear {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), lives: RefCell::default() }
    }

    /// Sees one message of the spine at this moment.
    pub(crate) fn hear(&self, now_ms: u64, subject: &str, payload: &[u8]) {
        if subject != "_arqon.brain" && !subject.starts_with("_arqon.shield.") {
            return;
        }
        let Ok(control) = pb::Control::decode_from_slice(payload) else { return };
        let from = control.from;
        let note = match control.body {
            // Of a Shield that it never saw a Brain says 0.
            Some(Body::Forgotten(f)) if f.incarnation > 0 && f.incarnation >= f.answers => {
                format!("shield.forgotten: {from} says so on {subject}")
            }
            Some(Body::Hello(_)) => {
                let life = (control.instance, control.incarnation);
                let before = self.lives.borrow_mut().insert(from.clone(), life);
                if before.is_none_or(|(instance, number)| instance != life.0 || number >= life.1) {
                    return;
                }
                format!("shield.new_life: {from} as {}", life.1)
            }
            _ => return,
        };
        let line = Record::world(now_ms, Kind::Info, What::Control);
        self.recorder.add(Record { note: Some(note), ..line });
    }
}

/// A connection of the current host to the broker, made again for as long as it lives.
pub(crate) fn connect(mut entropy: Box<dyn Entropy>) -> WireSpine {
    let dial = || async {
        let stream = turmoil::net::TcpStream::connect((Node::Spine.to_string(), PORT)).await?;
        Ok(SimStream(stream))
    };
    WireSpine::new(dial, ClientConfig::new(entropy.next_u64()))
}
