//! The codecs as a stranger uses them: every command and frame in both encodings, and whatever a peer may send.

mod hostile;
mod round_trip;
mod samples;
mod split;
#[expect(unreachable_pub, reason = "the fuzz crate includes this file as well, where it is public")]
mod stable;
mod strategies;
mod vectors;
