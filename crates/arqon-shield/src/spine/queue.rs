//! What waits for the owner of a spine client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::SpineEvent;

/// Counts for every message that waits, besides its payload.
pub const EVENT_OVERHEAD: usize = size_of::<SpineEvent>();

/// Events in their order, bounded in messages and bytes. Every spine keeps the rules of [`super`] with it.
#[derive(Debug)]
pub struct EventQueue {
    events: VecDeque<SpineEvent>,
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// `Up` was popped and the connection still stands.
    connected: bool,
    /// `Up` was the last change of state that was popped.
    told_up: bool,
}

impl EventQueue {
    /// An empty queue of a spine without a connection. A message counts its payload and [`EVENT_OVERHEAD`].
    #[must_use]
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        let events = VecDeque::new();
        Self { events, messages: 0, bytes: 0, messages_max, bytes_max, connected: false, told_up: false }
    }

    /// A new connection stands.
    pub fn up(&mut self, max_payload: usize) {
        self.events.push_back(SpineEvent::Up { max_payload });
    }

    /// The connection is gone, and what waited with it: messages of a connection do not outlive it, so that a spine
    /// that comes and goes cannot fill the queue.
    pub fn down(&mut self) {
        self.connected = false;
        self.events.clear();
        (self.messages, self.bytes) = (0, 0);
        if self.told_up {
            self.events.push_back(SpineEvent::Down);
        }
    }

    /// A message came. One that does not fit is dropped and reported.
    pub fn message(&mut self, subject: &Arc<str>, payload: Bytes) {
        let bytes = payload.len() + EVENT_OVERHEAD;
        if self.messages >= self.messages_max || self.bytes.saturating_add(bytes) > self.bytes_max {
            return self.drop_one(subject);
        }
        self.messages += 1;
        self.bytes += bytes;
        self.events.push_back(SpineEvent::Message { subject: subject.clone(), payload });
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<SpineEvent> {
        let event = self.events.pop_front()?;
        match &event {
            SpineEvent::Up { .. } => (self.connected, self.told_up) = (true, true),
            SpineEvent::Down => self.told_up = false,
            SpineEvent::Message { payload, .. } => {
                self.messages -= 1;
                self.bytes -= payload.len() + EVENT_OVERHEAD;
            }
            SpineEvent::Dropped { .. } => {}
        }
        Some(event)
    }

    /// Whether commands have an effect: the owner knows of the connection that stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// One report stands for all that were dropped between two messages, so that reports are bounded as well.
    fn drop_one(&mut self, dropped: &Arc<str>) {
        if let Some(SpineEvent::Dropped { subject, count }) = self.events.back_mut() {
            *count += 1;
            if subject.as_ref() != Some(dropped) {
                *subject = None;
            }
        } else {
            self.events.push_back(SpineEvent::Dropped { subject: Some(dropped.clone()), count: 1 });
        }
    }
}
