//! The routes that a more lenient reader of a request may take it for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use http::Method;

use super::{Matched, Table};
use crate::call::Call;

/// The method by whose routes many a program answers `method` where it has none of its own (RFC 9110 §9.3.2).
pub(super) fn answering(method: &Method) -> Option<&'static str> {
    (method == Method::HEAD).then_some("GET")
}

impl Table {
    /// The routes at the host of `call`, other than its own, that a program may answer it by which reads paths less strictly: one
    /// that takes `/a/` for `/a`, `/A` for `/a`, `/a.json` for `/a`, or `HEAD` for `GET` or the other way round.
    ///
    /// A route that matches the path as it is, and that another goes before, is none of them: it was not overlooked.
    pub fn resembling(&self, call: &Call) -> Vec<Matched<'_>> {
        let Some(methods) = self.methods(call) else { return Vec::new() };
        let method = call.method().as_str();
        let twin = match method {
            "GET" => Some("HEAD"),
            _ => answering(call.method()),
        };
        let mut places = BTreeSet::new();
        for root in std::iter::once(method).chain(twin).filter_map(|method| methods.get(method)) {
            let _ = root.walk(call.path(), &mut |place| {
                places.insert(place);
                ControlFlow::Continue(())
            });
        }
        let as_it_is = |matched: &Matched<'_>| matched.route.pattern().capture(method, call.path()).is_some();
        places.into_iter().filter_map(|place| self.at(place)).filter(|matched| !as_it_is(matched)).collect()
    }
}
