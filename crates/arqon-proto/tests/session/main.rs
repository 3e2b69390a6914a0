//! The pure session against a scripted host, on virtual time.

mod life;
mod pair;
mod random;
mod rooms;
mod token;
mod wire;
