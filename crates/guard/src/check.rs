//! The checks of a guard, in their order.

mod allowed;
mod known;
mod presented;
mod refusal;
mod shown;

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use delegation::oauth::Reason;
use delegation::revocation::{Key, MarkKind, PartyKind, View};
use delegation::time::Timestamp;
use delegation::token::AccessClaims;
use http::HeaderMap;

use crate::call::{Body, Call};
use crate::guard::{Guard, Rules};
use crate::hygiene::credential::Scheme;
use crate::intent::{Intent, Needs};
use crate::route::Matched;
use crate::surplus::{Compared, Required};
pub use allowed::{Admitted, Allowed, Unspent, Use, Verdict};
pub(crate) use known::Known;
pub use presented::Presented;
pub use refusal::Refusal;
pub(crate) use shown::Shown;

/// When a request is decided, and what had been revoked by then.
#[derive(Clone, Debug)]
pub struct At {
    /// Now.
    pub now: Timestamp,
    /// What the broker has said to be dead.
    pub view: Arc<View>,
    /// How long ago the broker last said anything, by a clock that is never set.
    pub view_age: Duration,
}

/// A token that holds at one moment, at one guard: audience, times, lifetime, binding and revocation were checked there.
///
/// It borrows the moment, so it cannot be kept for a later request:
///
/// ```
/// use narrows_guard::check::{At, Verified};
/// fn within<'m>(moment: &'m At, token: Verified<'m>) -> i64 {
///     let _ = moment;
///     token.exp.seconds()
/// }
/// ```
///
/// ```compile_fail
/// use narrows_guard::check::{At, Verified};
/// fn keep<'m>(moment: &'m At, token: Verified<'m>) -> Verified<'static> {
///     let _ = moment;
///     token
/// }
/// ```
#[derive(Debug)]
pub struct Verified<'m> {
    said: Arc<AccessClaims>,
    moment: PhantomData<&'m At>,
}

/// A verified token that allows the request that it was shown with.
#[derive(Debug)]
pub struct Covered<'m, 'n> {
    verified: Verified<'m>,
    required: Required<'n>,
    rules: &'n Rules,
    needs: &'n Needs,
}

/// One that allows the request and no more than it may.
///
/// What covers a request may be far too broad, and is not taken for this:
///
/// ```
/// use narrows_guard::check::Exact;
/// fn serve(token: Exact<'_>) {}
/// fn go(token: Exact<'_>) {
///     serve(token)
/// }
/// ```
///
/// ```compile_fail
/// use narrows_guard::check::{Covered, Exact};
/// fn serve(token: Exact<'_>) {}
/// fn go(token: Covered<'_, '_>) {
///     serve(token)
/// }
/// ```
#[derive(Debug)]
pub struct Exact<'m> {
    verified: Verified<'m>,
}

/// A request that got as far as to need a token, with one that holds.
pub(crate) struct Examined<'m> {
    pub(crate) verified: Verified<'m>,
    pub(crate) needs: Box<Needs>,
}

/// Decides one request. Whatever is not allowed here is refused.
pub(crate) fn check<'m>(guard: &Guard, call: &Call, headers: &HeaderMap, at: &'m At) -> Result<Verdict<'m>, Refusal> {
    let Some(shown) = Shown::of(guard.rules(), call, headers)? else {
        return Ok(Verdict::Public);
    };
    shown.decide(&shown.known(Some(guard.keys()))?, at)
}

