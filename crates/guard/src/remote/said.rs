//! What goes on record, in the words of the broker's interface.

use delegation::chain::{Actor, ActorChain};
use delegation::details::Detail;
use delegation::oauth::Scope;
use delegation::token::AccessClaims;
use serde_json::{Map, Value, json};

use crate::broker::{Line, Refused, SeenTwice};

/// The line of a request.
pub(super) fn line(line: &Line) -> Value {
    json!({ "method": line.method, "host": line.host, "path": line.path })
}

/// A token that was seen from two places.
pub(super) fn sighting(seen: &SeenTwice) -> Value {
    json!({
        "jti": seen.jti, "iat": seen.iat.seconds(), "exp": seen.exp.seconds(),
        "first": seen.first.to_string(), "second": seen.second.to_string(),
    })
}

/// A refusal: every word of it but a token.
pub(super) fn refusal(refused: &Refused) -> Value {
    let mut said = Map::new();
    let mut put = |name: &str, value: Value| said.insert(name.to_owned(), value);
    put("decision_id", refused.decision_id.clone().into());
    put("at", refused.at.millis().into());
    put("reason", refused.reason.as_str().into());
    put("client_ip", refused.from.to_string().into());
    if let Some(line) = &refused.request {
        put("request", self::line(line));
    }
    if let Some(claims) = &refused.claims {
        let about = json!({
            "jti": claims.jti, "sub": claims.sub, "client_id": claims.client.as_str(), "aud": claims.audiences.first(),
            "exp": claims.exp.seconds(), "iat": claims.iat.seconds(), "txn": claims.txn,
            "sub_id": { "format": "iss_sub", "iss": claims.subject.iss, "sub": claims.subject.sub },
        });
        let all = about.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        put("claims", Value::from_iter(all.chain(beside(claims))));
    }
    if let Some(compared) = &refused.compared {
        let all = compared.to_json();
        let parts = ["required", "presented", "surplus"].map(|name| (name.to_owned(), all.get(name).cloned().unwrap_or_default()));
        put("compared", Value::from_iter(parts));
    }
    if let Some(cause) = refused.cause {
        put("cause", cause.into());
    }
    if refused.observed {
        put("observed", true.into());
    }
    Value::Object(said)
}

/// What not every token says.
fn beside(claims: &AccessClaims) -> impl Iterator<Item = (String, Value)> {
    let actor = |actor: &Actor| json!({ "iss": actor.iss, "sub": actor.sub });
    let scopes: Vec<_> = claims.authority.scopes.iter().map(Scope::as_str).collect();
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    let members = [
        ("task", claims.task.clone().map(Value::from)),
        ("actor", list(claims.act.iter().flat_map(ActorChain::iter).map(actor).collect())),
        ("chain", list(claims.ancestors().iter().cloned().map(Value::from).collect())),
        (
            "authorization_details",
            list(claims.authority.details.iter().map(Detail::to_json).collect()),
        ),
        ("scope", (!scopes.is_empty()).then(|| scopes.join(" ").into())),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
}
