//! Policies as `config.toml` names them: files, compiled.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arqon_policy::{
    Asks, Binding, Bindings, Engine, EngineConfig, Hash, Limits, Module, Policy, Refused, TenantPattern,
};
use arqon_presence::shared::Release;
use arqon_proto::id::Tenant;
use arqon_proto::time::millis;
use bytes::Bytes;

use super::deployed::Releases;

use crate::config::{Config, PolicyRule};

/// Why a policy is not there.
#[derive(Debug, thiserror::Error)]
#[error("policies: {name}: {origin}: {why}")]
pub struct PolicyError {
    name: String,
    /// The file, or the module that was deployed.
    origin: String,
    why: String,
}

/// The same for a policy that is named already.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Bad(String),
    #[error("it was deployed and has not arrived yet")]
    OnItsWay,
}

/// Compiles what files name, and knows what it has compiled already.
#[derive(Debug)]
pub struct Loader {
    engine: Engine,
    config: Config,
}

/// What files name at one moment.
#[derive(Debug)]
pub struct Loaded {
    /// In the order of the file.
    pub bindings: Bindings,
    /// What is missing or no good, and not required: left out, or still what it was before.
    pub missing: Vec<PolicyError>,
}

/// Makes an engine and compiles all policies; `None` if the configuration names none.
///
/// # Errors
/// A required policy is missing or no good, or the engine cannot be made.
pub fn load(config: &Config, base: &Path) -> Result<Option<(Loader, Loaded)>, PolicyError> {
    if config.policies.is_empty() {
        return Ok(None);
    }
    let engine = Engine::new(EngineConfig {
        instances_max: config.policy.instances_max,
        memory_bytes_max: config.policy.memory_max.bytes(),
        ..EngineConfig::default()
    });
    let engine = engine.map_err(|error| PolicyError {
        name: "[policy]".to_owned(),
        origin: "config.toml".to_owned(),
        why: error.to_string(),
    })?;
    let loader = Loader { engine, config: config.clone() };
    let loaded = loader.read(base, &Arc::from([]), &Releases::default())?;
    Ok(Some((loader, loaded)))
}

impl Loader {
    /// The engine, for whoever moves its deadline.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Reads all files but those in whose place another module was deployed; what was compiled before is not compiled again. Takes about
    /// 2 ms for a small module that is new.
    ///
    /// # Errors
    /// A required policy is missing or no good: nothing of what was read may then be put in force.
    pub fn read(&self, base: &Path, before: &Bindings, releases: &Releases) -> Result<Loaded, PolicyError> {
        let (mut bindings, mut missing) = (Vec::new(), Vec::new());
        for rule in &self.config.policies {
            let known: Vec<&Binding> = before.iter().chain(&bindings).collect();
            let (origin, result) = match releases.of(&rule.name) {
                Some((release, bytes)) => {
                    (format!("module {}", release.module), self.deployed(rule, &known, release, bytes))
                }
                None => (rule.file.display().to_string(), self.binding(rule, base, &known)),
            };
            match result {
                Ok(binding) => bindings.push(binding),
                Err(why) => {
                    let error = PolicyError { name: rule.name.clone(), origin, why: why.to_string() };
                    if rule.required && !matches!(why, Why::OnItsWay) {
                        return Err(error);
                    }
                    // One that has judged goes on: a file that is no good replaces nothing.
                    bindings.extend(before.iter().find(|one| *one.name == *rule.name).cloned());
                    missing.push(error);
                }
            }
        }
        Ok(Loaded { bindings: bindings.into(), missing })
    }

    fn binding(&self, rule: &PolicyRule, base: &Path, known: &[&Binding]) -> Result<Binding, Why> {
        let mut bytes = fs::read(base.join(&rule.file)).map_err(|error| Why::Bad(error.to_string()))?;
        if rule.file.extension().is_some_and(|extension| extension == "wat") {
            bytes = wat::parse_bytes(&bytes).map_err(|error| Why::Bad(error.to_string()))?.into_owned();
        }
        let module = self.module(Hash::of(&bytes), &bytes, known)?;
        Ok(self.bind(rule, &rule.version, module))
    }

    fn deployed(
        &self,
        rule: &PolicyRule,
        known: &[&Binding],
        release: &Release,
        bytes: Option<&Bytes>,
    ) -> Result<Binding, Why> {
        let module = self.module(Hash(release.module.0), bytes.ok_or(Why::OnItsWay)?, known)?;
        Ok(self.bind(rule, &release.version, module))
    }

    fn module(&self, hash: Hash, bytes: &[u8], known: &[&Binding]) -> Result<Module, Why> {
        match known.iter().find(|one| one.module.hash() == hash) {
            Some(known) => Ok(known.module.clone()),
            None => self.compile(bytes).map_err(|refused| Why::Bad(refused.to_string())),
        }
    }

    fn bind(&self, rule: &PolicyRule, version: &str, module: Module) -> Binding {
        Binding {
            name: rule.name.as_str().into(),
            version: version.into(),
            module,
            tenant: rule.tenant.clone().map_or(TenantPattern::Any, TenantPattern::One),
            rooms: rule.pattern.clone(),
            kinds: rule.on.iter().map(|kind| (*kind).into()).collect(),
            mode: rule.mode.into(),
            isolation: rule.isolation.into(),
            asks: Asks { claims: rule.claims, headers: rule.headers },
            limits: self.limits(),
        }
    }

    /// Whether the configuration names this policy.
    pub(crate) fn knows(&self, policy: &str) -> bool {
        self.config.policies.iter().any(|rule| rule.name == policy)
    }

    /// A module that does not start is no good, and nobody should learn it from a client.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Module, Refused> {
        let module = Module::compile(&self.engine, bytes)?;
        let nobody = Tenant::parse("nobody").expect("a literal that fits the grammar");
        Policy::new(module.clone(), nobody, self.limits(), arqon_policy::Isolation::Tenant).warm_up()?;
        Ok(module)
    }

    fn limits(&self) -> Limits {
        let table = &self.config.policy;
        Limits {
            fuel_max: table.fuel_max,
            payload_bytes_max: self.config.limits.message_bytes_max.bytes(),
            deadline_ticks: millis(table.deadline).max(1),
            ..Limits::default()
        }
    }
}
