//! From the configuration to that of the pure machines.

use arqon_presence::agent::AgentConfig;
use arqon_presence::brain::BrainConfig;
use arqon_proto::id::ShieldId;
use arqon_proto::limits::SessionLimits;
use arqon_proto::link::LinkConfig;

use crate::config::Config;

pub(crate) fn link(config: &Config, incarnation: u64) -> LinkConfig {
    let spine = &config.spine;
    LinkConfig {
        barrier_deadline: spine.barrier_deadline,
        tail_interval: spine.tail_interval,
        tail_for: spine.tail_for,
        dedupe_for: spine.dedupe_for,
        rooms_joined_max: config.shield.rooms_max as usize,
        ..LinkConfig::new(config.shield.id.clone(), incarnation)
    }
}

pub(crate) fn agent(config: &Config, instance: u64) -> AgentConfig {
    AgentConfig {
        lease: config.presence.lease,
        grace: config.presence.grace,
        diff_window: config.presence.diff_window,
        permanent_down: config.presence.permanent_down,
        rooms_max: config.shield.rooms_max as usize,
        ..AgentConfig::new(config.shield.id.clone(), instance)
    }
}

pub(crate) fn brain(config: &Config, name: ShieldId, instance: u64) -> BrainConfig {
    BrainConfig {
        lease: config.presence.lease,
        grace: config.presence.grace,
        idle_close: config.presence.idle_close,
        permanent_down: config.presence.permanent_down,
        ..BrainConfig::new(name, instance)
    }
}

pub(crate) fn session(config: &Config) -> SessionLimits {
    let limits = &config.limits;
    SessionLimits {
        message_bytes_max: limits.message_bytes_max.bytes(),
        commands_per_message_max: limits.commands_per_message_max,
        rooms_max: limits.rooms_per_connection_max,
        publishes_in_flight_max: limits.publishes_in_flight_max,
        publish_rate_per_s: limits.publish_rate_per_s,
        publish_burst: limits.publish_burst,
        command_rate_per_s: limits.command_rate_per_s,
        command_burst: limits.command_burst,
        meta_bytes_max: limits.meta_bytes_max.bytes(),
        authenticate_within: limits.authenticate_within,
        ping_interval: limits.ping_interval,
        pong_timeout: limits.pong_timeout,
        token_warning: limits.token_warning,
        refresh_grace: config.auth.refresh_grace,
        errors_max: limits.errors_max,
    }
}
