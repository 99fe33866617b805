//! Requests of a client to the broker, authenticated with its key.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use delegation::details::{Detail, DetailTypes, Standing};
use serde_json::Value;

use super::output::{complain, say};
use crate::assertion::ClientKey;
use crate::config::Loaded;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Who asks, and whom.
#[derive(Args, Debug)]
pub(super) struct AsClient {
    /// The client that asks.
    #[arg(long)]
    client: String,
    /// Its private key, in PEM.
    #[arg(long)]
    key: PathBuf,
    /// The broker; the configuration's `issuer` by default.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
}

/// A client that is ready to ask.
pub(super) struct Requester {
    issuer: String,
    client: String,
    key: ClientKey,
}

impl AsClient {
    /// Reads the key; its name and the broker are the configuration's.
    pub(super) fn ready(&self, loaded: &Loaded) -> Result<Requester, Failed> {
        let text = std::fs::read_to_string(&self.key).map_err(|error| format!("--key `{}`: {error}", self.key.display()))?;
        Ok(Requester {
            issuer: self.url.clone().unwrap_or_else(|| loaded.snapshot.issuer.clone()),
            client: self.client.clone(),
            key: loaded.key_named(ClientKey::parse(&text)?, &self.client),
        })
    }
}

impl Requester {
    /// The broker that is asked.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client that asks.
    pub(super) fn client(&self) -> &str {
        &self.client
    }

    /// Posts `form` to `path` with an assertion of the client; gives the status and the JSON that comes back.
    pub(super) async fn post(&self, path: &str, mut form: Vec<(&str, String)>) -> Result<(u16, Value), Failed> {
        form.push((
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
        ));
        form.push(("client_assertion", self.key.assertion(&self.client, &self.issuer)?));
        post_form(&format!("{}{path}", self.issuer.trim_end_matches('/')), &form).await
    }
}

/// Posts a form and reads the JSON that comes back.
pub(crate) async fn post_form(url: &str, form: &[(&str, String)]) -> Result<(u16, Value), Failed> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = http()?.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    send(url, request).await
}

/// Posts JSON, as nobody.
pub(super) async fn post_json(url: &str, body: &Value) -> Result<(u16, Value), Failed> {
    let request = http()?.post(url).header("content-type", "application/json").body(body.to_string());
    send(url, request).await
}

/// Posts nothing, with `token` as a bearer.
pub(super) async fn post_as_bearer(url: &str, token: &str) -> Result<(u16, Value), Failed> {
    send(url, http()?.post(url).bearer_auth(token)).await
}

/// Asks `/v1` as an operator; gives the status and the JSON that comes back.
pub(crate) async fn as_operator(method: reqwest::Method, url: &str, token: &str, body: Option<&Value>) -> Result<(u16, Value), Failed> {
    let mut request = http()?.request(method, url).bearer_auth(token);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    send(url, request).await
}

fn http() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()
}

async fn send(url: &str, request: reqwest::RequestBuilder) -> Result<(u16, Value), Failed> {
    let response = request
        .send()
        .await
        .map_err(|error| format!("`{url}` does not answer: {}; is `narrows serve` running?", error.without_url()))?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// Details in the short form as the `authorization_details` of a request; `None` if there are none.
pub(super) fn details(list: &[String], types: &DetailTypes) -> Result<Option<String>, String> {
    let parse = |text: &String| asked_detail(text, types);
    let details = list.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok((!details.is_empty()).then(|| Value::from_iter(details.iter().map(Detail::to_json)).to_string()))
}

/// One detail in the short form, as it is asked for.
pub(super) fn asked_detail(text: &str, types: &DetailTypes) -> Result<Detail, String> {
    Detail::parse_short(text, types, Standing::Asked).map_err(|error| match Detail::parse_short(text, types, Standing::Ceiling) {
        // Whatever else could be wrong with it is not.
        Ok(detail) => format!(
            "`{text}`: {error}: `{}` needs an identifier, as `{}/42`",
            detail.actions().join(","),
            text.split('?').next().unwrap_or_default()
        ),
        Err(_) => format!("`{text}`: {error}"),
    })
}

/// The token on standard input.
pub(super) fn token_from_stdin(what: &str) -> Result<String, Failed> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(format!("expected {what} on standard input").into());
    }
    Ok(one_token(&text, "standard input")?)
}

/// The token in `file`; without one in `NARROWS_TOKEN`, else on standard input.
pub(super) fn token_from(file: Option<&Path>, what: &str) -> Result<String, Failed> {
    if let Some(path) = file {
        return Ok(token_in(path)?);
    }
    std::env::var("NARROWS_TOKEN").map_or_else(|_| token_from_stdin(what), |token| Ok(one_token(&token, "NARROWS_TOKEN")?))
}

/// The token in the file of `--token-file`.
pub(super) fn token_in(path: &Path) -> Result<String, String> {
    let place = format!("--token-file `{}`", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    one_token(&text, &place)
}

/// `text` without the blanks around it, if that is one word; anything else no header could carry, and nothing would be sent.
pub(super) fn one_token(text: &str, place: &str) -> Result<String, String> {
    let token = text.trim();
    match token {
        "" => Err(format!("{place}: there is no token")),
        _ if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => Err(format!(
            "{place}: expected one token and nothing else, found {}",
            if token.lines().nth(1).is_some() {
                "several lines"
            } else {
                "blanks, or what no token holds"
            }
        )),
    }
}

/// Prints what the token endpoint answered: all of it as JSON, or the token, or why there is none.
pub(super) fn tell(status: u16, reply: &Value, json: bool, paths: &[PathBuf]) -> ExitCode {
    if json {
        say(reply);
    } else if let Some(token) = reply.get("access_token").and_then(Value::as_str) {
        say(token);
    } else {
        explain_refusal(reply, paths);
    }
    if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says why the broker refused, and where the whole story is.
pub(super) fn explain_refusal(reply: &Value, paths: &[PathBuf]) {
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default();
    complain(&format!("{} ({}): {}", text("error"), text("reason"), text("error_description")));
    if !text("decision_id").is_empty() {
        complain(&format!("the whole story: {}why {}", called_as(paths), text("decision_id")));
    }
}

/// How this program was called, so that what it suggests works as pasted.
pub(crate) fn called_as(paths: &[PathBuf]) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "narrows".to_owned());
    let named = std::env::args().any(|argument| argument.starts_with("--config"));
    let config = |path: &PathBuf| format!("--config {} ", Path::display(path));
    let configs: String = paths.iter().filter(|_| named).map(config).collect();
    format!("{program} {configs}")
}
