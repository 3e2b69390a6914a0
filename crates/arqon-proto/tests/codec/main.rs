//! The codecs as a stranger uses them: every command and frame in both encodings, and whatever a peer may send.

mod hostile;
mod round_trip;
mod samples;
mod split;
mod stable;
mod strategies;
mod vectors;
