//! Policies as `config.toml` names them: files, compiled.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arqon_policy::{
    Asks, Binding, Bindings, Engine, EngineConfig, Hash, Limits, Module, Policy, Refused, TenantPattern,
};
use arqon_proto::id::Tenant;
use arqon_proto::time::millis;

use crate::config::{Config, PolicyRule};

/// Why a policy is not there.
#[derive(Debug, thiserror::Error)]
#[error("policies: {name}: {file}: {why}")]
pub struct PolicyError {
    name: String,
    file: String,
    why: String,
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
        file: "config.toml".to_owned(),
        why: error.to_string(),
    })?;
    let loader = Loader { engine, config: config.clone() };
    let loaded = loader.read(base, &Arc::from([]))?;
    Ok(Some((loader, loaded)))
}

impl Loader {
    /// The engine, for whoever moves its deadline.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Reads all files; what was compiled before is not compiled again. Takes about 2 ms for a small module that is new.
    ///
    /// # Errors
    /// A required policy is missing or no good: nothing of what was read may then be put in force.
    pub fn read(&self, base: &Path, before: &Bindings) -> Result<Loaded, PolicyError> {
        let (mut bindings, mut missing) = (Vec::new(), Vec::new());
        for rule in &self.config.policies {
            match self.binding(rule, base, before, &bindings) {
                Ok(binding) => bindings.push(binding),
                Err(why) => {
                    let (name, file) = (rule.name.clone(), rule.file.display().to_string());
                    let error = PolicyError { name, file, why };
                    if rule.required {
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

    fn binding(
        &self,
        rule: &PolicyRule,
        base: &Path,
        before: &Bindings,
        read: &[Binding],
    ) -> Result<Binding, String> {
        let mut bytes = fs::read(base.join(&rule.file)).map_err(|error| error.to_string())?;
        if rule.file.extension().is_some_and(|extension| extension == "wat") {
            bytes = wat::parse_bytes(&bytes).map_err(|error| error.to_string())?.into_owned();
        }
        let limits = self.limits();
        let hash = Hash::of(&bytes);
        let known = before.iter().chain(read).find(|one| one.module.hash() == hash);
        let module = match known {
            Some(known) => known.module.clone(),
            None => self.compile(&bytes, limits).map_err(|refused| refused.to_string())?,
        };
        Ok(Binding {
            name: rule.name.as_str().into(),
            version: rule.version.as_str().into(),
            module,
            tenant: rule.tenant.clone().map_or(TenantPattern::Any, TenantPattern::One),
            rooms: rule.pattern.clone(),
            kinds: rule.on.iter().map(|kind| (*kind).into()).collect(),
            mode: rule.mode.into(),
            isolation: rule.isolation.into(),
            asks: Asks { claims: rule.claims, headers: false },
            limits,
        })
    }

    /// A module that does not start is no good, and nobody should learn it from a client.
    fn compile(&self, bytes: &[u8], limits: Limits) -> Result<Module, Refused> {
        let module = Module::compile(&self.engine, bytes)?;
        let nobody = Tenant::parse("nobody").expect("a literal that fits the grammar");
        Policy::new(module.clone(), nobody, limits, arqon_policy::Isolation::Tenant).warm_up()?;
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
