//! Clients that allocate nothing, for what is counted and timed.

use arqon_proto::message::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::harness::{Bus, config};

/// One client by its bytes; it allocates nothing while it publishes and reads.
pub(crate) struct Raw {
    stream: DuplexStream,
    pub(crate) encoding: Encoding,
    buffer: Box<[u8; 4096]>,
    filled: usize,
}

impl Raw {
    pub(crate) async fn enter(bus: &Bus, encoding: Encoding) -> Self {
        let stream = bus.raw_speaking("ada", encoding).await;
        let mut client = Self { stream, encoding, buffer: Box::new([0; 4096]), filled: 0 };
        let commands: [&[u8]; 2] = match encoding {
            Encoding::Json => [br#"{"id":1,"connect":{}}"#, br#"{"id":2,"subscribe":{"room":"lobby"}}"#],
            // Each a length, field 1 (the id), and the command's field with its room in field 1.
            Encoding::Protobuf => [b"\x04\x08\x01\x12\x00", b"\x0b\x08\x02\x1a\x07\x0a\x05lobby"],
        };
        for command in commands {
            client.send(&masked(encoding, command)).await;
            client.frames(1).await;
        }
        client
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).await.expect("the Shield reads");
    }

    /// Reads so many whole frames, and no more.
    pub(crate) async fn frames(&mut self, mut wanted: usize) {
        loop {
            while let Some(len) = frame_len(&self.buffer[..self.filled]) {
                self.buffer.copy_within(len..self.filled, 0);
                self.filled -= len;
                wanted = wanted.checked_sub(1).expect("no frame that nobody expects");
            }
            if wanted == 0 {
                return;
            }
            let n = self.stream.read(&mut self.buffer[self.filled..]).await.expect("it stays open");
            assert!(n > 0, "closed");
            self.filled += n;
        }
    }
}

/// Of the first frame, if it is whole.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        len => 2 + usize::from(len),
    };
    (bytes.len() >= len).then_some(len)
}

/// A client's frame; the mask of zeros leaves the bytes as they are.
pub(crate) fn masked(encoding: Encoding, content: &[u8]) -> Vec<u8> {
    let opcode = if encoding == Encoding::Json { 0x81 } else { 0x82 };
    let mut frame = vec![opcode];
    match content.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(content);
    frame
}

/// What is published, as a whole frame.
pub(crate) fn publication(encoding: Encoding, id: u8) -> Vec<u8> {
    let text = "x".repeat(100);
    let content = match encoding {
        Encoding::Json => {
            let id = if id > 0 { format!("\"id\":{id},") } else { String::new() };
            format!(
                "{{{id}\"publish\":{{\"room\":\"lobby\",\"data\":\"{text}\",\"traceparent\":\"{TRACE}\"}}}}"
            )
            .into_bytes()
        }
        Encoding::Protobuf => {
            // Field 5 is the publish: room in field 1, bytes in field 3.
            let mut publish = b"\x0a\x05lobby\x1a\x64".to_vec();
            publish.extend_from_slice(text.as_bytes());
            let mut command = if id > 0 { vec![0x08, id] } else { Vec::new() };
            command.push(0x2a);
            command.push(publish.len() as u8);
            command.extend_from_slice(&publish);
            let mut delimited = vec![command.len() as u8];
            delimited.extend_from_slice(&command);
            delimited
        }
    };
    masked(encoding, &content)
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A bus and members of one room on a runtime of their own.
pub(crate) struct Case {
    pub(crate) runtime: Runtime,
    pub(crate) local: LocalSet,
    _bus: Bus,
    pub(crate) clients: Vec<Raw>,
}

impl Case {
    pub(crate) fn start(shards: u32) -> Self {
        Self::with(shards, 4)
    }

    /// Clients of both encodings in turn.
    pub(crate) fn with(shards: u32, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (runtime, local) = (runtime.expect("a runtime"), LocalSet::new());
        let (bus, clients) = local.block_on(&runtime, async {
            let mut config = config();
            config.shield.shards = shards;
            config.limits.publish_rate_per_s = 1_000_000;
            config.limits.publish_burst = 1_000_000;
            config.limits.command_rate_per_s = 1_000_000;
            config.limits.command_burst = 1_000_000;
            config.limits.connections_per_address_max = 100_000;
            config.limits.connections_per_tenant_max = 100_000;
            config.limits.tenant_connect_rate_per_s = 100_000;
            // Time stands still: what comes in a second is all there is.
            config.limits.tenant_publish_rate_per_s = 1_000_000;
            config.limits.user_publish_rate_per_s = 1_000_000;
            config.limits.connections_per_user_max = 100_000;
            config.limits.connect_rate_per_s = 100_000;
            config.limits.connect_burst = 100_000;
            let bus = Bus::start(config);
            let mut clients = Vec::new();
            for at in 0..count {
                let encoding = if at % 2 == 0 { Encoding::Json } else { Encoding::Protobuf };
                clients.push(Raw::enter(&bus, encoding).await);
            }
            (bus, clients)
        });
        Self { runtime, local, _bus: bus, clients }
    }

    /// Publishes so often; returns when everything has arrived everywhere.
    pub(crate) fn publish(&mut self, publisher: usize, id: u8, count: usize) {
        let Self { runtime, local, clients, .. } = self;
        let frame = publication(clients[publisher].encoding, id);
        local.block_on(runtime, async {
            for _ in 0..count {
                clients[publisher].send(&frame).await;
                for (at, client) in clients.iter_mut().enumerate() {
                    client.frames(if at == publisher && id > 0 { 2 } else { 1 }).await;
                }
            }
        });
    }
}
