//! `inspect`: a token in words, and whether it verifies.

mod entry;
mod opaque;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use delegation::token::{Algorithm, IdJag, KeySet, OpaqueForm, OpaqueFormError, SubjectToken, TokenKind, TxnToken, Unverified};
use serde_json::Value;

use super::Outcome;
use super::output::{say, seconds};
use super::visible;
use crate::assertion::{claims_of, header_of};
use crate::config;

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Print the claims as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &InspectArgs, paths: &[PathBuf]) -> Outcome {
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token)?;
    match OpaqueForm::parse(token.trim()) {
        Ok(form) => return opaque::run(&form, args.json, paths).await,
        Err(error @ OpaqueFormError::Malformed) => return Err(error.into()),
        Err(OpaqueFormError::Unknown) => {}
    }
    let claims = claims_of(&token).ok_or("expected a JWT, or an opaque token of ours, on standard input")?;
    let header = header_of(&token).unwrap_or_default();
    let typ = entry::typ(&header);
    let is_id_jag = IdJag::TYP.contains(&typ.as_str());
    let is_txn_token = TxnToken::TYP.contains(&typ.as_str());
    let verified = if is_id_jag {
        verify::<IdJag>(token.trim(), paths).await
    } else if is_txn_token {
        verify::<TxnToken>(token.trim(), paths).await
    } else {
        verify::<SubjectToken>(token.trim(), paths).await
    };
    let verified = verified.and_then(|issuer| still_good(&claims).map(|()| issuer));
    let snapshot = config::load(paths).ok().map(|loaded| loaded.snapshot);
    let known = |issuer: &str| {
        snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.issuer == issuer || snapshot.issuers.contains_key(issuer))
    };
    let profile = entry::profile(&typ, &claims).map(delegation::registry::Profile::as_str);
    // Whoever is known needs no entry.
    let table = match claims.get("iss").and_then(Value::as_str) {
        Some(issuer) if known(issuer) => None,
        _ => Some(entry::table(&typ, &visible::all(&claims), snapshot.as_deref())),
    };
    if args.json {
        let entry = table.and_then(Result::ok);
        say(serde_json::json!({
            "verified": verified.is_ok(), "why": verified.as_ref().err(), "profile": profile, "entry": entry, "claims": claims,
        }));
    } else {
        for line in in_words(&claims) {
            say(line);
        }
        if is_id_jag {
            let client = claims.get("client_id").and_then(Value::as_str).unwrap_or_default();
            say(format!(
                "an ID-JAG  for client {} to show once, as an assertion; it is good at no service",
                visible::line(client)
            ));
        }
        if is_txn_token {
            say("a transaction token, which goes in the header Txn-Token and is no access token");
        }
        match &verified {
            Ok(issuer) => say(format!("verified   signed by {issuer}")),
            Err(why) => say(format!("NOT VERIFIED: {why}")),
        }
        match table {
            None => {}
            Some(Ok(table)) => {
                let fits = profile.map_or_else(|| "no profile fits".to_owned(), |profile| format!("profile `{profile}` fits"));
                say(format!(
                    "\n# Its issuer is not trusted here; {fits}. If the token is what you think it is, its entry is:\n{table}"
                ));
            }
            Some(Err(why)) => say(format!("\n# There is no entry to suggest: {why}")),
        }
    }
    Ok(if verified.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A signature that holds is not enough: a token that is over allows nothing.
fn still_good(claims: &Value) -> Result<(), String> {
    let exp = claims.get("exp").and_then(Value::as_i64).ok_or("it does not say when it ends")?;
    if exp > jiff::Timestamp::now().as_second() {
        Ok(())
    } else {
        Err("the signature holds, and the token has expired".to_owned())
    }
}

/// What a token says, a line for each thing that matters.
pub(crate) fn in_words(claims: &Value) -> Vec<String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
    let mut lines = Vec::new();
    let mut line = |label: &str, value: Option<String>| lines.extend(value.map(|value| format!("{label:<10} {}", visible::line(&value))));
    line("issuer", text("iss"));
    let audience = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(one) => one.as_str().unwrap_or_default().to_owned(),
        None => "anyone".to_owned(),
    };
    line("good at", Some(audience));
    line("on behalf", text("sub"));
    let mut actors = Vec::new();
    let mut level = claims.get("act");
    while let Some(act) = level {
        actors.extend(act.get("sub").and_then(Value::as_str).map(str::to_owned));
        level = act.get("act");
    }
    line("acting", (!actors.is_empty()).then(|| actors.join(", before it ")));
    for (label, name) in [("may", "authorization_details"), ("onward", "onward")] {
        // A transaction token says it in its context.
        let said = claims.get(name).or_else(|| claims.get("tctx").and_then(|context| context.get(name)));
        for detail in said.and_then(Value::as_array).into_iter().flatten() {
            line(label, Some(detail_in_words(detail)));
        }
    }
    line("scope", text("scope"));
    let life = number("exp") - number("iat");
    let left = number("exp") - jiff::Timestamp::now().as_second();
    line(
        "lives",
        Some(format!(
            "{} in all, {}",
            seconds(life),
            if left > 0 {
                format!("{} left", seconds(left))
            } else {
                "and is over".to_owned()
            }
        )),
    );
    lines
}

fn detail_in_words(detail: &Value) -> String {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
    let actions: Vec<_> = detail
        .get("actions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let which = if text("identifier").is_empty() {
        String::new()
    } else {
        format!(" {}", text("identifier"))
    };
    let bounds: Vec<_> = detail
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "type" | "actions" | "identifier"))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let bounds = if bounds.is_empty() {
        String::new()
    } else {
        format!(", only {}", bounds.join(", "))
    };
    format!("{} {}{which}{bounds}", actions.join(" and "), text("type"))
}

/// Verifies against the broker's own published keys, or those of a trusted issuer.
async fn verify<K: TokenKind>(token: &str, paths: &[PathBuf]) -> Result<String, String> {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let token = Unverified::<K>::parse(token).map_err(|error| error.to_string())?;
    let issuer = token.claimed_issuer().to_owned();
    let fetcher = fetch::Fetcher::new(loaded.fetch.clone()).map_err(|error| error.to_string())?;
    if issuer == loaded.snapshot.issuer {
        let url = format!("{}/oauth2/jwks", issuer.trim_end_matches('/'))
            .parse()
            .map_err(|_| "issuer: not a URL".to_owned())?;
        let bytes = fetcher.get(&url).await.map_err(|error| error.to_string())?;
        let algorithms = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
        let keys = KeySet::parse(&issuer, &bytes, &algorithms).map_err(|error| error.to_string())?;
        return token.authenticate(&keys).map(|_| issuer).map_err(|error| error.to_string());
    }
    let trusted = loaded.snapshot.issuers.get(&issuer).ok_or("its issuer is not trusted here")?;
    let keys = fetch::IssuerKeys::new(std::sync::Arc::new(fetcher), loaded.keys.clone());
    let keys = keys.keys(&trusted.name).await.map_err(|error| error.to_string())?;
    token.authenticate(&keys).map(|_| issuer).map_err(|error| error.to_string())
}
