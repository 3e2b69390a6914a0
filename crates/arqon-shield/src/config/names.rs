//! serde for names that are parsed once: a bad one is refused where it stands in the file.

use arqon_proto::id::NameError;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

fn parse<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, NameError>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A Shield's name.
pub(super) mod shield_id {
    use super::{Deserializer, Serializer};
    use arqon_proto::id::ShieldId;

    pub(crate) fn serialize<S: Serializer>(id: &ShieldId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ShieldId, D::Error> {
        super::parse(deserializer, ShieldId::parse)
    }
}

/// A tenant that may be absent.
pub(super) mod tenant {
    use super::{Deserializer, Serializer};
    use arqon_proto::id::Tenant;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        tenant: &Option<Tenant>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match tenant {
            Some(tenant) => serializer.serialize_str(tenant.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Tenant>, D::Error> {
        super::parse(deserializer, Tenant::parse).map(Some)
    }
}

/// A room pattern.
pub(super) mod pattern {
    use super::{Deserializer, Serializer};
    use arqon_proto::grant::Pattern;

    pub(crate) fn serialize<S: Serializer>(pattern: &Pattern, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(pattern.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        super::parse(deserializer, Pattern::parse)
    }
}
