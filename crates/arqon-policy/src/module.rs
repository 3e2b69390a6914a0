//! Modules, checked and compiled.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{ExternType, FuncType, InstancePre, ValType};

use crate::component::{self, PolicyPre};
use crate::engine::Engine;
use crate::host::{self, Host};
use crate::refused::Refused;

/// The export that tells the version. Its name is all that counts, so no code of the module runs to learn it.
const VERSION: &str = "arqon_abi_v1";
const VERSION_PREFIX: &str = "arqon_abi_v";

pub(crate) const BUFFER: &str = "arqon_buffer";
pub(crate) const EVALUATE: &str = "arqon_evaluate";
pub(crate) const INITIALIZE: &str = "_initialize";

/// Name, type, and whether it may be missing.
const EXPORTS: [(&str, &str, bool); 4] = [
    ("memory", "memory", false),
    (BUFFER, "func(i32) -> i32", false),
    (EVALUATE, "func(i32, i32) -> i64", false),
    (INITIALIZE, "func() -> ", true),
];

/// Both have the same type.
const IMPORT_TYPE: &str = "func(i32, i32, i32) -> ";
const IMPORTS: [&str; 2] = ["log", "count"];

const MAGIC: &[u8] = b"\0asm";
const CORE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// The SHA-256 of a module's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A module that was checked and compiled. Cheap to clone; holds no state of any tenant.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    engine: Engine,
    hash: Hash,
    kind: Kind,
}

/// What is needed to make an instance.
pub(crate) enum Kind {
    Core(Core),
    Component(PolicyPre<Host>),
}

pub(crate) type Core = InstancePre<Host>;

impl Module {
    /// Checks and compiles a module. Runs no code of it. Takes about 2 ms for a small module, and up to seconds for one of
    /// 4 MiB: not for a thread that serves clients.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn compile(engine: &Engine, bytes: &[u8]) -> Result<Self, Refused> {
        let limit = engine.config().module_bytes_max;
        if bytes.len() > limit {
            return Err(Refused::TooLarge { len: bytes.len(), limit });
        }
        let kind = match bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk()) {
            Some(&CORE) => Kind::Core(core(engine, bytes)?),
            Some(&COMPONENT) => Kind::Component(component(engine, bytes)?),
            _ => return Err(Refused::NotWasm),
        };
        Ok(Self(Arc::new(Inner { engine: engine.clone(), hash: Hash::of(bytes), kind })))
    }

    /// The hash of its bytes.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({})", self.0.hash)
    }
}

fn core(engine: &Engine, bytes: &[u8]) -> Result<Core, Refused> {
    let module = wasmtime::Module::from_binary(engine.wasmtime(), bytes).map_err(|error| invalid(&error))?;
    check_version(&module)?;
    check_exports(&module)?;
    check_imports(&module)?;
    let linker = host::linker(engine).map_err(|error| invalid(&error))?;
    linker.instantiate_pre(&module).map_err(|error| invalid(&error))
}

/// A component says in its types what it needs: the linker compares them.
fn component(engine: &Engine, bytes: &[u8]) -> Result<PolicyPre<Host>, Refused> {
    let component = Component::from_binary(engine.wasmtime(), bytes).map_err(|error| invalid(&error))?;
    let linker = component::linker(engine).map_err(|error| invalid(&error))?;
    let pre = linker.instantiate_pre(&component).and_then(PolicyPre::new);
    pre.map_err(|error| Refused::OtherWorld(format!("{error:#}").into()))
}

/// wasmtime has no type for what its pool refuses, only these words; a test holds on to them.
fn invalid(error: &wasmtime::Error) -> Refused {
    let text = format!("{error:#}");
    if text.contains("pooling allocator") || text.contains("exceeds the limit of") {
        Refused::NeedsTooMuch(text.into())
    } else {
        Refused::Invalid(text.into())
    }
}

fn check_version(module: &wasmtime::Module) -> Result<(), Refused> {
    if module.get_export(VERSION).is_some() {
        return Ok(());
    }
    match module.exports().find(|export| export.name().starts_with(VERSION_PREFIX)) {
        Some(other) => Err(Refused::WrongVersion { found: other.name().into() }),
        None => Err(Refused::NoVersion),
    }
}

fn check_exports(module: &wasmtime::Module) -> Result<(), Refused> {
    for (name, expected, optional) in EXPORTS {
        match module.get_export(name).map(|found| describe(&found)) {
            None if optional => {}
            None => return Err(Refused::MissingExport { name, expected }),
            Some(found) if found == expected => {}
            Some(found) => return Err(Refused::WrongExport { name, expected, found: found.into() }),
        }
    }
    Ok(())
}

fn check_imports(module: &wasmtime::Module) -> Result<(), Refused> {
    for import in module.imports() {
        let (module, name) = (import.module().into(), import.name().into());
        if import.module() != host::NAMESPACE || !IMPORTS.contains(&import.name()) {
            return Err(Refused::UnknownImport { module, name });
        }
        let found = describe(&import.ty());
        if found != IMPORT_TYPE {
            return Err(Refused::WrongImport { module, name, expected: IMPORT_TYPE, found: found.into() });
        }
    }
    Ok(())
}

/// The type in words, to be compared and to be told.
fn describe(found: &ExternType) -> String {
    match found {
        ExternType::Func(func) => describe_func(func),
        ExternType::Memory(_) => "memory".to_owned(),
        ExternType::Global(_) => "global".to_owned(),
        ExternType::Table(_) => "table".to_owned(),
        ExternType::Tag(_) => "tag".to_owned(),
    }
}

fn describe_func(func: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
    };
    format!("func({}) -> {}", list(&mut func.params()), list(&mut func.results()))
}
