//! Mapped claims: what policy may read of an outside token.

use serde_json::{Map, Value};

use crate::identity::{AttributeKind, AttributeRule, AttributeValue, Attributes};
use crate::registry::{Profile, TrustedIssuer};
use crate::token::TokenError;

/// Reads every mapped claim, or says why one cannot be relied on.
pub(super) fn read(claims: &Map<String, Value>, issuer: &TrustedIssuer) -> Result<Attributes, TokenError> {
    let mut attributes = Attributes::default();
    for (name, rule) in &issuer.attributes {
        if is_left_out(claims, name) {
            return Err(TokenError::Invalid("its issuer left a mapped claim out for want of room"));
        }
        let Some(json) = claims.get(name).or_else(|| claims.get(vendors_name(issuer, name)?)) else {
            if rule.optional {
                continue;
            }
            return Err(TokenError::Invalid("a mapped claim is missing"));
        };
        let value = value(json, *rule).ok_or(TokenError::Invalid("a mapped claim has the wrong type"))?;
        match value {
            AttributeValue::Set(groups) if name == "groups" => attributes.groups = groups,
            value => {
                attributes.values.insert(name.clone(), value);
            }
        }
    }
    Ok(attributes)
}

/// The claim in which a vendor keeps what others call `groups`; read where the token has none of that name.
fn vendors_name(issuer: &TrustedIssuer, name: &str) -> Option<&'static str> {
    (issuer.profile == Some(Profile::Cognito) && name == "groups").then_some("cognito:groups")
}

/// Whether the issuer says that the claim exists and is somewhere else (OpenID Connect Core §5.6.2; Entra's overage).
fn is_left_out(claims: &Map<String, Value>, name: &str) -> bool {
    let named = match claims.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => names.contains_key(name),
        Some(_) => true,
    };
    let overage = name == "groups" && (claims.contains_key("hasgroups") || claims.keys().any(|claim| claim.starts_with("groups:src")));
    named || overage
}

fn value(json: &Value, rule: AttributeRule) -> Option<AttributeValue> {
    match (rule.kind, json) {
        (AttributeKind::Text, Value::String(text)) => Some(AttributeValue::Text(text.clone())),
        (AttributeKind::Boolean, Value::Bool(flag)) => Some(AttributeValue::Boolean(*flag)),
        (AttributeKind::Integer, Value::Number(number)) => number.as_i64().map(AttributeValue::Integer),
        (AttributeKind::Set, Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(AttributeValue::Set)
        }
        _ => None,
    }
}
