//! The routes that a more lenient reader of a request may take it for.

use std::collections::BTreeSet;

use super::{Matched, Node, Place, Table};
use crate::call::Call;

/// Methods that one program or another answers alike (RFC 9110 §9.3.2).
const TWINS: [(&str, &str); 2] = [("GET", "HEAD"), ("HEAD", "GET")];

impl Table {
    /// The routes at the host of `call`, other than its own, that a program may answer it by which reads paths less strictly: one
    /// that takes `/a/` for `/a`, `/A` for `/a`, `/a.json` for `/a`, or `HEAD` for `GET`.
    ///
    /// A route that matches the path as it is, and that another goes before, is none of them: it was not overlooked.
    pub fn resembling(&self, call: &Call) -> Vec<Matched<'_>> {
        let Some(methods) = self.at(call.host()) else {
            return Vec::new();
        };
        let method = call.method().as_str();
        let twin = TWINS.iter().filter(|(each, _)| *each == method).map(|(_, twin)| *twin);
        let readings = readings(call.path().segments());
        let mut places = BTreeSet::new();
        for root in std::iter::once(method).chain(twin).filter_map(|method| methods.get(method)) {
            for reading in &readings {
                places.extend(root.find(reading));
                places.extend(root.find_in_any_case(reading));
            }
        }
        let matched = |(service, route): Place| {
            let service = self.services.get(service)?;
            Some(Matched {
                service,
                route: service.routes.get(route)?,
                types: &self.types,
            })
        };
        let as_it_is = |matched: &Matched<'_>| matched.route.pattern().capture(method, call.path()).is_some();
        places.into_iter().filter_map(matched).filter(|matched| !as_it_is(matched)).collect()
    }
}

impl Node {
    /// The best routes for what remains of a path, where the case of literals is of no account.
    fn find_in_any_case(&self, segments: &[String]) -> Vec<Place> {
        let Some((first, behind)) = segments.split_first() else {
            return self.end.into_iter().collect();
        };
        let same = self.literal.iter().filter(|(text, _)| text.eq_ignore_ascii_case(first));
        let literal: Vec<_> = same.flat_map(|(_, node)| node.find_in_any_case(behind)).collect();
        if first.is_empty() || !literal.is_empty() {
            return literal;
        }
        let one = self.one.as_ref().map(|node| node.find_in_any_case(behind)).unwrap_or_default();
        if one.is_empty() { self.rest.into_iter().collect() } else { one }
    }
}

/// The path as it is, and as others may read it: with a slash at its end or without, and without what may be an extension.
fn readings(segments: &[String]) -> Vec<Vec<String>> {
    let (last, before) = match segments.split_last() {
        Some((last, before)) if last.is_empty() => match before.split_last() {
            Some((last, before)) => (last, before),
            None => return vec![segments.to_vec()],
        },
        Some((last, before)) => (last, before),
        None => return Vec::new(),
    };
    let stems = [last.rsplit_once('.'), last.split_once('.')].into_iter().flatten().map(|(stem, _)| stem);
    let names: BTreeSet<&str> = std::iter::once(last.as_str()).chain(stems).filter(|name| !name.is_empty()).collect();
    let readings = names.into_iter().flat_map(|name| {
        let path: Vec<_> = before.iter().cloned().chain([name.to_owned()]).collect();
        let slash: Vec<_> = path.iter().cloned().chain([String::new()]).collect();
        [path, slash]
    });
    readings.collect()
}
