//! One decision on one request.

mod incoming;
mod observing;
mod unfit;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use delegation::identity::Attributes;
use delegation::oauth::Reason;
use http::HeaderMap;
use narrows_guard::hygiene::credential::{Credential, CredentialError, Scheme};
use narrows_guard::hygiene::length::is_longer;
use narrows_guard::live::Guest;
use narrows_guard::route::{Matched, Rule, Upgrade};
use narrows_guard::{Body, Call, Intent, Refused as Unmet};

use crate::backlog::Backlog;
use crate::bodies::{Bodies, Owner};
use crate::exchanger::{Exchanger, Granted, Greeted, Seen, Shown};
use crate::observe;
use crate::refusal::Refusal;
use crate::settings::Settings;
pub(crate) use incoming::Incoming;
pub(crate) use unfit::Unfit;

/// The most of a body, in bytes, that is read where its route does not say.
pub const LARGEST_BODY: usize = 1024 * 1024;
/// The most of a form that no route reads, and that is looked into for a token.
const LARGEST_FORM: usize = 64 * 1024;

/// A boundary: its routes, and the broker that decides for it.
#[derive(Debug)]
pub struct Boundary<E> {
    settings: ArcSwap<Settings>,
    exchanger: E,
    bodies: Bodies,
    observed: Backlog,
}

/// What became of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on.
    Goes(Box<Onward>),
    /// It does not.
    Refused(Refusal),
}

/// A request that goes on: the very one that was decided on.
#[derive(Debug)]
pub struct Onward {
    /// The request, with its body if that was read.
    pub call: Call,
    /// The token that goes with it; none where the route is public.
    pub granted: Option<Granted>,
    /// The service that it goes to.
    pub service: String,
    /// The protocol that the connection may change to.
    pub upgrade: Option<Upgrade>,
    /// The most bytes that its body may have, where there is a bound and nobody has read it.
    pub body_max: Option<usize>,
}

