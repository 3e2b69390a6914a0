//! Why a module is not taken.

use crate::failure::Failure;

/// Why a module is not taken. Each says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too large.
    #[error("the module has {len} bytes, the limit is {limit}: strip it of names and debug information")]
    TooLarge {
        /// What it has.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not a module at all.
    #[error("this is not a WebAssembly module: deploy the .wasm file that the compiler wrote")]
    NotWasm,
    /// A component that does not fit the world `policy`.
    #[error("the component does not fit arqon:policy@1: {0}: build it for the world `policy`, without WASI")]
    OtherWorld(Box<str>),
    /// It breaks a rule of WebAssembly, or uses a feature that is off: threads, 64-bit memories, relaxed SIMD.
    #[error("the module is not valid here: {0}: build it without threads, memory64 and relaxed SIMD")]
    Invalid(Box<str>),
    /// Its memory or its tables start larger than the engine gives, or there are too many of them.
    #[error("the module needs too much: {0}: link it with a smaller stack (-z stack-size) or smaller tables")]
    NeedsTooMuch(Box<str>),
    /// It does not say for which version of the interface it was built.
    #[error("the module exports no version: export a function or global named arqon_abi_v1")]
    NoVersion,
    /// It was built for a version that this engine does not have.
    #[error("the module was built for {found}: this engine has arqon_abi_v1, build it for that")]
    WrongVersion {
        /// The name of its export.
        found: Box<str>,
    },
    /// An export is missing.
    #[error("the module does not export {name}: export it as {expected}")]
    MissingExport {
        /// Its name.
        name: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// An export has another type.
    #[error("the module exports {name} as {found}: export it as {expected}")]
    WrongExport {
        /// Its name.
        name: &'static str,
        /// Its type.
        expected: &'static str,
        /// The type it has.
        found: Box<str>,
    },
    /// An import that is not there. WASI is not.
    #[error(
        "the module imports {module}.{name}: there is only arqon.log and arqon.count, build it without WASI and imported memories"
    )]
    UnknownImport {
        /// From where.
        module: Box<str>,
        /// What.
        name: Box<str>,
    },
    /// An import that has another type.
    #[error("the module imports {module}.{name} as {found}: import it as {expected}")]
    WrongImport {
        /// From where.
        module: Box<str>,
        /// What.
        name: Box<str>,
        /// The type it has here.
        expected: &'static str,
        /// The type that the module wants.
        found: Box<str>,
    },
    /// It cannot be started. See [`Policy::warm_up`](crate::Policy::warm_up).
    #[error("the module does not start: {0}: look at its start function and _initialize")]
    Start(#[from] Failure),
}
