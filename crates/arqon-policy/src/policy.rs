//! One module at work for one tenant.

use std::fmt;

use wasmtime::Store;

use arqon_proto::id::Tenant;

use crate::abi::CoreInstance;
use crate::binding::Binding;
use crate::component::ComponentInstance;
use crate::effects::Effects;
use crate::event::Event;
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::limits::Limits;
use crate::module::{Kind, Module};
use crate::refused::Refused;

/// How long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// It judges many events of its tenant and may keep state between them. Never another tenant's.
    #[default]
    Tenant,
    /// Each event has a fresh one.
    Message,
}

/// What a module decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Go on.
    Allow,
    /// Refuse it.
    Deny {
        /// 1000 to 9999.
        code: u16,
        /// At most 256 bytes, without control characters.
        reason: &'a str,
    },
    /// Go on with this payload.
    Replace(&'a [u8]),
}

/// What came of one event.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The verdict, or why there is none: then it is denied.
    pub verdict: Result<Verdict<'a>, Failure>,
    /// What the call used, that of making an instance included if there was none.
    pub fuel: u64,
    /// What it logged and counted; after a failure, too.
    pub effects: &'a Effects,
}

/// A module at work for one tenant. Not shared: each thread has its own.
pub struct Policy {
    module: Module,
    tenant: Tenant,
    limits: Limits,
    isolation: Isolation,
    warm: Option<Warm>,
    answer: Answer,
    effects: Effects,
}

/// Fuel that an instance costs besides what its own code uses: about the time that the host takes to make it and to clean its place up
/// again. Who fails on every second call would otherwise be charged for half of what it costs.
const MAKING: u64 = 30_000;

struct Warm {
    store: Store<Host>,
    instance: Instance,
    calls: u32,
}

enum Instance {
    Core(CoreInstance),
    Component(ComponentInstance),
}

/// What a module answered, in buffers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    tag: Tag,
    reason: String,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Tag {
    #[default]
    Allow,
    Deny(u16),
    Replace,
}

impl Policy {
    /// Runs nothing yet.
    #[must_use]
    pub fn new(module: Module, tenant: Tenant, limits: Limits, isolation: Isolation) -> Self {
        let (answer, effects) = (Answer::default(), Effects::default());
        Self { module, tenant, limits, isolation, warm: None, answer, effects }
    }

    /// Makes an instance, so that a module that does not start is known before it is asked.
    ///
    /// # Errors
    /// [`Refused::Start`].
    pub fn warm_up(&mut self) -> Result<(), Refused> {
        let (made, _) = self.make();
        self.warm = Some(made?);
        Ok(())
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Whether it is what a binding asks for.
    pub(crate) fn fits(&self, binding: &Binding) -> bool {
        self.module.hash() == binding.module.hash()
            && self.limits == binding.limits
            && self.isolation == binding.isolation
    }

    /// Whether it holds an instance, which takes a place in the engine's pool.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.warm.is_some()
    }

    /// Gives the instance back, and with it all state that the module kept.
    pub fn cool(&mut self) {
        (self.warm, self.answer, self.effects) = (None, Answer::default(), Effects::default());
    }

    /// Judges an event. After a failure, and after `calls_max` calls, the next event meets a new instance.
    pub fn judge(&mut self, event: &Event<'_>) -> Judged<'_> {
        let (result, fuel) =
            if *event.tenant == self.tenant { self.run(event) } else { (Err(Failure::WrongTenant), 0) };
        Judged { verdict: result.map(|()| self.answer.verdict()), fuel, effects: &self.effects }
    }

    fn run(&mut self, event: &Event<'_>) -> (Result<(), Failure>, u64) {
        self.effects.clear();
        let mut spent = 0;
        let mut warm = match self.warm.take() {
            Some(warm) if self.isolation == Isolation::Tenant => warm,
            _ => {
                let (made, fuel) = self.make();
                spent = fuel;
                match made {
                    Ok(warm) => warm,
                    Err(failure) => return (Err(failure), spent),
                }
            }
        };
        let limit = self.limits.fuel(event.bytes());
        let result = self.call(&mut warm, event, limit);
        let left = warm.store.get_fuel().unwrap_or(0);
        spent += limit.saturating_sub(left) + warm.store.data().owed();
        std::mem::swap(&mut self.effects, &mut warm.store.data_mut().effects);
        warm.calls += 1;
        // State survives a trap: who failed starts anew.
        if result.is_ok() && self.isolation == Isolation::Tenant && warm.calls < self.limits.calls_max {
            self.warm = Some(warm);
        }
        (result, spent)
    }

    fn call(&mut self, warm: &mut Warm, event: &Event<'_>, fuel: u64) -> Result<(), Failure> {
        let Warm { store, instance, .. } = warm;
        store.data_mut().effects.clear();
        self.ready(store, fuel)?;
        let (limits, answer) = (&self.limits, &mut self.answer);
        let called = match instance {
            Instance::Core(core) => core.call(store, event, limits, answer),
            Instance::Component(component) => component.call(store, event, limits, answer),
        };
        called.map_err(|error| host::failure(&error, fuel))
    }

    fn ready(&self, store: &mut Store<Host>, fuel: u64) -> Result<(), Failure> {
        store.data_mut().begin(fuel);
        store.set_epoch_deadline(self.limits.deadline_ticks);
        store.set_fuel(fuel).map_err(|error| host::failure(&error, fuel))
    }

    /// A new instance, and the fuel it took.
    fn make(&self) -> (Result<Warm, Failure>, u64) {
        let limit = self.limits.fuel_init;
        let mut store = Host::store(self.module.engine());
        // What a component may make the host copy out of it, with room for its other fields.
        store.set_hostcall_fuel(self.limits.payload_bytes_max + (64 << 10));
        let made = self.ready(&mut store, limit).and_then(|()| {
            let made = match self.module.kind() {
                Kind::Core(core) => CoreInstance::start(core, &mut store).map(Instance::Core),
                Kind::Component(pre) => ComponentInstance::start(pre, &mut store).map(Instance::Component),
            };
            made.map_err(|error| host::failure(&error, limit))
        });
        let spent = MAKING + limit.saturating_sub(store.get_fuel().unwrap_or(0)) + store.data().owed();
        (made.map(|instance| Warm { store, instance, calls: 0 }), spent)
    }
}

impl Answer {
    pub(crate) fn allow(&mut self) {
        self.tag = Tag::Allow;
    }

    /// Where its reason goes.
    pub(crate) fn deny(&mut self, code: u16) -> &mut String {
        self.tag = Tag::Deny(code);
        self.reason.clear();
        &mut self.reason
    }

    /// Where the new payload goes.
    pub(crate) fn replace(&mut self) -> &mut Vec<u8> {
        self.tag = Tag::Replace;
        self.payload.clear();
        &mut self.payload
    }

    fn verdict(&self) -> Verdict<'_> {
        match self.tag {
            Tag::Allow => Verdict::Allow,
            Tag::Deny(code) => Verdict::Deny { code, reason: &self.reason },
            Tag::Replace => Verdict::Replace(&self.payload),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("module", &self.module)
            .field("tenant", &self.tenant)
            .field("warm", &self.is_warm())
            .finish_non_exhaustive()
    }
}
