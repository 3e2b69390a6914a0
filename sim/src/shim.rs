//! Two functions of libc, stood in for: `getrandom` and `clock_gettime(CLOCK_REALTIME)`.
//!
//! Dependencies draw randomness (WebSocket keys and masks, hash seeds) and read the wall clock by these two. On a thread
//! that called [`seed`], randomness is a seeded stream and, inside the simulation, the wall clock is virtual; on any
//! other thread both are the kernel's. Only this binary contains them: a shim in a library would reach production.
#![allow(unsafe_code, reason = "symbols of libc are replaced, and the kernel is called in their place")]

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use arqon_scenario::rng::Rng;

thread_local! {
    static STREAM: Cell<Option<Rng>> = const { Cell::new(None) };
}

/// From now on, randomness on this thread is this seed's.
pub(crate) fn seed(seed: u64) {
    STREAM.set(Some(Rng::new(seed, "libc getrandom")));
}

/// Refuses to go on where the stand-in does not stand in (another libc, another linker): two hash seeds that are drawn
/// under one seed must be the same.
///
/// # Errors
/// The platform's randomness does not go through libc's `getrandom`.
pub(crate) fn check() -> anyhow::Result<()> {
    let hash = || {
        let fresh_thread = std::thread::spawn(|| {
            seed(1);
            RandomState::new().hash_one(0)
        });
        fresh_thread.join().map_err(|_| anyhow::anyhow!("the shim's check panicked"))
    };
    anyhow::ensure!(
        hash()? == hash()?,
        "getrandom is not interposed on this platform: seeds would not replay"
    );
    Ok(())
}

/// As libc's.
///
/// # Safety
/// `buf` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    buf: *mut u8,
    len: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    // While a thread ends its stream may be gone already; the kernel serves it then.
    let Some(mut stream) = STREAM.try_with(Cell::take).ok().flatten() else {
        // SAFETY: the arguments are passed on as they came.
        return unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) } as libc::ssize_t;
    };
    // SAFETY: the caller vouches for `buf` and `len`.
    let out = unsafe { std::slice::from_raw_parts_mut(buf, len) };
    for chunk in out.chunks_mut(8) {
        chunk.copy_from_slice(&stream.next_u64().to_le_bytes()[..chunk.len()]);
    }
    STREAM.set(Some(stream));
    len as libc::ssize_t
}

/// As libc's.
///
/// # Safety
/// `out` points to a writable `timespec`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    out: *mut libc::timespec,
) -> libc::c_int {
    if clock == libc::CLOCK_REALTIME && turmoil::in_simulation() {
        let wall = turmoil::since_epoch().unwrap_or_default();
        // SAFETY: the caller vouches for `out`.
        unsafe {
            (*out).tv_sec = wall.as_secs() as libc::time_t;
            (*out).tv_nsec = libc::c_long::from(wall.subsec_nanos());
        }
        return 0;
    }
    match own_clock_gettime() {
        // SAFETY: the arguments are passed on as they came.
        Some(own) => unsafe { own(clock, out) },
        // SAFETY: as above.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as libc::c_int },
    }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// The function that is stood in for. It reads the time without a system call, and a world asks several thousand times a virtual second:
/// with system calls a third of a run went into them. Nothing if libc is linked statically.
fn own_clock_gettime() -> Option<ClockGettime> {
    static OWN: OnceLock<Option<ClockGettime>> = OnceLock::new();
    *OWN.get_or_init(|| {
        // SAFETY: the name is a C string; to look it up changes nothing.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        // SAFETY: a symbol of this name that is there has this type.
        (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut libc::c_void, ClockGettime>(found) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_is_the_seeds_and_only_on_the_thread_that_asked() {
        check().expect("this platform goes through libc");
        let unseeded = || std::thread::spawn(|| RandomState::new().hash_one(0)).join().expect("no panic");
        assert_ne!(unseeded(), unseeded(), "other threads keep the kernel's");
    }
}
