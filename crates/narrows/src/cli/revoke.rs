//! `revoke`: on the machine of the store. A running broker follows within a fifth of a second.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use broker::store::Store;
use clap::Args;
use delegation::oauth::ClientId;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{Decision, Kind, Record};
use serde_json::{Value, json};

use super::Outcome;
use super::output::say;
use crate::assertion::claims_of;
use crate::config::{self, Loaded};

/// Arguments of `revoke`.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    what: What,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    reason: String,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Exactly one thing.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// A token from standard input, ours or an identity provider's, and all that came from it.
    #[arg(long)]
    token_stdin: bool,
    /// One of our tokens by its `jti`, and all that came from it.
    #[arg(long, allow_hyphen_values = true)]
    jti: Option<String>,
    /// A task, with all its tokens.
    #[arg(long, allow_hyphen_values = true)]
    task: Option<String>,
    /// A transaction, with all its tokens.
    #[arg(long, allow_hyphen_values = true)]
    txn: Option<String>,
    /// All that was issued for a person or workload until now: the issuer's name and the outside `sub`, as `corp|alice`.
    #[arg(long)]
    subject: Option<String>,
    /// All that was issued to a client until now, or on which it acts.
    #[arg(long)]
    client: Option<String>,
    /// All that came from a trusted issuer until now, by its name.
    #[arg(long)]
    issuer: Option<String>,
    /// Tokens that carry an exception.
    #[arg(long)]
    exception: Option<String>,
    /// Tokens that carry an approval.
    #[arg(long)]
    approval: Option<String>,
}

pub(super) async fn run(args: &RevokeArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let (kind, key, named) = named(&args.what, &loaded)?;
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let until = if kind.is_epoch() { ", issued until now" } else { "" };
    let what = format!("{} `{named}`{until}", kind.as_str());
    if args.dry_run {
        say(format!("would revoke {what}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut record = Record::new(uuid::Uuid::now_v7().to_string(), now, Kind::Revocation);
    record.decision = Decision::Done;
    "revoked".clone_into(&mut record.reason);
    record.inputs = json!({ "kind": kind.as_str(), "named": named, "why": args.reason });
    let revocation = Revocation::new(kind, key, now, loaded.snapshot.lifetimes.max);
    let seq = Store::open(&loaded.settings.store).await?.revoke(&revocation, &record).await?;
    if args.json {
        say(json!({ "seq": seq, "kind": kind.as_str(), "named": named }));
    } else {
        say(format!(
            "revoked {what}; a running broker follows at once, all that came from it is dead too"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be revoked: its kind, its key, and its name for people.
fn named(what: &What, loaded: &Loaded) -> Result<(MarkKind, Key, String), Box<dyn std::error::Error + Send + Sync>> {
    if what.token_stdin {
        let mut token = String::new();
        std::io::stdin().read_to_string(&mut token)?;
        return of_token(token.trim(), loaded);
    }
    let by_name = [
        (MarkKind::Jti, &what.jti),
        (MarkKind::Task, &what.task),
        (MarkKind::Txn, &what.txn),
        (MarkKind::Exception, &what.exception),
        (MarkKind::Approval, &what.approval),
    ];
    if let Some((kind, id)) = by_name.into_iter().find_map(|(kind, id)| Some((kind, id.as_deref()?))) {
        return Ok((kind, Key::of(id), id.to_owned()));
    }
    // A name that nothing has would end nothing, and look as if it had.
    let issuer_named = |name: &str| {
        let issuer = loaded.snapshot.issuer_named(name);
        issuer.ok_or_else(|| format!("there is no trusted issuer `{name}`; see `narrows config show`"))
    };
    if let Some(name) = &what.issuer {
        return Ok((MarkKind::Issuer, Key::of(&issuer_named(name)?.issuer), name.clone()));
    }
    if let Some(client) = &what.client {
        let id = ClientId::parse(client)?;
        if !loaded.snapshot.clients.contains_key(&id) {
            return Err(format!("there is no client `{client}`; see `narrows client list`").into());
        }
        return Ok((MarkKind::Client, Key::of(client), client.clone()));
    }
    let subject = what.subject.as_deref().unwrap_or_default();
    let (name, sub) = subject.split_once('|').ok_or("expected the issuer's name and the `sub`, as `corp|alice`")?;
    let iss = if name == delegation::identity::OUR_NAME {
        loaded.snapshot.issuer.clone()
    } else {
        issuer_named(name)?.issuer.clone()
    };
    Ok((MarkKind::Subject, Key::of_pair(&iss, sub), subject.to_owned()))
}

/// The token by what it says; its signature is not asked, since whoever runs this could name the `jti` too.
fn of_token(token: &str, loaded: &Loaded) -> Result<(MarkKind, Key, String), Box<dyn std::error::Error + Send + Sync>> {
    let claims = claims_of(token).ok_or("expected a JWT on standard input; name an opaque token's `jti`, task or client instead")?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let iss = text("iss").ok_or("the token does not say who issued it")?;
    if iss == loaded.snapshot.issuer {
        let jti = text("jti").ok_or("the token has no `jti`")?;
        return Ok((MarkKind::Jti, Key::of(jti), jti.to_owned()));
    }
    if !loaded.snapshot.issuers.contains_key(iss) {
        return Err("nobody here trusts the issuer of this token, so nothing came from it".into());
    }
    // Named as in `chain`, also where there is no `jti`.
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let entry = delegation::token::chain_entry(iss, text("jti"), signed);
    let (kind, key) = Key::of_entry(&entry);
    Ok((kind, key, entry))
}
