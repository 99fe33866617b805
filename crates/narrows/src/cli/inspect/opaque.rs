//! An opaque secret of ours in words: what it is can be read off it, what it stands for only the store tells.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use broker::store::Store;
use delegation::registry::Moment;
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind, SubjectToken};
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::output::say;
use crate::config;

/// Says what `form` is; an access token is looked up in the store that the configuration names.
pub(super) async fn run(form: &OpaqueForm, as_json: bool, paths: &[PathBuf]) -> Outcome {
    let what = match form.kind() {
        OpaqueKind::Access => return access_token(form, as_json, paths).await,
        OpaqueKind::Task => "a task token; `narrows task list` shows the tasks",
        OpaqueKind::Operator => "an operator token; `narrows operator list` shows the operators",
        OpaqueKind::ClientSecret => "a client secret",
    };
    if as_json {
        say(json!({ "kind": form.kind().prefix(), "verified": false, "why": "its checksum holds, and nothing was looked up" }));
    } else {
        say(format!("{what}. Its checksum holds; whether it was ever made, nobody was asked."));
    }
    Ok(ExitCode::FAILURE)
}

async fn access_token(form: &OpaqueForm, as_json: bool, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let Some(kept) = store.opaque_token(&form.digest()).await? else {
        return Err("an opaque access token that this store does not know: it was made elsewhere, never, or long ago".into());
    };
    let moment = Moment {
        now: Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()),
        snapshot: Arc::clone(&loaded.snapshot),
        revocations: Arc::new(store.standing().await?),
    };
    let issuer = &loaded.snapshot.issuer;
    let is_alive = kept.shown_by::<SubjectToken>(form, issuer).is_ok_and(|token| token.active_at(&moment).is_some());
    let claims: Value = serde_json::from_str(&kept.claims)?;
    let why = (!is_alive).then_some("it has expired or was ended");
    if as_json {
        say(json!({ "kind": form.kind().prefix(), "verified": is_alive, "why": why, "claims": claims }));
    } else {
        for line in super::in_words(&claims) {
            say(line);
        }
        match why {
            None => say(format!("verified   kept by {issuer}, and alive")),
            Some(why) => say(format!("NOT VERIFIED: {why}")),
        }
    }
    Ok(if is_alive { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
