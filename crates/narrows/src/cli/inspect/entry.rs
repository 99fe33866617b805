//! Which profile fits a token, and the `[[trusted_issuers]]` table for its issuer. A suggestion: nothing is verified here.

use delegation::registry::{Profile, Snapshot};
use delegation::token::{IdJag, TokenKind};
use serde_json::Value;
use url::Url;

/// The profile whose vendor makes tokens like this one.
pub(super) fn profile(typ: &str, claims: &Value) -> Option<Profile> {
    let issuer = text(claims, "iss").unwrap_or_default();
    let url = Url::parse(issuer).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let there = |name: &str| claims.get(name).is_some();
    let within = |domains: &[&str]| domains.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")));
    let entra = [
        "login.microsoftonline.com",
        "sts.windows.net",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
    ];
    let known = [
        (
            Profile::Github,
            host == "token.actions.githubusercontent.com" || (there("repository_id") && there("job_workflow_ref")),
        ),
        (Profile::Kubernetes, claims.get("kubernetes.io").is_some_and(Value::is_object)),
        (
            Profile::Google,
            matches!(issuer, "https://accounts.google.com" | "accounts.google.com"),
        ),
        (Profile::Entra, within(&entra) || (there("tid") && there("oid") && there("ver"))),
        (
            Profile::Cognito,
            host.starts_with("cognito-idp.") || (there("token_use") && there("origin_jti")),
        ),
        (Profile::Auth0, within(&["auth0.com"]) || there("gty")),
        (
            Profile::Okta,
            within(&["okta.com", "oktapreview.com", "okta-emea.com"]) || (there("cid") && there("scp")),
        ),
        (Profile::Keycloak, url.as_ref().is_some_and(|url| url.path().contains("/realms/"))),
        (Profile::Rfc9068, typ == "at+jwt" && there("jti") && there("client_id")),
    ];
    known.into_iter().find(|(_, fits)| *fits).map(|(profile, _)| profile)
}

/// The table to paste, or why there is none. It goes with what `snapshot` has, if there is one.
pub(super) fn table(typ: &str, claims: &Value, snapshot: Option<&Snapshot>) -> Result<String, &'static str> {
    let issuer = text(claims, "iss").filter(|issuer| !issuer.is_empty()).ok_or("it names no issuer")?;
    let url = Url::parse(issuer).ok().filter(|url| url.scheme() == "https" && url.host().is_some());
    let url = url.ok_or("its issuer is no https URL, so its keys cannot be discovered")?;
    let profile = profile(typ, claims);
    let taken = |name: &str| snapshot.is_some_and(|snapshot| snapshot.issuers.values().any(|issuer| issuer.name == name));
    let plain = profile.map_or_else(
        || url.host_str().unwrap_or("issuer").replace(['.', ':'], "-"),
        |profile| profile.as_str().to_owned(),
    );
    let name = (1..)
        .map(|count| if count == 1 { plain.clone() } else { format!("{plain}-{count}") })
        .find(|name| !taken(name));
    let name = name.unwrap_or(plain);
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = vec!["[[trusted_issuers]]".to_owned(), format!("name       = {}", quoted(&name))];
    lines.push(format!("issuer     = {}", quoted(issuer)));
    lines.extend(profile.map(|profile| format!("profile    = \"{}\"", profile.as_str())));
    let is_id_jag = IdJag::TYP.contains(&typ);
    if is_id_jag {
        lines.push("token_types = [\"id_jag\"] # for clients whose `grants` have \"jwt_bearer\"".to_owned());
    } else if profile.is_none() && typ != "at+jwt" {
        lines.push(format!(
            "typ        = [{}] # as this token has it",
            if typ.is_empty() { "\"\"" } else { "\"JWT\"" }
        ));
    }
    // An issuer that is the only one needs no prefix; two with one prefix would make two people one.
    if snapshot.is_none_or(|snapshot| !snapshot.issuers.is_empty()) {
        lines.push(format!(
            "sub_prefix = {} # two issuers never share one",
            quoted(&format!("{name}:"))
        ));
    }
    if matches!(profile, Some(Profile::Google | Profile::Kubernetes | Profile::Github)) {
        lines.push("# authority = \"policy\" # its tokens carry no scopes: let policy alone be the ceiling".to_owned());
    }
    if !is_id_jag {
        lines.extend(addressed(claims));
    }
    let groups = ["groups", "cognito:groups"].into_iter().any(|name| claims.get(name).is_some_and(Value::is_array));
    if groups {
        lines.push("attributes = { groups = \"set?\" } # without `?` a token without groups is refused".to_owned());
    }
    Ok(lines.join("\n"))
}

/// Whom the token is addressed to, for the operator to say whether that is an edge.
fn addressed(claims: &Value) -> [String; 2] {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let audiences: Vec<_> = match claims.get("aud") {
        Some(Value::String(one)) => vec![quoted(one)],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(quoted).collect(),
        _ => Vec::new(),
    };
    [
        format!("# audiences  = [{}] # those that mean your edge, and", audiences.join(", ")),
        "# exchangers = [\"edge\"] # the clients that may exchange them".to_owned(),
    ]
}

/// `typ` of the header, in lower case and without `application/`.
pub(super) fn typ(header: &Value) -> String {
    let typ = text(header, "typ").unwrap_or_default().to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
