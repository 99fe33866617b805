//! `[[services]]` and `[[mcp]]`: what stands behind boundaries and guards.

use std::collections::BTreeSet;

use delegation::details::{ConstraintOrder, DetailTypes};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;

use super::data_plane::distinct;
use super::duration;
use super::either::Rule;
use super::file::{File, RouteRule, TrustedIssuer};
use super::modes;
use super::problem::Problems;

/// Finds what is wrong with them.
pub(super) fn check(file: &File, types: &DetailTypes, problems: &mut Problems) {
    distinct("services", file.services.iter().map(|each| each.name.as_str()), problems);
    distinct("mcp", file.mcp.iter().map(|each| each.name.as_str()), problems);
    for (at, each) in file.services.iter().enumerate() {
        let path = format!("services[{at}]");
        let audience = audience(file, each.audience.as_deref(), &path, problems);
        required(
            &path,
            &[("hosts", each.hosts.is_some()), ("upstream", each.upstream.is_some())],
            problems,
        );
        upstream(each.upstream.as_deref(), &path, problems);
        for why in each.hosts.iter().flatten().filter_map(|host| HostPattern::parse(host).err()) {
            problems.add(&format!("{path}.hosts"), why.to_string());
        }
        modes::of_service(file, each, &path, problems);
        let mut known: Vec<(&String, Pattern)> = Vec::new();
        let mut names = BTreeSet::new();
        for (key, rule) in &each.routes {
            let path = format!("{path}.routes.{key}");
            let reads = match Pattern::parse(key) {
                Ok(pattern) => {
                    if let Some((other, _)) = known.iter().find(|(_, other)| other.ties(&pattern)) {
                        problems.add(&path, format!("matches what `{other}` matches, and neither wins; keep one"));
                    }
                    let variables = pattern.variables();
                    known.push((key, pattern));
                    Reads::Request(variables)
                }
                Err(why) => {
                    problems.add(&path, why.to_string());
                    continue;
                }
            };
            let name = match rule {
                Rule::Short(_) => key,
                Rule::Long(rule) => rule.name.as_ref().unwrap_or(key),
            };
            if !names.insert(name) {
                problems.add(&path, format!("another route of this service is named `{name}`"));
            }
            self::rule(file, rule, &path, types, &reads, audience, problems);
        }
    }
    for (at, each) in file.mcp.iter().enumerate() {
        let path = format!("mcp[{at}]");
        let audience = audience(file, each.audience.as_deref(), &path, problems);
        let there = [
            ("boundary", each.boundary.is_some()),
            ("path", each.path.is_some()),
            ("upstream", each.upstream.is_some()),
            ("audience", each.audience.is_some()),
        ];
        required(&path, &there, problems);
        upstream(each.upstream.as_deref(), &path, problems);
        if each.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            problems.add(&format!("{path}.path"), "expected a path such as `/mcp/tickets`".to_owned());
        }
        for name in each.boundary.iter().filter(|name| !file.boundaries.iter().any(|boundary| boundary.name == **name)) {
            problems.add(&format!("{path}.boundary"), format!("there is no boundary `{name}`"));
        }
        for (tool, rule) in &each.tools {
            let path = format!("{path}.tools.{tool}");
            self::rule(file, rule, &path, types, &Reads::Arguments, audience, problems);
        }
    }
}

fn audience<'f>(file: &'f File, id: Option<&str>, path: &str, problems: &mut Problems) -> Option<&'f super::file::Audience> {
    let found = file.audiences.iter().find(|audience| id == Some(audience.id.as_str()));
    if let (Some(id), None) = (id, found) {
        problems.add(&format!("{path}.audience"), format!("there is no audience `{id}`"));
    }
    found
}

pub(super) fn required(path: &str, keys: &[(&str, bool)], problems: &mut Problems) {
    for (key, _) in keys.iter().filter(|(_, there)| !there) {
        problems.add(&format!("{path}.{key}"), "is required".to_owned());
    }
}

/// The path of the socket of this machine that an `upstream` is, if it is one: only a guard sends there.
pub(super) fn socket(upstream: &str) -> Option<&str> {
    upstream.strip_prefix("unix:").filter(|path| path.starts_with('/'))
}

fn upstream(url: Option<&str>, path: &str, problems: &mut Problems) {
    let good = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if let Some(text) = url
        && socket(text).is_none()
        && !url::Url::parse(text).ok().as_ref().is_some_and(good)
    {
        let why = if text.starts_with("unix:") {
            format!("a socket is named by its whole path, as `unix:/run/app.sock`, found `{text}`")
        } else {
            format!("expected an http or https URL, found `{text}`")
        };
        problems.add(&format!("{path}.upstream"), why);
    }
}

