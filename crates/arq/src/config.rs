//! `arq config`.

use std::path::Path;

use arqon_shield::config as shield;
use serde_json::Value;

use crate::cli::{Config, Render};
use crate::failure::{Exit, Failure};
use crate::print::print_line;

pub(crate) fn run(args: &Config) -> Result<(), Failure> {
    match args {
        Config::Check { file } => {
            load(file)?;
            print_line(format!("{}: good", file.display()).as_bytes())
        }
        Config::Show { file: None } => print_line(shield::default_toml().trim_end().as_bytes()),
        Config::Show { file: Some(file) } => {
            let shown = toml::to_string(&load(file)?);
            let shown = shown.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            print_line(shown.trim_end().as_bytes())
        }
        Config::Render(Render::Brain { config }) => {
            let terms = render_brain(&load(config)?, config)?;
            print_line(terms.trim_end().as_bytes())
        }
        Config::Doc { file, key } => {
            let config = match file {
                Some(file) => load(file)?,
                None => shield::Config::default(),
            };
            explain(&config, key.as_deref())
        }
    }
}

fn load(file: &Path) -> Result<shield::Config, Failure> {
    shield::Config::load(file).map_err(|error| Failure::new(Exit::BadConfig, error.to_string()))
}

/// What a Brain reads. Files are named from the folder of the configuration, wherever the Brain is started.
fn render_brain(config: &shield::Config, file: &Path) -> Result<String, Failure> {
    let wrong = |error: String| Failure::new(Exit::BadConfig, format!("{}: {error}", file.display()));
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder =
        std::path::absolute(Path::new(".").join(folder)).map_err(|error| wrong(error.to_string()))?;
    arqon_shield::brain_terms::render(config, &folder).map_err(|error| wrong(error.to_string()))
}

fn explain(config: &shield::Config, key: Option<&str>) -> Result<(), Failure> {
    let values = serde_json::to_value(config).expect("a configuration is a plain tree");
    let mut docs: Vec<shield::Doc> = shield::docs().collect();
    if let Some(key) = key {
        docs.retain(|doc| {
            doc.key == key || doc.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
        });
        if docs.is_empty() {
            let message = format!("no key or table is called {key}; `arq config doc` lists them all");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    docs.iter().try_for_each(|doc| print_line(paragraph(doc, &values).as_bytes()))
}

/// `key = value` and its explanation, with an empty line behind.
fn paragraph(doc: &shield::Doc, values: &Value) -> String {
    let value = doc.key.split('.').try_fold(values, |value, name| value.get(name));
    let head = match (&doc.default, value) {
        (Some(_), Some(value)) => format!("{} = {value}", doc.key),
        (Some(default), None) => format!("{} = {default}", doc.key),
        (None, _) => doc.key.clone(),
    };
    format!("{head}\n  {}\n", doc.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_file_stands_for_the_default() {
        let doc = shield::Doc {
            key: "a.b".to_owned(),
            text: "Why.".to_owned(),
            default: Some("\"1s\"".to_owned()),
        };
        assert_eq!(paragraph(&doc, &serde_json::json!({"a": {"b": "2s"}})), "a.b = \"2s\"\n  Why.\n");
        assert_eq!(paragraph(&doc, &Value::Null), "a.b = \"1s\"\n  Why.\n");
    }
}
