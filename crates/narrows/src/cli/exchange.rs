//! `exchange`: a client's request at the token endpoint, with the subject token from standard input.

use std::path::PathBuf;

use clap::Args;
use delegation::oauth::{GrantType, TokenType};

use super::Outcome;
use super::as_client::{AsClient, details, tell, token_from_stdin};
use crate::config;

/// Arguments of `exchange`.
#[derive(Args, Debug)]
pub(super) struct ExchangeArgs {
    #[command(flatten)]
    who: AsClient,
    /// The audience.
    #[arg(long)]
    audience: String,
    /// Details in the short form, such as `ticket:read/42`; may be repeated.
    #[arg(long)]
    details: Vec<String>,
    /// Scopes, with spaces between them.
    #[arg(long)]
    scope: Option<String>,
    /// Details to be asked for at a later hop; may be repeated.
    #[arg(long)]
    onward: Vec<String>,
    /// The life asked for, in seconds.
    #[arg(long)]
    expires_in: Option<u64>,
    /// The type of the subject token: access_token, id_token, jwt, txn_token or task; id_jag shows it as an assertion (RFC 7523).
    #[arg(long, default_value = "access_token")]
    subject_token_type: String,
    /// For a task: the attempt, which has one place in its count.
    #[arg(long)]
    attempt_id: Option<String>,
    /// Print the whole reply as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ExchangeArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let requester = args.who.ready(&loaded)?;
    let token = token_from_stdin("the subject token")?;
    let mut form = if args.subject_token_type == TokenType::IdJag.word() {
        vec![("grant_type", GrantType::JwtBearer.as_str().to_owned()), ("assertion", token)]
    } else {
        let kind = type_named(&args.subject_token_type)
            .ok_or("--subject-token-type: expected access_token, id_token, jwt, txn_token, task or id_jag")?;
        let grant = GrantType::TokenExchange.as_str().to_owned();
        let kind = kind.as_str().to_owned();
        vec![("grant_type", grant), ("subject_token", token), ("subject_token_type", kind)]
    };
    form.push(("audience", args.audience.clone()));
    form.extend(details(&args.details, &loaded.snapshot.types)?.map(|text| ("authorization_details", text)));
    form.extend(details(&args.onward, &loaded.snapshot.types)?.map(|text| ("onward", text)));
    form.extend(args.scope.map(|scope| ("scope", scope)));
    form.extend(args.expires_in.map(|seconds| ("expires_in", seconds.to_string())));
    form.extend(args.attempt_id.map(|attempt| ("attempt_id", attempt)));
    let (status, reply) = requester.post("/oauth2/token", form).await?;
    Ok(tell(status, &reply, args.json, paths))
}

/// A type of subject tokens by its short word.
pub(super) fn type_named(word: &str) -> Option<TokenType> {
    let types = [
        TokenType::AccessToken,
        TokenType::IdToken,
        TokenType::Jwt,
        TokenType::TxnToken,
        TokenType::Task,
    ];
    types.into_iter().find(|kind| kind.word() == word)
}
