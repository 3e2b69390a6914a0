//! Core modules: the event in one buffer, the answer in another.
//!
//! Every number that a module gives is checked against its memory as it is at that moment, which may have grown since.

use arqon_proto::payload::is_one_json_line;
use wasmtime::{Memory, Store, TypedFunc};

use crate::effects::push_printable;
use crate::event::Event;
use crate::failure::{BadAnswer, Failure};
use crate::host::{Host, slice};
use crate::limits::{CODES, Limits, REASON_LEN_MAX};
use crate::module::{BUFFER, Core, EVALUATE, INITIALIZE};
use crate::policy::Answer;

/// Tag, 0, code.
const HEAD_LEN: usize = 4;
const DENY: u8 = 1;
const REPLACE: u8 = 2;

/// A running core module.
pub(crate) struct CoreInstance {
    memory: Memory,
    buffer: TypedFunc<u32, u32>,
    evaluate: TypedFunc<(u32, u32), u64>,
}

impl CoreInstance {
    /// Instantiates and initialises; the fuel for that is set already.
    pub(crate) fn start(core: &Core, store: &mut Store<Host>) -> wasmtime::Result<Self> {
        let instance = core.instantiate(&mut *store)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, INITIALIZE) {
            initialize.call(&mut *store, ())?;
        }
        let memory = instance.get_memory(&mut *store, "memory");
        Ok(Self {
            memory: memory.ok_or_else(|| Failure::Other("the memory is gone".into()))?,
            buffer: instance.get_typed_func(&mut *store, BUFFER)?,
            evaluate: instance.get_typed_func(&mut *store, EVALUATE)?,
        })
    }

    /// One event.
    pub(crate) fn call(
        &self,
        store: &mut Store<Host>,
        event: &Event<'_>,
        limits: &Limits,
        answer: &mut Answer,
    ) -> wasmtime::Result<()> {
        let len = event.encoded_len().ok_or(Failure::from(BadAnswer::EventTooLong))?;
        let at = self.buffer.call(&mut *store, len)?;
        if at == 0 {
            return Err(Failure::from(BadAnswer::NoBuffer).into());
        }
        event.encode(self.input(store, at, len)?);
        let packed = self.evaluate.call(&mut *store, (at, len))?;
        let read = self.read(store, packed, event, limits, answer);
        // Two messages of one tenant have nothing to do with each other either.
        if let Ok(input) = self.input(store, at, len) {
            input.fill(0);
        }
        Ok(read?)
    }

    fn input<'s>(&self, store: &'s mut Store<Host>, at: u32, len: u32) -> Result<&'s mut [u8], Failure> {
        let data = self.memory.data_mut(store);
        let input = data.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len as usize));
        input.ok_or(BadAnswer::BufferOutside.into())
    }

    fn read(
        &self,
        store: &Store<Host>,
        packed: u64,
        event: &Event<'_>,
        limits: &Limits,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        if packed == 0 {
            answer.allow();
            return Ok(());
        }
        let (at, len) = ((packed >> 32) as u32, packed as u32);
        let record = slice(self.memory.data(store), at, len).ok_or(BadAnswer::AnswerOutside)?;
        let (head, body) = record.split_at_checked(HEAD_LEN).ok_or(BadAnswer::Malformed)?;
        let code = u16::from_le_bytes([head[2], head[3]]);
        match head[0] {
            _ if head[1] != 0 => Err(BadAnswer::Malformed.into()),
            DENY if body.len() > REASON_LEN_MAX => Err(BadAnswer::ReasonTooLong(body.len()).into()),
            DENY => deny(code, std::str::from_utf8(body).map_err(|_| BadAnswer::NotUtf8)?, answer),
            REPLACE if code != 0 => Err(BadAnswer::Malformed.into()),
            REPLACE => replace(body, event, limits, answer),
            tag => Err(BadAnswer::UnknownTag(tag).into()),
        }
    }
}

/// Takes a denial of either kind of module.
pub(crate) fn deny(code: u16, reason: &str, answer: &mut Answer) -> Result<(), Failure> {
    if !CODES.contains(&code) {
        return Err(BadAnswer::Code(code).into());
    }
    if reason.len() > REASON_LEN_MAX {
        return Err(BadAnswer::ReasonTooLong(reason.len()).into());
    }
    push_printable(reason, answer.deny(code));
    Ok(())
}

/// Takes a replacement of either kind of module.
pub(crate) fn replace(
    payload: &[u8],
    event: &Event<'_>,
    limits: &Limits,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (len, limit) = (payload.len(), limits.payload_bytes_max);
    if len > limit {
        return Err(BadAnswer::PayloadTooLong { len, limit }.into());
    }
    if !event.kind.has_payload() {
        return Err(BadAnswer::NothingToReplace.into());
    }
    if event.json && !is_one_json_line(payload) {
        return Err(BadAnswer::NotJson.into());
    }
    answer.replace().extend_from_slice(payload);
    Ok(())
}
