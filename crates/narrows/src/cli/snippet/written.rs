//! Names, hosts and paths as other programs write them.

use std::path::Path;

use narrows_guard::route::hosts::HostPattern;

/// A host as a rule of Traefik.
pub(super) fn traefik_host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => format!("Host(`{name}`)"),
        HostPattern::Below(parent) => format!("HostRegexp(`^[^.]+{}$`)", escaped(&format!(".{parent}"))),
    }
}

/// The paths of a route as a regular expression. A path that it misses is shown without its body, and refused.
pub(super) fn path_regex(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{') {
        Some(variable) if variable.ends_with(":rest}") => ".+".to_owned(),
        Some(_) => "[^/]+".to_owned(),
        None => escaped(segment),
    };
    format!("^{}$", path.split('/').map(segment).collect::<Vec<_>>().join("/"))
}

/// The whole path of a file: as it is, where it means nothing to any of these formats, and else between quotes.
pub(super) fn file(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = whole.to_string_lossy();
    if text.chars().all(|each| each.is_ascii_alphanumeric() || "-_./".contains(each)) {
        text.into_owned()
    } else {
        // YAML, nginx and Caddy read quotes and their escapes as JSON does.
        serde_json::Value::from(text).to_string()
    }
}

/// A name that means nothing to any of these formats.
pub(super) fn label(name: &str) -> String {
    let each = |each: char| {
        if each.is_ascii_alphanumeric() || "-_.".contains(each) {
            each
        } else {
            '-'
        }
    };
    name.chars().map(each).collect()
}

/// A name as a label of a host, and of a resource in Kubernetes (RFC 1123 §2.1).
pub(super) fn dns(name: &str) -> String {
    let each = |each: char| {
        if each.is_ascii_alphanumeric() {
            each.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let label: String = name.chars().map(each).collect();
    label.trim_matches('-').to_owned()
}

/// `text` in a regular expression within quotes; what would end those may be any character.
fn escaped(text: &str) -> String {
    let each = |each: char| match each {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '~' | '%' | ':' | '@' | '/' => each.to_string(),
        '.' | '+' | '*' | '(' | ')' | '$' | '|' => format!("[{each}]"),
        _ => ".".to_owned(),
    };
    text.chars().map(each).collect()
}
