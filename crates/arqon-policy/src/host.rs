//! What a module meets on the other side: limits of memory, and two functions.

use wasmtime::{Caller, Extern, Linker, ResourceLimiter, Store, Trap};

use crate::effects::{Effects, Level};
use crate::engine::{Engine, EngineConfig};
use crate::failure::{BadAnswer, Failure};

/// Fuel for a call of the host, besides one for each byte: it takes longer than an operator.
const CALL_FUEL: u64 = 30;

/// The module of the imports, and their names.
pub(crate) const NAMESPACE: &str = "arqon";

/// What the store of an instance holds.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) effects: Effects,
    limits: EngineConfig,
    /// What a component's calls of the host have cost. It cannot be taken from the fuel of the store while that runs, so a call of a
    /// component may use as much again.
    owed: u64,
    owed_max: u64,
}

impl Host {
    pub(crate) fn store(engine: &Engine) -> Store<Self> {
        let host = Self { effects: Effects::default(), limits: *engine.config(), owed: 0, owed_max: 0 };
        let mut store = Store::new(engine.wasmtime(), host);
        store.limiter(|host| host);
        store
    }

    /// A new call begins, with so much fuel.
    pub(crate) fn begin(&mut self, fuel: u64) {
        (self.owed, self.owed_max) = (0, fuel);
    }

    /// What has to be charged besides the fuel of the store.
    pub(crate) fn owed(&self) -> u64 {
        self.owed
    }

    /// For a call of the host with a text of this length.
    pub(crate) fn pay(&mut self, len: usize) -> wasmtime::Result<()> {
        self.owed = self.owed.saturating_add(price(len));
        if self.owed > self.owed_max { Err(Trap::OutOfFuel.into()) } else { Ok(()) }
    }
}

fn price(len: usize) -> u64 {
    CALL_FUEL + len as u64
}

/// What is refused here ends the call: a module that could go on would be one that knows its limit.
impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        within("bytes of memory", wanted, self.limits.memory_bytes_max)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        within("table elements", wanted, self.limits.table_elements_max)
    }
}

fn within(what: &'static str, wanted: usize, limit: usize) -> wasmtime::Result<bool> {
    if wanted <= limit { Ok(true) } else { Err(Failure::Memory { what, wanted, limit }.into()) }
}

/// The functions that a core module may import. There is nothing else: no WASI, no clock, no random numbers.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine.wasmtime());
    linker.func_wrap(NAMESPACE, "log", |mut caller: Caller<'_, Host>, level: u32, at: u32, len: u32| {
        let level = Level::from_number(level).ok_or(Failure::from(BadAnswer::UnknownLevel(level)))?;
        with_text(&mut caller, at, len, |host, line| host.effects.log(level, line))
    })?;
    linker.func_wrap(NAMESPACE, "count", |mut caller: Caller<'_, Host>, at: u32, len: u32, delta: u32| {
        with_text(&mut caller, at, len, |host, name| host.effects.count(name, delta))
    })?;
    Ok(linker)
}

fn with_text(
    caller: &mut Caller<'_, Host>,
    at: u32,
    len: u32,
    take: impl FnOnce(&mut Host, &str),
) -> wasmtime::Result<()> {
    let price = price(len as usize);
    let left = caller.get_fuel()?;
    caller.set_fuel(left.saturating_sub(price))?;
    if left < price {
        return Err(Trap::OutOfFuel.into());
    }
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(Failure::from(BadAnswer::TextOutside).into());
    };
    let (data, host) = memory.data_and_store_mut(caller);
    let bytes = slice(data, at, len).ok_or(Failure::from(BadAnswer::TextOutside))?;
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::from(BadAnswer::NotUtf8))?;
    take(host, text);
    Ok(())
}

/// What stands there, if it is within the memory. Never adds the two numbers as the module gave them.
pub(crate) fn slice(memory: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    memory.get(at as usize..)?.get(..len as usize)
}

/// What an error of wasmtime means. `limit`: the fuel that the call had.
pub(crate) fn failure(error: &wasmtime::Error, limit: u64) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::OutOfFuel => Failure::Fuel { limit },
            Trap::Interrupt => Failure::Deadline,
            trap => Failure::Trap(trap_name(*trap)),
        };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::Overload;
    }
    Failure::Other(format!("{error:#}").into())
}

fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "call stack exhausted",
        Trap::MemoryOutOfBounds => "out of bounds memory access",
        Trap::TableOutOfBounds => "out of bounds table access",
        Trap::IndirectCallToNull => "call of a null function",
        Trap::BadSignature => "call of a function of another type",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "conversion of a float that is no integer",
        Trap::UnreachableCodeReached => "unreachable",
        _ => "another trap",
    }
}