impl<'g> Shown<'g> {
    /// Decides about the request with `token`, which is the one that it shows.
    pub(crate) fn decide<'m>(&self, token: &Known, at: &'m At) -> Result<Verdict<'m>, Refusal> {
        // 5. to 11. What the token says holds here and now, and what the request needs.
        let Some(Examined { verified, needs }) = self.examine(token, at)? else {
            return Ok(Verdict::Public);
        };
        // 12. The token allows that.
        let covered = verified.covers(self.rules, &needs)?;
        // 13. The person signed in as the route asks (RFC 9470).
        covered.verified.stepped_up(&needs, at.now)?;
        // 14. It allows no more than the mode of the guard lets it.
        let exact = covered.no_surplus()?;
        // 15. Its only use, last: a request that is refused for anything else uses nothing up. The token says so, or the guard: one that
        //     was made before that was asked for is good for no more.
        let is_good_once = exact.verified.single_use || self.rules.single_use;
        Ok(Verdict::of(exact, is_good_once, Arc::clone(&self.presented), needs))
    }

    /// 5. to 10. What it says holds here and now, whatever the request needs.
    pub(crate) fn holds<'m>(&self, token: &Known, at: &'m At) -> Result<Verified<'m>, Refusal> {
        Verified::at(token, self.presented.scheme(), self.rules, at)
    }

    /// The checks of which the mode of the guard knows nothing; `None` for a route that turns out to be public.
    pub(crate) fn examine<'m>(&self, token: &Known, at: &'m At) -> Result<Option<Examined<'m>>, Refusal> {
        let verified = self.holds(token, at)?;
        // 11. What the request needs, to the byte. A stranger is not told what that would be.
        let needs = needs(&self.matched, self.call).map_err(|refusal| refusal.beyond(&verified))?;
        Ok(needs.map(|needs| Examined { verified, needs }))
    }
}

impl<'m> Verified<'m> {
    fn at(token: &Known, scheme: Scheme, rules: &Rules, at: &'m At) -> Result<Self, Refusal> {
        let said = token.says();
        let refuse = |reason: Reason, why: &str| Err(Refusal::new(reason, why).about(said));

        // 5. It is for this guard and for nobody else.
        if said.audiences != [rules.audience.as_str()] {
            return refuse(Reason::SubjectTokenNotForClient, "its `aud` is not this guard's audience alone");
        }
        // 6. It has begun and not ended.
        said.in_time(at.now).map_err(|error| Refusal::from(error).about(said))?;
        // 7. It was never to live longer than tokens of this audience do, but for what an exception says.
        let by_exception = said.exception.as_ref().and_then(|exception| exception.max_lifetime);
        let most = rules.max_lifetime.max(by_exception.unwrap_or_default());
        if said.exp.since(said.iat) > most {
            return refuse(Reason::SubjectTokenInvalid, "it lives longer than tokens of this audience may");
        }
        // 8. Whoever shows it is whom it was made for. Proofs of keys are not taken yet, so nothing that is bound to one is.
        said.unbound().map_err(|error| Refusal::from(error).about(said))?;
        if scheme == Scheme::Dpop {
            return refuse(Reason::InvalidDpopProof, "it is bound to no key, and is shown as if it were");
        }
        // 9. The broker was heard lately: what was revoked since nobody knows.
        if at.view_age > rules.max_age {
            return refuse(
                Reason::RevocationViewStale,
                "nothing was heard from the broker for longer than `max_age`",
            );
        }
        // 10. Neither it nor anything that it hangs from was revoked, and nobody in it is disabled.
        if let Some((reason, why)) = ended(said, &at.view) {
            return refuse(reason, why);
        }
        Ok(Self {
            said: Arc::clone(said),
            moment: PhantomData,
        })
    }

    /// Its authority beside what `needs` asks for at a guard with these `rules`.
    pub(crate) fn compared(&self, rules: &Rules, needs: &Needs) -> Compared {
        let (types, held) = (rules.types(), &self.said.authority);
        let exception = self.said.exception.as_ref();
        let required = Required::of(needs, &rules.fixed, types);
        let (missing, surplus) = match &required {
            Ok(required) => (
                required.is_covered(held, types).err(),
                required.surplus(held, exception, rules.excess, types),
            ),
            Err(elsewhere) => (Some(elsewhere.clone()), Vec::new()),
        };
        Compared {
            route: needs.route.clone(),
            required: required.map_or_else(|_| needs.authority(), Required::authority),
            presented: held.clone(),
            exception: exception.map(|exception| exception.id.clone()),
            missing,
            surplus,
        }
    }

