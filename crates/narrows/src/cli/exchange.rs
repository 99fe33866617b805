//! `exchange`: a client's request at the token endpoint, with the subject token from standard input.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use delegation::details::{Detail, Standing};
use delegation::oauth::{GrantType, TokenType};
use serde_json::Value;

use super::Outcome;
use super::output::{complain, say};
use crate::assertion::ClientKey;
use crate::config;

/// Arguments of `exchange`.
#[derive(Args, Debug)]
pub(super) struct ExchangeArgs {
    /// The client that asks.
    #[arg(long)]
    client: String,
    /// Its private key, in PEM.
    #[arg(long)]
    key: PathBuf,
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
    /// The type of the subject token: access_token, id_token or jwt; id_jag shows it as an assertion (RFC 7523).
    #[arg(long, default_value = "access_token")]
    subject_token_type: String,
    /// The broker; the configuration's `issuer` by default.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
    /// Print the whole reply as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ExchangeArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let issuer = args.url.clone().unwrap_or_else(|| loaded.snapshot.issuer.clone());
    let key = ClientKey::parse(&std::fs::read_to_string(&args.key).map_err(|error| format!("--key `{}`: {error}", args.key.display()))?)?;
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token)?;
    if token.trim().is_empty() {
        return Err("expected the subject token on standard input".into());
    }
    let details = |list: &[String]| {
        let parse = |text: &String| {
            Detail::parse_short(text, &loaded.snapshot.types, Standing::Asked).map_err(|error| format!("`{text}`: {error}"))
        };
        let details = list.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, String>((!details.is_empty()).then(|| Value::from_iter(details.iter().map(Detail::to_json)).to_string()))
    };
    let kind = format!("urn:ietf:params:oauth:token-type:{}", args.subject_token_type);
    let token = token.trim().to_owned();
    let mut form = if args.subject_token_type == TokenType::IdJag.word() {
        vec![("grant_type", GrantType::JwtBearer.as_str().to_owned()), ("assertion", token)]
    } else {
        TokenType::parse(&kind).ok_or("--subject-token-type: expected access_token, id_token, jwt or id_jag")?;
        let grant = GrantType::TokenExchange.as_str().to_owned();
        vec![("grant_type", grant), ("subject_token", token), ("subject_token_type", kind)]
    };
    form.extend([
        ("audience", args.audience.clone()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
        ),
        ("client_assertion", key.assertion(&args.client, &issuer)?),
    ]);
    form.extend(details(&args.details)?.map(|text| ("authorization_details", text)));
    form.extend(details(&args.onward)?.map(|text| ("onward", text)));
    form.extend(args.scope.map(|scope| ("scope", scope)));
    form.extend(args.expires_in.map(|seconds| ("expires_in", seconds.to_string())));
    let url = format!("{}/oauth2/token", issuer.trim_end_matches('/'));
    let (status, reply) = post_form(&url, &form).await?;
    if args.json {
        say(&reply);
    } else if let Some(token) = reply.get("access_token").and_then(Value::as_str) {
        say(token);
    } else {
        let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        complain(&format!("{} ({}): {}", text("error"), text("reason"), text("error_description")));
        if !text("decision_id").is_empty() {
            complain(&format!("the whole story: {}why {}", called_as(paths), text("decision_id")));
        }
    }
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How this program was called, so that what it suggests works as pasted.
pub(crate) fn called_as(paths: &[PathBuf]) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "narrows".to_owned());
    let named = std::env::args().any(|argument| argument.starts_with("--config"));
    let configs: String = paths.iter().filter(|_| named).map(|path| format!("--config {} ", path.display())).collect();
    format!("{program} {configs}")
}

/// Posts a form and reads the JSON that comes back.
pub(crate) async fn post_form(url: &str, form: &[(&str, String)]) -> Result<(u16, Value), Box<dyn std::error::Error + Send + Sync>> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let response = request
        .send()
        .await
        .map_err(|error| format!("`{url}` does not answer: {}; is `narrows serve` running?", error.without_url()))?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}
