//! What the tokens of a known vendor always say, and the marks by which one speaks for an application.

use serde_json::{Map, Value};

use super::claims::{Claims, TokenError};
use crate::oauth::TokenType;
use crate::registry::Profile;

/// The claims that may name the outside client, whatever an issuer's entry reads.
pub(super) const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "cid", "appid"];

/// Checks that a token of `kind` says what every such token of its vendor says.
///
/// A token that lacks it comes from elsewhere, or was made in a way that its vendor's documentation does not know.
pub(super) fn check(claims: Claims<'_>, profile: Option<Profile>, kind: TokenType) -> Result<(), TokenError> {
    let access = kind == TokenType::AccessToken;
    let required = |names: &[&str]| names.iter().try_for_each(|name| claims.required_text(name).map(drop));
    match profile {
        None | Some(Profile::Google) => Ok(()),
        Some(Profile::Rfc9068) if access => required(&["jti", "client_id"]),
        Some(Profile::Okta) if access => required(&["jti", "cid"]),
        Some(Profile::Entra) if access => one_client(claims, &["azp", "appid"]),
        Some(Profile::Auth0) if access => one_client(claims, &["azp", "client_id"]),
        Some(Profile::Rfc9068) => Ok(()),
        // What these vendors put into access tokens alone, and nobody can have put into an id_token.
        Some(Profile::Okta) => absent(claims, &["cid", "scp", "uid"]),
        Some(Profile::Entra) => absent(claims, &["azp", "appid", "scp"]),
        Some(Profile::Auth0) => absent(claims, &["scope", "permissions", "client_id"]),
        Some(Profile::Cognito) => {
            // Both kinds have the same header, so `token_use` is what sets them apart.
            if claims.text("token_use")? != Some(if access { "access" } else { "id" }) {
                return Err(TokenError::Invalid("`token_use` does not fit the declared type"));
            }
            required(if access { &["jti", "client_id"] } else { &["jti"] })
        }
        Some(Profile::Keycloak) => {
            let fits: &[&str] = if access { &["Bearer", "DPoP"] } else { &["ID"] };
            // An id_token always has it; an access token that was made small may lack it.
            let typ = claims.text("typ")?;
            if typ.map_or(!access, |typ| !fits.contains(&typ)) {
                return Err(TokenError::Invalid("the claim `typ` does not fit the declared type"));
            }
            required(&["jti", "azp"])
        }
        Some(Profile::Kubernetes | Profile::Github) => check_workload(claims, profile),
    }
}

/// Checks the claims by which a platform names its workload for good, wherever such a token is shown.
pub(super) fn check_workload(claims: Claims<'_>, profile: Option<Profile>) -> Result<(), TokenError> {
    match profile {
        Some(Profile::Kubernetes) => kubernetes(claims),
        Some(Profile::Github) => {
            let ids = ["repository_id", "repository_owner_id"];
            let numbers = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
            for name in ids {
                if !numbers(claims.required_text(name)?) {
                    return Err(TokenError::Invalid("an id of the repository is no number"));
                }
            }
            claims.required_text("jti").map(drop)
        }
        _ => Ok(()),
    }
}

/// A projected service account token, whose `sub` agrees with the object that it describes.
fn kubernetes(claims: Claims<'_>) -> Result<(), TokenError> {
    // Tokens that lie in secrets end never and are addressed to nobody; they name themselves by flat claims.
    if claims.0.keys().any(|name| name.starts_with("kubernetes.io/serviceaccount/")) {
        return Err(TokenError::Invalid("a service account token out of a secret; use projected tokens"));
    }
    let object = |from: &Map<String, Value>, name: &str| from.get(name).and_then(Value::as_object).cloned();
    let described = object(claims.0, "kubernetes.io").ok_or(TokenError::Invalid("`kubernetes.io` is not an object"))?;
    let account = object(&described, "serviceaccount").ok_or(TokenError::Invalid("it describes no service account"))?;
    Claims(&account).required_text("uid")?;
    let mut parts = claims.required_text("sub")?.splitn(4, ':');
    let (Some("system"), Some("serviceaccount"), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Invalid("its `sub` names no service account"));
    };
    let agrees = |said: Option<&str>, named: &str| said.is_none_or(|said| said == named);
    if agrees(Claims(&described).text("namespace")?, namespace) && agrees(Claims(&account).text("name")?, name) {
        Ok(())
    } else {
        Err(TokenError::Invalid("its `sub` and the service account that it describes differ"))
    }
}

/// Whether the token speaks for an application: `sub` is the client, or its vendor marks it so.
pub(super) fn speaks_for_application(claims: Claims<'_>, profile: Option<Profile>, sub: &str, kind: TokenType) -> Result<bool, TokenError> {
    for name in CLIENT_CLAIMS {
        if claims.text(name)? == Some(sub) {
            return Ok(true);
        }
    }
    let access = kind == TokenType::AccessToken;
    let there = |name: &str| claims.0.contains_key(name);
    Ok(match profile {
        // A token that no user is bound to has no `uid`.
        Some(Profile::Okta) => access && claims.text("uid")?.is_none(),
        // `idtyp` is there only if the application asks for it; a user's token always has `scp`, and its `sub` is
        // made for the resource, so it is never the object id.
        Some(Profile::Entra) => {
            claims.text("idtyp")?.is_some_and(|kind| kind != "user")
                || (access && claims.text("scp")?.is_none())
                || claims.text("oid")? == Some(sub)
        }
        Some(Profile::Auth0) => grants(claims)?.contains(&"client-credentials") || sub.ends_with("@clients"),
        // A service account is a user with a name of its own; small tokens leave the name out, and have no session.
        Some(Profile::Keycloak) => {
            let name = claims.text("preferred_username")?;
            let service = name.is_some_and(|name| name.starts_with("service-account-"));
            let session = there("sid") || there("session_state");
            service || ["clientId", "clientHost", "clientAddress"].into_iter().any(there) || (access && name.is_none() && !session)
        }
        Some(Profile::Cognito) => claims.text("username")?.is_none() && claims.text("cognito:username")?.is_none(),
        _ => false,
    })
}

/// None of `names`, which its vendor's id_tokens never have, is there.
fn absent(claims: Claims<'_>, names: &[&str]) -> Result<(), TokenError> {
    if names.iter().any(|name| claims.0.contains_key(*name)) {
        return Err(TokenError::Invalid("its claims are those of an access token"));
    }
    Ok(())
}

/// At least one of `names` names a client.
fn one_client(claims: Claims<'_>, names: &[&str]) -> Result<(), TokenError> {
    for name in names {
        if claims.text(name)?.is_some_and(|client| !client.is_empty()) {
            return Ok(());
        }
    }
    Err(TokenError::Invalid("it names no client, and its vendor's tokens do"))
}

/// Auth0's `gty`: one grant, or several of which one refreshed another.
fn grants(claims: Claims<'_>) -> Result<Vec<&str>, TokenError> {
    match claims.0.get("gty") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => {
            let grants: Option<Vec<_>> = several.iter().map(Value::as_str).collect();
            grants.ok_or(TokenError::Invalid("`gty` holds something that is no string"))
        }
        Some(_) => Err(TokenError::Invalid("`gty` is neither a string nor an array of strings")),
    }
}
