//! Components: the same event and the same answers, lifted and lowered by the component model.

use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};

use crate::abi::{deny, replace};
use crate::effects::Level;
use crate::engine::Engine;
use crate::event::{Event, EventKind};
use crate::failure::{BadAnswer, Failure};
use crate::host::{self, Host};
use crate::limits::Limits;
use crate::policy::Answer;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../proto/policy",
        world: "policy",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
    });
}

pub(crate) use bindings::PolicyPre;
use bindings::arqon::policy::host as wit_host;
use bindings::arqon::policy::types as wit;

/// A running component.
pub(crate) struct ComponentInstance(bindings::Policy);

/// What a component may import: nothing but the host interface.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Policy::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}

impl wit::Host for Host {}

impl wit_host::Host for Host {
    fn log(&mut self, level: wit_host::Level, message: String) -> wasmtime::Result<()> {
        self.pay(message.len())?;
        let level = match level {
            wit_host::Level::Debug => Level::Debug,
            wit_host::Level::Info => Level::Info,
            wit_host::Level::Warn => Level::Warn,
        };
        self.effects.log(level, &message);
        Ok(())
    }

    fn count(&mut self, name: String, delta: u32) -> wasmtime::Result<()> {
        self.pay(name.len())?;
        self.effects.count(&name, delta);
        Ok(())
    }
}

impl ComponentInstance {
    pub(crate) fn start(pre: &PolicyPre<Host>, store: &mut Store<Host>) -> wasmtime::Result<Self> {
        pre.instantiate(store).map(Self)
    }

    pub(crate) fn call(
        &self,
        store: &mut Store<Host>,
        event: &Event<'_>,
        limits: &Limits,
        answer: &mut Answer,
    ) -> wasmtime::Result<()> {
        let headers: Vec<wit::Header<'_>> = event
            .headers
            .iter()
            .map(|header| wit::Header { name: header.name, value: header.value })
            .collect();
        let given = wit::Event {
            kind: match event.kind {
                EventKind::Connect => wit::EventKind::Connect,
                EventKind::Subscribe => wit::EventKind::Subscribe,
                EventKind::Publish => wit::EventKind::Publish,
                EventKind::Presence => wit::EventKind::Presence,
            },
            tenant: event.tenant.as_str(),
            room: event.room_name(),
            sender: event.sender,
            claims: event.claims,
            headers: &headers,
            json: event.json,
            now_ms: event.now_ms,
            payload: event.payload,
        };
        let verdict = match self.0.call_evaluate(&mut *store, given) {
            Ok(verdict) => verdict,
            Err(error) => return Err(understood(error)),
        };
        match verdict {
            wit::Verdict::Allow => answer.allow(),
            wit::Verdict::Deny(denial) => deny(denial.code, &denial.reason, answer)?,
            wit::Verdict::Replace(payload) => replace(&payload, event, limits, answer)?,
        }
        Ok(())
    }
}

/// What a component returns that cannot be lifted is an error without a type of its own: whatever is neither a trap nor a limit.
fn understood(error: wasmtime::Error) -> wasmtime::Error {
    match host::failure(&error, 0) {
        Failure::Other(_) => Failure::from(BadAnswer::NotLifted).into(),
        _ => error,
    }
}