impl<E: Exchanger> Boundary<E> {
    /// A boundary with `settings`, for which `exchanger` decides, with room for bodies of its own.
    pub fn new(settings: Settings, exchanger: E) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            exchanger,
            bodies: Bodies::default(),
            observed: Backlog::default(),
        }
    }

    /// The same, with the room for bodies that it shares with the other boundaries of its process.
    #[must_use]
    pub fn sharing(self, bodies: Bodies) -> Self {
        Self { bodies, ..self }
    }

    /// Puts other settings in force, whole; requests that are being decided keep theirs.
    pub fn swap(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What is in force now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    pub(crate) fn exchanger(&self) -> &E {
        &self.exchanger
    }

    pub(crate) fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Decides, by `settings` and nothing newer. `body` is asked for only where it must be looked into, with whose it is, as far as that
    /// is known, and with the most bytes that it may have.
    pub(crate) async fn decide<B>(
        &self,
        settings: &Settings,
        incoming: Incoming,
        headers: &HeaderMap,
        body: impl FnOnce(Option<Owner>, usize) -> B + Send,
    ) -> Verdict
    where
        B: Future<Output = Result<Body, Reason>> + Send,
    {
        let mut seen = incoming.seen(false);
        match self.examine(settings, incoming, headers, &mut seen, body).await {
            Ok(onward) => Verdict::Goes(Box::new(onward)),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    async fn examine<B>(
        &self,
        settings: &Settings,
        incoming: Incoming,
        headers: &HeaderMap,
        seen: &mut Seen,
        body: impl FnOnce(Option<Owner>, usize) -> B + Send,
    ) -> Result<Onward, Refusal>
    where
        B: Future<Output = Result<Body, Reason>> + Send,
    {
        // 1. The request, as every reader reads it.
        let call = match incoming.call {
            Ok(call) => call,
            Err(unfit) => return Err(self.refused(settings, seen, unfit).await),
        };
        // A token in the line must not get into the record of its refusal.
        let credential = Credential::of(headers, &call);
        if let Ok(Some(shown)) = &credential
            && shown.is_repeated(headers, &call)
        {
            return Err(self.refused(settings, seen, CredentialError::Elsewhere.into()).await);
        }
        if credential.as_ref().err() != Some(&CredentialError::Elsewhere) {
            seen.line = Some(Seen::line(&call));
        }

        // 2. Its route, which is that to every reader.
        let served = |matched: &Matched<'_>| {
            is_named(matched, incoming.route.as_deref()) && (incoming.sends_on || !shows_credential(matched.route().rule()))
        };
        let matched = match settings.table.only(&call) {
            Ok(matched) if served(&matched) => matched,
            Ok(_) => return Err(self.refused(settings, seen, Reason::NoRoute.into()).await),
            Err(unmet) => return Err(self.refused(settings, seen, unmet.into()).await),
        };

        // 3. The credential of its head, and who shows it, where a body is waited for: nobody's is who shows nothing that holds here and now.
        let needs_token = matches!(matched.route().rule(), Rule::Needs(_));
        let credential = match credential {
            Ok(None) if needs_token => return Err(self.refused(settings, seen, Reason::NoToken.into()).await),
            Ok(credential) => credential,
            Err(error) => return Err(self.refused(settings, seen, error.into()).await),
        };
        let most = looked_into(&matched, &call);
        let is_waited_for = most.is_some() || incoming.is_shown;
        let greeted = if is_waited_for && needs_token {
            Some(self.greet(settings, seen, credential.as_ref()).await?)
        } else {
            None
        };
        let guest = greeted.as_ref().map_or(Guest::Anybody, |greeted| greeted.guest);
        let found = greeted.as_ref().map(|greeted| &greeted.found);

        // 4. Its body, where that must be looked into: what the route reads, and where a token may hide.
        let call = if is_waited_for {
            match body(Owner::of(guest, incoming.from), most.unwrap_or(LARGEST_BODY)).await {
                // One that nobody was shown may hold another token, or what the route reads.
                Ok(Body::Hidden) if most.is_some() => return Err(self.refused(settings, seen, Unmet::Hidden.into()).await),
                Ok(Body::Whole(bytes)) if most.is_some_and(|most| bytes.len() > most) => {
                    return Err(self.refused(settings, seen, Reason::TooLarge.into()).await);
                }
                Ok(body) => call.with_body(body),
                Err(reason) => return Err(self.refused(settings, seen, reason.into()).await),
            }
        } else {
            call
        };
        let body_max = matched.body_max().filter(|_| most.is_none());
        if let Some(most) = body_max {
            match is_longer(&call, headers, most) {
                Ok(false) => {}
                Ok(true) => return Err(self.refused(settings, seen, Reason::TooLarge.into()).await),
                Err(why) => return Err(self.refused(settings, seen, why.into()).await),
            }
        }
        // A form that only the service sees may be for what stands there under another method. Where policy decides about it, it goes on
        // beside routes that only read: that is how uploads look.
        let hides_form = incoming.form.is_some() && call.body() == &Body::Hidden;
        let counts = |method: &str| !needs_token || !matches!(method, "GET" | "HEAD");
        let now = observe::at(SystemTime::now());
        if hides_form && settings.modes.enforces_other_method(&settings.table, &call, now, counts) {
            return Err(self.refused(settings, seen, Unmet::Hidden.into()).await);
        }

        // 5. One credential, in the one place for it; and what this request needs, to the byte, of a subject whose token holds.
        let credential = match only_credential(&call, headers) {
            Ok(credential) => credential,
            Err(unfit) => return Err(self.refused(settings, seen, unfit).await),
        };
        let attributes = if matched.route().reading().reads_attributes() {
            let shown = match bearer(credential.as_ref()) {
                Ok(shown) => shown.token(),
                Err(reason) => return Err(self.refused(settings, seen, reason.into()).await),
            };
            match self.exchanger.attributes(seen, Shown { token: shown, found }).await {
                Ok(attributes) => attributes,
                Err(refused) => return Err(Refusal::new(refused, String::new(), settings, None)),
            }
        } else {
            Attributes::default()
        };
        let intent = match matched.intent(&call, &attributes) {
            Ok(intent) => intent,
            Err(unmet) => return Err(self.refused(settings, seen, unmet.into()).await),
        };
        let service = matched.service().name.clone();
        let onward = |granted, upgrade| Onward {
            call,
            granted,
            service,
            upgrade,
            body_max,
        };
        let Intent::Needs(needs) = intent else {
            // Whatever token came stays here.
            return Ok(onward(None, None));
        };
        let token = match bearer(credential.as_ref()) {
            Ok(shown) => shown.token(),
            Err(reason) => return Err(self.refused(settings, seen, reason.into()).await),
        };

        // 6. The exchange: policy is asked about this very request.
        let shown = Shown { token, found };
        if seen.observed {
            let observed = self.exchanger.observe(seen, shown, &needs).await;
            return match observed {
                Ok(()) => Ok(onward(None, needs.upgrade)),
                Err(refused) => Err(Refusal::new(refused, String::new(), settings, Some(&needs))),
            };
        }
        match self.exchanger.exchange(seen, shown, &needs).await {
            // It would come to the upstream as nobody's, or with what the client says.
            Ok(granted) if granted.credential.is_some() != needs.connection.is_some() => {
                Err(self.refused(settings, seen, Reason::StoreUnavailable.into()).await)
            }
            Ok(granted) => Ok(onward(Some(granted), needs.upgrade)),
            Err(refused) => Err(Refusal::new(refused, String::new(), settings, Some(&needs))),
        }
    }

    /// Whose body is waited for, by the `credential` of its request's head; or a refusal, which no body would change.
    async fn greet(&self, settings: &Settings, seen: &Seen, credential: Option<&Credential>) -> Result<Greeted<E::Found>, Refusal> {
        match bearer(credential) {
            Ok(shown) => {
                let greeted = self.exchanger.greet(seen, shown.token()).await;
                greeted.map_err(|refused| Refusal::new(refused, String::new(), settings, None))
            }
            Err(reason) => Err(self.refused(settings, seen, reason.into()).await),
        }
    }

    /// Refuses for a reason of the boundary's own, once it is on record.
    pub(crate) async fn refused(&self, settings: &Settings, seen: &Seen, Unfit(reason, detail): Unfit) -> Refusal {
        Refusal::new(self.exchanger.refuse(seen, reason).await, detail, settings, None)
    }
}

/// Whether requests of a route with this rule go on with an upstream credential.
fn shows_credential(rule: &Rule) -> bool {
    matches!(rule, Rule::Needs(demand) if demand.connection.is_some())
}

/// Whether it is the route that the proxy says, where it says which it is.
fn is_named(matched: &Matched<'_>, named: Option<&str>) -> bool {
    named.is_none_or(|route| route == matched.route().name())
}

/// The most bytes that the body of `call` may have, if it is looked into.
pub(crate) fn looked_into(matched: &Matched<'_>, call: &Call) -> Option<usize> {
    if matched.route().reading().reads_body() {
        Some(matched.body_max().unwrap_or(LARGEST_BODY))
    } else {
        call.is_form().then(|| matched.body_max().unwrap_or(LARGEST_FORM))
    }
}

/// The credential that the request shows, in one place and no other.
fn only_credential(call: &Call, headers: &HeaderMap) -> Result<Option<Credential>, Unfit> {
    let credential = Credential::of(headers, call)?;
    if credential.as_ref().is_some_and(|shown| shown.is_repeated(headers, call)) {
        return Err(CredentialError::Elsewhere.into());
    }
    Ok(credential)
}

/// The credential, if it is one that a route with a need takes.
fn bearer(shown: Option<&Credential>) -> Result<&Credential, Reason> {
    match shown {
        // No token is bound to a key yet: one that says so is not what it seems.
        Some(credential) if credential.scheme() == Scheme::Dpop => Err(Reason::InvalidDpopProof),
        Some(credential) => Ok(credential),
        None => Err(Reason::NoToken),
    }
}
