//! `docs/openapi.yaml` describes the routes that there are, and no others.

use arqon_shield::{admin, api};

/// Method and path of every operation, read by the indentation that the file keeps.
fn documented() -> Vec<(String, String)> {
    let text = include_str!("../../../../docs/openapi.yaml");
    let paths = text.lines().skip_while(|line| *line != "paths:").skip(1);
    let paths = paths.take_while(|line| line.is_empty() || line.starts_with(' ') || line.starts_with('#'));
    let (mut path, mut found) = (String::new(), Vec::new());
    for line in paths {
        let key = line.trim_end().strip_suffix(':').unwrap_or_default();
        if let Some(name) = key.strip_prefix("  ").filter(|name| name.starts_with('/')) {
            name.clone_into(&mut path);
        }
        let method = key.strip_prefix("    ").unwrap_or_default();
        if ["get", "put", "post", "delete", "patch"].contains(&method) {
            found.push((method.to_uppercase(), path.clone()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_route_is_documented_and_every_documented_route_is_one() {
    let open = admin::PATHS.iter().map(|path| ("GET", *path));
    let mut routes: Vec<_> =
        open.chain(api::routes()).map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    routes.sort();
    assert_eq!(documented(), routes);
}
