//! A request as a door hands it in.

use http::HeaderMap;
use narrows_guard::hygiene::credential::{Credential, CredentialError};
use narrows_guard::hygiene::host::Host;
use narrows_guard::route::Matched;
use narrows_guard::{Body, Call};

use super::{Unfit, is_named};
use crate::exchanger::Seen;
use crate::observe::Form;
use crate::settings::{Caller, Settings};

/// A request as a door hands it in, but for its headers.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) call: Result<Call, Unfit>,
    pub(crate) from: Caller,
    /// The route that the proxy's configuration says it is: where there is one, no other will do.
    pub(crate) route: Option<String>,
    /// Whether the door sends the request on itself: no other proxy gets an upstream credential.
    pub(crate) sends_on: bool,
    /// Whether a body is on its way to the door that is looked at whatever the route reads.
    pub(crate) is_shown: bool,
    /// The host, where it can be read though the call cannot.
    pub(crate) host: Option<Host>,
    /// Whether it holds headers that do not go on past what enforces, such as one that says another method.
    pub(crate) strange: bool,
    /// Which kind of form its body says to be.
    pub(crate) form: Option<Form>,
}

impl Incoming {
    pub(super) fn seen(&self, observed: bool) -> Seen {
        Seen {
            line: None,
            from: self.from.address,
            is_callers_own: self.from.is_own,
            observed,
        }
    }

    /// What a record may say of it that is refused before it is decided on: no line in which a token stands.
    pub(crate) fn on_record(&self, headers: &HeaderMap) -> Seen {
        let holds_no_token = |call: &&Call| match Credential::of(headers, call) {
            Ok(Some(shown)) => !shown.is_repeated(headers, call),
            Ok(None) => true,
            Err(error) => error != CredentialError::Elsewhere,
        };
        Seen {
            line: self.call.as_ref().ok().filter(holds_no_token).map(Seen::line),
            ..self.seen(false)
        }
    }

    /// Whether its body is a form that names a method, as far as it is shown.
    pub(super) fn names_method(&self) -> bool {
        match (self.form, self.call.as_ref().map(Call::body)) {
            (Some(form), Ok(Body::Whole(bytes))) => form.names_method(bytes),
            _ => false,
        }
    }

    /// Whether its body is a form that cannot be looked into, and may name a method.
    pub(super) fn hides_form(&self) -> bool {
        let hidden = || self.call.as_ref().is_ok_and(|call| call.body() == &Body::Hidden);
        self.form.is_some_and(|form| form == Form::Unreadable || hidden())
    }

    /// Its route, if it can be read and has one.
    pub(crate) fn matched<'s>(&self, settings: &'s Settings) -> Option<Matched<'s>> {
        let matched = settings.table.find(self.call.as_ref().ok()?);
        matched.filter(|matched| is_named(matched, self.route.as_deref()))
    }
}