/// The attributes of the subject that a template reads.
pub(super) fn subjects(text: &str) -> impl Iterator<Item = &str> {
    let each = text.split("{subject.").skip(1);
    each.filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// What a token may bound less than the request: `locations` of a detail, and the constraints of its type in which there is more and
/// less.
fn wider(names: &[String], kind: Option<&str>, path: &str, types: &DetailTypes, problems: &mut Problems) {
    let declared = kind.and_then(|kind| types.get(kind)).map(|declared| &declared.constraints);
    for name in names {
        let why = match declared.and_then(|declared| declared.get(name)) {
            Some(ConstraintOrder::Equal) => format!("another value of `{name}` is for something else, never wider; leave it out"),
            Some(_) => continue,
            None if name == "locations" && declared.is_some() => continue,
            None => {
                let known = declared.into_iter().flatten().filter(|(_, order)| **order != ConstraintOrder::Equal);
                let known = known.map(|(name, _)| name.as_str()).chain(declared.map(|_| "locations"));
                let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
                let there = if known.is_empty() {
                    "there is none".to_owned()
                } else {
                    format!("there is {}", known.join(", "))
                };
                format!("`{name}` is no constraint of the route's detail; {there}")
            }
        };
        problems.add(&format!("{path}.wider"), why);
    }
}

/// One route or tool.
fn rule(
    file: &File,
    rule: &Rule,
    path: &str,
    types: &DetailTypes,
    reads: &Reads,
    audience: Option<&super::file::Audience>,
    problems: &mut Problems,
) {
    let long = match rule {
        Rule::Short(word) if word == "public" => return,
        Rule::Short(text) => &RouteRule {
            detail: Some(text.clone()),
            ..RouteRule::default()
        },
        Rule::Long(rule) => rule,
    };
    let template = long.detail.as_deref().map(|text| Template::parse(text, types, reads));
    match &template {
        None => wider(&long.wider, None, path, types, problems),
        Some(Ok(template)) => wider(&long.wider, Some(template.kind()), path, types, problems),
        Some(Err(_)) => {}
    }
    match template {
        None if long.scope.is_none() => problems.add(path, "needs `detail` or `scope`, or is \"public\"".to_owned()),
        Some(Err(why)) => problems.add(path, why.to_string()),
        Some(Ok(template)) => match audience {
            Some(audience) if audience.details.iter().any(|kind| kind == template.kind()) => {}
            Some(audience) => problems.add(
                path,
                format!("`{}` is not among `details` of audience `{}`", template.kind(), audience.id),
            ),
            None => problems.add(path, "needs a token, so name the `audience` that it is made for".to_owned()),
        },
        None => {}
    }
    for text in &long.onward {
        if let Err(why) = Template::parse(text, types, reads) {
            problems.add(&format!("{path}.onward"), why.to_string());
        }
    }
    for name in long.detail.iter().chain(&long.onward).flat_map(|text| subjects(text)) {
        let maps = |issuer: &TrustedIssuer| issuer.attributes.iter().flatten().any(|(mapped, _)| mapped == name);
        if !file.trusted_issuers.iter().any(maps) {
            problems.add(
                path,
                format!("no trusted issuer says `{name}` of its subjects; add it to `attributes` of one"),
            );
        }
    }
    for scope in long.scope.iter().filter(|scope| !audience.is_some_and(|audience| audience.scopes.contains(*scope))) {
        problems.add(&format!("{path}.scope"), format!("`{scope}` is not among `scopes` of the audience"));
    }
    for age in long.max_auth_age.iter().filter(|age| duration::parse(age).is_none()) {
        problems.add(
            &format!("{path}.max_auth_age"),
            format!("expected a duration such as `5m`, found `{age}`"),
        );
    }
    for size in long.body_max.iter().filter(|size| duration::parse_size(size).is_none()) {
        problems.add(
            &format!("{path}.body_max"),
            format!("expected a size such as `1MiB`, found `{size}`"),
        );
    }
    let words = [
        ("upgrade", &long.upgrade, "websocket"),
        ("body_rest", &long.body_rest, "pass"),
        ("query_rest", &long.query_rest, "pass"),
    ];
    for (key, value, known) in words {
        if let Some(value) = value.as_ref().filter(|value| *value != known) {
            problems.add(&format!("{path}.{key}"), format!("expected {known}, found `{value}`"));
        }
    }
    // A route may observe for as long as its service or boundary says.
    for word in long.mode.iter().filter(|word| !matches!(word.as_str(), "enforce" | "observe")) {
        problems.add(&format!("{path}.mode"), format!("expected enforce or observe, found `{word}`"));
    }
}