    fn covers<'n>(self, rules: &'n Rules, needs: &'n Needs) -> Result<Covered<'m, 'n>, Refusal> {
        let required = Required::of(needs, &rules.fixed, rules.types());
        match required.and_then(|required| required.is_covered(&self.said.authority, rules.types()).map(|()| required)) {
            Ok(required) => Ok(Covered {
                verified: self,
                required,
                rules,
                needs,
            }),
            Err(_) => Err(Refusal::beside(Reason::WiderThanSubject, &self.compared(rules, needs)).beyond(&self)),
        }
    }

    /// What is not said did not happen, and what is still to happen has not.
    fn stepped_up(&self, needs: &Needs, now: Timestamp) -> Result<(), Refusal> {
        let is_recent = |most: Duration| self.said.auth_time.is_some_and(|then| then <= now && now.since(then) <= most);
        let is_strong = |acr: &String| self.said.acr.as_ref() == Some(acr);
        if needs.max_auth_age.is_none_or(is_recent) && needs.acr.as_ref().is_none_or(is_strong) {
            Ok(())
        } else {
            Err(Refusal::step_up(needs).beyond(self))
        }
    }
}

impl<'m> Covered<'m, '_> {
    fn no_surplus(self) -> Result<Exact<'m>, Refusal> {
        let Self {
            verified,
            rules,
            needs,
            required,
        } = self;
        let surplus = required.surplus(&verified.authority, verified.exception.as_ref(), rules.excess, rules.types());
        if surplus.is_empty() {
            Ok(Exact { verified })
        } else {
            Err(Refusal::beside(Reason::OverbroadToken, &verified.compared(rules, needs)).beyond(&verified))
        }
    }
}

/// Why `view` ends a token that says this, if it does; the reasons are those of the broker. Whoever is disabled comes first: with such a
/// subject no newer token would be better.
pub(crate) fn ended(said: &AccessClaims, view: &View) -> Option<(Reason, &'static str)> {
    match view.disables(&said.line()) {
        Some(PartyKind::Subject) => return Some((Reason::SubjectDisabled, "its subject is disabled")),
        Some(PartyKind::Client) => return Some((Reason::SubjectTokenRevoked, "a client in it is disabled")),
        None => {}
    }
    let named = [
        (MarkKind::Exception, said.exception.as_ref().map(|exception| exception.id.as_str())),
        (MarkKind::Approval, said.approval.as_deref()),
    ];
    let is_dead = |(kind, id): &(MarkKind, Option<&str>)| id.is_some_and(|id| view.is_dead(*kind, &Key::of(id)));
    let is_revoked = said.killed_by(view).is_some() || named.iter().any(is_dead);
    is_revoked.then_some((Reason::SubjectTokenRevoked, "it was revoked, or something that it came from"))
}

/// Refuses a form that the door did not show: a token stands in `Authorization` and nowhere else, also where none is needed.
fn refuse_hidden_form(call: &Call) -> Result<(), Refusal> {
    if call.is_form() && matches!(call.body(), Body::Hidden) {
        return Err(Refusal::new(
            Reason::UnreadInput,
            "a form may hold another token, and this one was not shown",
        ));
    }
    Ok(())
}

/// What `call` needs. Attributes of subjects are known to a boundary alone; a guard is not built with a route that reads them.
fn needs(matched: &Matched<'_>, call: &Call) -> Result<Option<Box<Needs>>, Refusal> {
    refuse_hidden_form(call)?;
    match matched.intent(call, &Default::default())? {
        Intent::Public => Ok(None),
        Intent::Needs(needs) => Ok(Some(needs)),
    }
}

impl Deref for Verified<'_> {
    type Target = AccessClaims;

    fn deref(&self) -> &AccessClaims {
        &self.said
    }
}
