//! What a scenario file must mean, beyond being well-formed.

use arqon_proto::id::{Room, Tenant};

use crate::format::{Check, Cohort, FaultKind, SCHEMA, Scenario, Topology};
use crate::mistake;
use crate::oracle;
use crate::values::Node;

impl Scenario {
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema is `{}`, this version reads `{SCHEMA}`", self.schema));
        }
        if self.why.trim().is_empty() {
            return Err("why is empty: say what would go unseen without this scenario".to_owned());
        }
        let t = &self.topology;
        if t.shields == 0 || t.brains == 0 || t.client_hosts == 0 || t.tick.min_ms == 0 {
            return Err("topology: shields, brains, client_hosts and tick are at least 1".to_owned());
        }
        if !(1..=2).contains(&t.spines) {
            return Err("topology.spines is 1 or 2".to_owned());
        }
        for (i, cohort) in self.actors.iter().enumerate() {
            if self.actors[..i].iter().any(|c| c.id == cohort.id) {
                return Err(format!("actor `{}` is there twice", cohort.id));
            }
            cohort.validate().map_err(|e| format!("actor `{}`: {e}", cohort.id))?;
        }
        for fault in &self.faults {
            fault.validate(t).map_err(|e| format!("fault {:?}: {e}", fault.r#do))?;
        }
        self.nemesis.iter().try_for_each(crate::nemesis::Nemesis::validate)?;
        if self.targets.is_empty() {
            return Err("targets is empty: say where it is carried out".to_owned());
        }
        self.limits.validate(&self.targets)?;
        let exchanges = |kind: FaultKind| kind == FaultKind::ExchangePolicies;
        let picked = self.nemesis.iter().flat_map(|nemesis| &nemesis.pick).any(|kind| exchanges(*kind));
        if self.exchanged.is_empty() && (picked || self.faults.iter().any(|fault| exchanges(fault.r#do))) {
            return Err("exchange_policies: `exchanged` does not say for which".to_owned());
        }
        for operate in &self.operates {
            operate.validate(t).map_err(|e| format!("operate {:?}: {e}", operate.r#do))?;
        }
        self.check.validate(&self.actors)
    }
}

impl Cohort {
    fn validate(&self) -> Result<(), String> {
        Tenant::parse(&self.id).map_err(|e| e.to_string())?;
        if self.tenants.is_empty() {
            return Err("tenants is empty".to_owned());
        }
        self.tenants.iter().try_for_each(|t| Tenant::parse(t).map(drop)).map_err(|e| e.to_string())?;
        self.rooms.fixed.iter().try_for_each(|r| Room::parse(r).map(drop)).map_err(|e| e.to_string())?;
        if self.rooms.fixed.is_empty() && self.rooms.per_actor == 0 {
            return Err("rooms: neither `fixed` nor `per_actor` says where it goes".to_owned());
        }
        if self.rooms.per_actor > self.rooms.of {
            return Err(format!("rooms: {} of {} cannot be", self.rooms.per_actor, self.rooms.of));
        }
        match &self.publish {
            Some(p) if p.retry && !p.ack => {
                Err("publish.retry: without an ack there is no answer to miss".to_owned())
            }
            Some(p) if p.size.0 > p.size.1 => Err("publish.size is [lowest, highest]".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Topology {
    /// The node that was probably meant by one that does not exist: the last of its kind.
    pub(crate) fn meant(&self, stranger: Node) -> String {
        let last = match stranger {
            Node::Shield(_) => Node::Shield(self.shields.saturating_sub(1)),
            Node::Client(_) => Node::Client(self.client_hosts.saturating_sub(1)),
            Node::Brain(_) => Node::Brain(self.brains.saturating_sub(1)),
            Node::Spine | Node::Valkey => return String::new(),
        };
        format!("; did you mean `{last}`?")
    }

    /// Whether there is such a node.
    pub(crate) fn has(&self, node: Node) -> bool {
        match node {
            Node::Shield(n) => n < self.shields,
            Node::Client(n) => n < self.client_hosts,
            Node::Brain(n) => n < self.brains,
            Node::Spine | Node::Valkey => true,
        }
    }
}

impl Check {
    fn validate(&self, actors: &[Cohort]) -> Result<(), String> {
        let known = |what: &str, name: &String, all: &[&str]| {
            let known = all.contains(&name.as_str());
            let meant = mistake::meant(name, all.iter().copied());
            let message = || format!("check.{what}: `{name}` is none of {}{meant}", all.join(", "));
            if known { Ok(()) } else { Err(message()) }
        };
        self.safety.iter().try_for_each(|n| known("safety", n, oracle::SAFETY))?;
        self.liveness.keys().try_for_each(|n| known("liveness", n, oracle::LIVENESS))?;
        self.sometimes.iter().try_for_each(|n| known("sometimes", n, oracle::MARKS))?;
        let of_actors = |what: &str, mut names: Box<dyn Iterator<Item = &String> + '_>| {
            let stranger = names.find(|name| !actors.iter().any(|actor| actor.id == **name));
            stranger.map_or(Ok(()), |name| {
                let meant = mistake::meant(name, actors.iter().map(|actor| actor.id.as_str()));
                Err(format!("check.{what}: there is no actor `{name}`{meant}"))
            })
        };
        of_actors("closed_with", Box::new(self.closed_with.keys()))?;
        of_actors("refused_with", Box::new(self.refused_with.keys()))?;
        of_actors("replaced", Box::new(self.replaced.iter()))?;
        let bare = |actor: &&Cohort| actor.publish.is_none_or(|publish| publish.size.0 == 0);
        let unmarked = actors.iter().filter(bare).find(|actor| self.replaced.contains(&actor.id));
        unmarked.map_or(Ok(()), |actor| {
            let id = &actor.id;
            Err(format!(
                "check.replaced: publish.size of `{id}` begins at 1 or more: what is marked is the padding"
            ))
        })
    }
}
