//! Why a request is refused before a broker is asked.

use delegation::oauth::Reason;
use narrows_guard::Refused as Unmet;
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::credential::CredentialError;

/// Said to whoever sends a body through a proxy that does not show it.
const HIDDEN: &str = "the body has to be read here, and the proxy in front did not show it whole";
/// Said to whoever shows a token under the scheme `DPoP`.
const NO_DPOP: &str = "DPoP is not served; send a token that is bound to no key as Authorization: Bearer";

/// Said to whoever sends a form with `_method` where that may be followed.
const METHOD: &str = "the form names another method than its request, or may";

/// Said to whoever waits for an answer that comes too late.
const ENDED: &str = "the token that the request went on with holds no longer, and the service had not answered; show a token that lives on";

/// Said to whoever sends what another program may take for another route's.
const RESEMBLES: &str = "a program that reads paths less strictly may take it for a request of another route; send it with the case, the \
                         slash and the ending that the route is written with";

/// Why a request is refused before a broker is asked, with what in particular is wrong.
#[derive(Debug)]
pub(crate) struct Unfit(pub(crate) Reason, pub(crate) String);

impl Unfit {
    /// The body says that the request is another than its line does, and cannot go on without that.
    pub(crate) fn another_method() -> Self {
        Self(Reason::MalformedRequest, METHOD.to_owned())
    }

    /// What the request went on with holds no longer, for this reason, and there was no answer yet.
    pub(crate) fn ended(reason: Reason) -> Self {
        Self(reason, ENDED.to_owned())
    }
}

impl From<Reason> for Unfit {
    fn from(reason: Reason) -> Self {
        let detail = if reason == Reason::InvalidDpopProof { NO_DPOP } else { "" };
        Self(reason, detail.to_owned())
    }
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Self {
        Self(Reason::MalformedRequest, malformed.to_string())
    }
}

impl From<CredentialError> for Unfit {
    fn from(error: CredentialError) -> Self {
        Self(Reason::MalformedRequest, error.to_string())
    }
}

impl From<Unmet> for Unfit {
    fn from(unmet: Unmet) -> Self {
        // Some of these say what was sent; the caller is told the reason alone.
        match unmet {
            Unmet::NoRoute => Reason::NoRoute.into(),
            Unmet::Malformed(malformed) => malformed.into(),
            Unmet::Resembles { .. } => Self(Reason::MalformedRequest, RESEMBLES.to_owned()),
            Unmet::Unread(_) => Reason::UnreadInput.into(),
            Unmet::Hidden => Self(Reason::UnreadInput, HIDDEN.to_owned()),
            Unmet::Details(_) => Reason::MalformedDetails.into(),
            Unmet::Attribute(_) => Reason::WiderThanSubject.into(),
        }
    }
}
