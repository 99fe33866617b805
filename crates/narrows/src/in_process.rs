//! The broker of this process, as its boundaries ask it.

use std::sync::Arc;
use std::time::Duration;

use boundary::{Credential, Exchanger, Granted, Greeted, Origin, Refused, Seen, Shown};
use broker::front_door::StepUp;
use broker::{Broker, front_door};
use delegation::authority::Authority;
use delegation::details::Detail;
use delegation::identity::Attributes;
use delegation::oauth::{ClientId, Form, GrantType, Reason, Scope, TokenType};
use issuance::audit::RequestLine;
use narrows_guard::Needs;
use narrows_guard::live::Guest;
use serde_json::Value;

/// One boundary's way to the broker: no network, and no credential.
#[derive(Debug)]
pub(crate) struct InProcess {
    pub(crate) broker: Arc<Broker>,
    /// The boundary's name.
    pub(crate) boundary: String,
    /// The client that it acts as.
    pub(crate) client: ClientId,
}

impl InProcess {
    fn seen<'a>(&'a self, seen: &Seen, greeted: Option<&'a front_door::Greeted>) -> front_door::Seen<'a> {
        let request = seen.line.clone();
        front_door::Seen {
            boundary: &self.boundary,
            acting: Some(&self.client),
            from: seen.from,
            is_callers_own: seen.is_callers_own,
            request: request.map(|(method, host, path)| RequestLine { method, host, path }),
            step_up: StepUp::default(),
            observed: seen.observed,
            greeted,
        }
    }

    /// The same, of a request that needs this.
    fn seen_for<'a>(&'a self, seen: &Seen, greeted: Option<&'a front_door::Greeted>, needs: &Needs) -> front_door::Seen<'a> {
        front_door::Seen {
            step_up: StepUp {
                max_auth_age: needs.max_auth_age,
                acr: needs.acr.clone(),
            },
            ..self.seen(seen, greeted)
        }
    }
}

impl Exchanger for InProcess {
    type Found = front_door::Greeted;

    async fn greet(&self, seen: &Seen, token: &str) -> Result<Greeted<front_door::Greeted>, Refused> {
        let found = front_door::greet(&self.broker, &self.seen(seen, None), token).await.map_err(refused)?;
        let subject = found.subject();
        Ok(Greeted {
            guest: Guest::holder(&subject.iss, &subject.sub),
            found,
        })
    }

    async fn exchange(&self, seen: &Seen, shown: Shown<'_, front_door::Greeted>, needs: &Needs) -> Result<Granted, Refused> {
        let seen = self.seen_for(seen, shown.found, needs);
        let form = form(shown.token, needs);
        let (minted, beside) = match &needs.connection {
            None => (front_door::exchange(&self.broker, &seen, &form, None).await.map_err(refused)?, None),
            Some(name) => {
                let both = front_door::exchange_with(&self.broker, &seen, &form, None, name).await;
                both.map(|(minted, beside)| (minted, credential(beside))).map_err(refused)?
            }
        };
        // The broker gives what was asked or refuses; a request never goes on with anything else.
        let asked = Authority {
            details: needs.details.clone(),
            scopes: needs.scopes.clone(),
        };
        if minted.authority != asked {
            return Err(refused(front_door::refuse(&self.broker, &seen, Reason::StoreUnavailable).await));
        }
        Ok(Granted {
            token: minted.token,
            kind: minted.kind,
            expires_in: Duration::from_secs(u64::try_from(minted.expires_in).unwrap_or_default()),
            credential: beside,
        })
    }

    async fn attributes(&self, seen: &Seen, shown: Shown<'_, front_door::Greeted>) -> Result<Attributes, Refused> {
        let seen = self.seen(seen, shown.found);
        front_door::attributes(&self.broker, &seen, shown.token).await.map_err(refused)
    }

    async fn observe(&self, seen: &Seen, shown: Shown<'_, front_door::Greeted>, needs: &Needs) -> Result<(), Refused> {
        let seen = self.seen_for(seen, shown.found, needs);
        let form = form(shown.token, needs);
        let observed = front_door::observe(&self.broker, &seen, &form, None, needs.connection.as_deref());
        observed.await.map_err(refused)
    }

    async fn refuse(&self, seen: &Seen, reason: Reason) -> Refused {
        refused(front_door::refuse(&self.broker, &self.seen(seen, None), reason).await)
    }

    async fn echoed(&self, seen: &Seen, connection: &str) -> bool {
        front_door::echoed(&self.broker, &self.seen(seen, None), connection).await
    }

    async fn ended(&self, granted: &Granted) -> Reason {
        front_door::ended(&self.broker, &granted.token).await
    }
}

/// What the boundary would send to the token endpoint (RFC 8693 §2.1).
fn form(token: &str, needs: &Needs) -> Form {
    let details = |details: &[Detail]| match details {
        [] => String::new(),
        some => Value::from_iter(some.iter().map(Detail::to_json)).to_string(),
    };
    let scopes: Vec<_> = needs.scopes.iter().map(Scope::as_str).collect();
    Form::of([
        ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
        ("subject_token", token.to_owned()),
        ("subject_token_type", TokenType::AccessToken.as_str().to_owned()),
        ("audience", needs.audience.to_string()),
        ("authorization_details", details(&needs.details)),
        ("onward", details(&needs.onward)),
        ("scope", scopes.join(" ")),
    ])
}

/// Nothing where it is none, and a boundary refuses a request without one.
fn credential(kept: broker::connections::Credential) -> Option<Credential> {
    let origin = Origin::parse(&kept.origin).ok()?;
    Credential::new(kept.connection, origin, kept.header, kept.value, kept.secret.expose())
}

fn refused(refused: front_door::Refused) -> Refused {
    Refused {
        reason: refused.reason,
        decision_id: refused.decision_id,
    }
}
