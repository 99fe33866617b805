//! `operator add|list|remove`: on the machine of the store. A running broker follows within a second.

use std::path::PathBuf;
use std::process::ExitCode;

use aws_lc_rs::rand;
use broker::store::Store;
use broker::{Operator, OperatorName, Role};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use delegation::identity::is_sub;
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use issuance::audit::{Decision, Kind, Record};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::output::{remark, say, table};
use crate::config::{self, Loaded};

/// Verbs of `operator`.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorVerb {
    /// Let a person in, and print the token that shows who they are, this once: it alone is on
    /// standard output.
    Add {
        /// The name in every record of what they do.
        name: String,
        /// What they may do; may be repeated, and none includes another.
        #[arg(long = "role", required = true, value_parser = PossibleValuesParser::new(Role::ALL.map(|(word, _)| word)))]
        roles: Vec<String>,
        /// Who they are for an issuer: its name or `iss`, and their `sub` there. Whoever decides about people needs it.
        #[arg(long, num_args = 2, value_names = ["ISS", "SUB"])]
        subject: Vec<String>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the operators that were added here.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a person in no more.
    Remove {
        /// The operator, or a unique beginning of the name.
        name: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn run(verb: OperatorVerb, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    match verb {
        OperatorVerb::List { json } => {
            list(&store.operators().await?, json);
            Ok(ExitCode::SUCCESS)
        }
        OperatorVerb::Add {
            name,
            roles,
            subject,
            dry_run,
            json,
        } => {
            let operator = Operator {
                name: OperatorName::parse(&name).map_err(|error| format!("`{name}`: {error}"))?,
                roles: roles.iter().filter_map(|word| Role::parse(word)).collect(),
                subject: subject_of(&subject, &loaded)?,
                added_at: now,
            };
            add(&store, &operator, dry_run, json).await
        }
        OperatorVerb::Remove { name, dry_run } => remove(&store, &name, dry_run, now).await,
    }
}

async fn add(store: &Store, operator: &Operator, dry_run: bool, json: bool) -> Outcome {
    let (name, taken) = (
        &operator.name,
        format!("there is an operator `{}` already; remove it first", operator.name),
    );
    if dry_run {
        if store.operators().await?.iter().any(|known| known.name == *name) {
            return Err(taken.into());
        }
        say(format!(
            "would add `{name}` as {}; the token would be shown here, this once",
            words(operator)
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| "no randomness to be had")?;
    let token = OpaqueForm::make(OpaqueKind::Operator, &bits);
    let record = record("operator_added", operator, operator.added_at);
    if !store.add_operator(operator, &token.digest(), &record).await? {
        return Err(taken.into());
    }
    if json {
        let mut members = shown(operator);
        members.insert("token".to_owned(), Value::from(token.expose()));
        say(Value::Object(members));
    } else {
        // The token alone on standard output, so that `> FILE` makes a file for `--token-file`.
        remark(&format!(
            "`{name}` is {}; a running broker follows within a second. The token, shown this once:",
            words(operator)
        ));
        say(token.expose());
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(store: &Store, name: &str, dry_run: bool, now: Timestamp) -> Outcome {
    let operators = store.operators().await?;
    let whole = operators.iter().find(|operator| operator.name.as_str() == name);
    let mut beginning = operators.iter().filter(|operator| operator.name.as_str().starts_with(name));
    let operator = match (whole, beginning.next(), beginning.next()) {
        (Some(operator), ..) | (None, Some(operator), None) => operator,
        (None, None, _) => return Err(format!("there is no operator `{name}`; see `narrows operator list`").into()),
        (None, Some(_), Some(_)) => return Err(format!("`{name}` begins more than one operator; give more of it").into()),
    };
    if dry_run {
        say(format!("would remove `{}`", operator.name));
        return Ok(ExitCode::SUCCESS);
    }
    let removed = store.remove_operator(&operator.name, &record("operator_removed", operator, now)).await?;
    if !removed {
        return Err(format!("`{}` was removed meanwhile", operator.name).into());
    }
    say(format!("`{}` is removed; a running broker follows within a second", operator.name));
    Ok(ExitCode::SUCCESS)
}

/// Who somebody is for an issuer that is trusted: a name that nobody has would never be recognised.
fn subject_of(words: &[String], loaded: &Loaded) -> Result<Option<(String, String)>, String> {
    let [iss, sub] = words else { return Ok(None) };
    let known = loaded.snapshot.issuers.get(iss).or_else(|| loaded.snapshot.issuer_named(iss));
    let issuer = known.ok_or_else(|| format!("there is no trusted issuer `{iss}`; see `narrows config show`"))?;
    if !is_sub(sub) {
        return Err("expected a `sub` of 1 to 255 characters without control characters".to_owned());
    }
    Ok(Some((issuer.issuer.clone(), sub.clone())))
}

fn list(operators: &[Operator], json: bool) {
    if json {
        say(operators.iter().map(shown).map(Value::Object).collect::<Value>());
        return;
    }
    let rows = operators.iter().map(|operator| {
        let subject = operator.subject.as_ref().map(|(iss, sub)| format!("{sub} of {iss}")).unwrap_or_default();
        vec![operator.name.to_string(), words(operator), subject, time(operator.added_at)]
    });
    say(table(&["operator", "roles", "subject", "since"], rows.collect()));
}

fn shown(operator: &Operator) -> Map<String, Value> {
    let roles: Vec<_> = operator.roles.iter().map(|role| role.as_str()).collect();
    let subject = operator.subject.as_ref().map(|(iss, sub)| json!({ "iss": iss, "sub": sub }));
    let members = [
        ("name", json!(operator.name.as_str())),
        ("roles", json!(roles)),
        ("subject", json!(subject)),
        ("added_at", json!(time(operator.added_at))),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn words(operator: &Operator) -> String {
    operator.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default()
}

fn record(reason: &str, operator: &Operator, now: Timestamp) -> Record {
    let mut record = Record::new(uuid::Uuid::now_v7().to_string(), now, Kind::Operator);
    record.decision = Decision::Done;
    reason.clone_into(&mut record.reason);
    record.inputs = json!({ "party": shown(operator) });
    record
}
