//! The JSON Schema of scenario files, made from the types that read them, and held against every file.

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::format::{SCHEMA, Scenario};
use crate::values::{Bytes, Node, Rate, Seeds, Span};

macro_rules! written {
    ($($name:ident: $pattern:literal, $what:literal);+ $(;)?) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        }
    )+};
}
written! {
    Span: r"^ *[0-9]+(ms|s|m)(\.\. *[0-9]+(ms|s|m))?$", "a time span or a range of them: 3s, 250ms, 3s..5s";
    Rate: r"^[0-9]+(\.[0-9]+)?/(s|m)$", "how often on average: 2/s, 6/m";
    Seeds: r"^[0-9]+\.\.[0-9]+$", "seeds, the last not included: 0..20";
    Bytes: r"^[0-9]+(B|KiB|MiB|GiB)$", "a size: 64KiB";
    Node: r"^((shield|client|brain)\.[0-9]+|spine|valkey)$", "a node: shield.0, client.2, brain.0, spine, valkey";
}

/// As text, with the schema's name as the only one that is taken.
fn generated() -> String {
    let mut schema = schemars::schema_for!(Scenario).to_value();
    schema["properties"]["schema"]["const"] = SCHEMA.into();
    schema["title"] = "A scenario of ArqonBus".into();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    expect_test::expect_file!["../../../docs/scenario.schema.json"].assert_eq(&generated());
}

#[test]
fn every_scenario_fits_the_schema_and_what_does_not_parse_does_not_fit() {
    let schema = serde_json::from_str(&generated()).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let value: serde_json::Value = toml::from_str(&text).expect("a TOML");
        let found: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
        for (key, wrong) in [("durations", "5s"), ("duration", "5 hours"), ("schema", "arqon.scenario/9")] {
            let mut broken = value.clone();
            broken[key] = wrong.into();
            assert!(!validator.is_valid(&broken), "{}: {key} = {wrong}", path.display());
        }
        checked += 1;
    }
    assert!(checked >= 20, "{checked} scenarios");
}
