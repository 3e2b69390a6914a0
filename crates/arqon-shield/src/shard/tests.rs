use std::sync::atomic::Ordering;

use std::task::Waker;

use arqon_proto::egress::{Egress, SlowPolicy};
use arqon_proto::id::{RoomRef, Tenant};
use arqon_proto::message::Watch;
use tokio::io::DuplexStream;
use tokio::task::LocalSet;

use super::rooms::{Member, Membership};
use super::*;
use crate::env::SystemEntropy;
use crate::hub::message::Snapshot;

#[tokio::test]
async fn who_comes_in_while_the_shard_drains_is_sent_on_at_once() {
    let (to_hub, _inbox) = mpsc::channel(1);
    let shared = Shared::for_tests();
    let shard = Shard::new(0, Arc::clone(&shared), to_hub, Box::new(SystemEntropy));
    let accepted = Accepted { encoding: Encoding::Json, token: None, permit: shared.permit(), headers: None };
    shared.draining.store(true, Ordering::Relaxed);
    let (near, _far) = tokio::io::duplex(1 << 10);
    let attach = async { shard.attach(near, accepted, &mut []) };
    LocalSet::new().run_until(attach).await;
    let inner = shard.inner.borrow();
    let key = inner.conns.keys().next().expect("it lingers");
    assert!(!inner.conns.get(key).is_some_and(|conn| conn.io.is_open()), "it is told where it stands");
}

/// A connection of a shard, and a room.
fn conn_and_room(inner: &mut Inner<DuplexStream>) -> (Key, Key) {
    let shared = Arc::clone(&inner.state.shared);
    let (near, _far) = tokio::io::duplex(1 << 10);
    let session = Session::new(Encoding::Json, shared.now(), &shared.session_limits);
    let conn =
        inner.conns.insert(Conn { session, io: ConnIo::new(near, Waker::noop().clone(), shared.permit()) });
    let tenant = Tenant::parse("acme").expect("a good name");
    let lobby = RoomRef::parse("lobby").expect("a good name");
    let room = inner
        .state
        .rooms
        .intern(&tenant, lobby, SlowPolicy::default, Arc::default, || Ok(None), 0)
        .expect("room for one");
    (conn, room)
}

fn enter(inner: &mut Inner<DuplexStream>, conn: Key, room: Key, watch: Watch) {
    let member = Member { conn, watch };
    let entry = inner.state.rooms.get_mut(room).expect("just made");
    entry.members[0].push(member);
    entry.watchers += u32::from(watch != Watch::Nothing);
    let membership = Membership { room, at: 0, tracked: false, watching: false };
    inner.conns.get_mut(conn).expect("just made").io.rooms.push(membership);
}

#[test]
fn a_late_snapshot_does_not_reach_a_member_that_no_longer_watches() {
    let (to_hub, _inbox) = mpsc::channel(1);
    let shard = Shard::new(0, Shared::for_tests(), to_hub, Box::new(SystemEntropy));
    let mut inner = shard.inner.borrow_mut();
    let (conn, room) = conn_and_room(&mut inner);
    enter(&mut inner, conn, room, Watch::Nothing);
    let snapshot = Arc::new(Snapshot::new(1, Vec::new(), 100, 0, 1));
    inner.presence_snapshot(room, conn, snapshot);
    let io = &inner.conns.get(conn).expect("it stays").io;
    assert!(io.out.is_empty() && !io.rooms.is_watching(room), "it did not ask for presence");
}

#[test]
fn who_comes_back_for_numbers_gets_no_pages_of_the_snapshot_from_before() {
    let (to_hub, _inbox) = mpsc::channel(8);
    let shard = Shard::new(0, Shared::for_tests(), to_hub, Box::new(SystemEntropy));
    let mut inner = shard.inner.borrow_mut();
    let (key, room) = conn_and_room(&mut inner);
    let snapshot = || Arc::new(Snapshot::new(1, Vec::new(), 100, 0, 1));
    // Its socket is blocked, so that nothing of the snapshot is written before it leaves.
    inner.conns.get_mut(key).expect("it is there").io.egress = Some(Box::new(Egress::new(None)));
    enter(&mut inner, key, room, Watch::Names);
    inner.presence_snapshot(room, key, snapshot());
    let now = inner.state.shared.now();
    let Inner { conns, state, .. } = &mut *inner;
    let Conn { io, .. } = conns.get_mut(key).expect("it is there");
    let mut host = ConnHost { key, io, state, encoding: Encoding::Json, session: None, now };
    host.leave(room, true);
    enter(&mut inner, key, room, Watch::Counts);
    inner.presence_snapshot(room, key, snapshot());
    inner.conns.get_mut(key).expect("it is there").io.egress = None;
    inner.page_on(key);
    inner.write_pages();
    let io = &inner.conns.get(key).expect("it is there").io;
    let waiting = io.egress.as_ref().map_or(0, |egress| egress.bytes());
    assert!(io.out.starts_with(b"\x81") && waiting == 0, "the numbers, and no page behind them");
}
