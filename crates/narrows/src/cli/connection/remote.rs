//! The same verbs, asked of a broker that runs elsewhere.

use std::process::ExitCode;

use broker::connections::PutWanted;
use reqwest::Method;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{PutArgs, RemoteArgs, RemoveArgs, secret};
use crate::cli::Outcome;
use crate::cli::as_client::{as_operator, one_token, token_in};
use crate::cli::output::{complain, say, table};

/// A broker, and the operator's token.
pub(super) struct Remote {
    url: String,
    token: Zeroizing<String>,
}

impl Remote {
    /// The broker that is named; none if the store of this machine is meant.
    pub(super) fn of(args: RemoteArgs) -> Result<Option<Self>, String> {
        let Some(url) = args.url else { return Ok(None) };
        let token = match (&args.token_file, std::env::var("NARROWS_TOKEN")) {
            (Some(path), _) => token_in(path)?,
            (None, Ok(token)) => one_token(&token, "NARROWS_TOKEN")?,
            (None, Err(_)) => return Err("put the operator's token into NARROWS_TOKEN, or name its file with --token-file".to_owned()),
        };
        let url = format!("{}/v1/connections", url.trim_end_matches('/'));
        let token = Zeroizing::new(token);
        Ok(Some(Self { url, token }))
    }

    /// Keeps a credential, whether its holder has one or not.
    pub(super) async fn put(&self, args: &PutArgs, wanted: PutWanted) -> Outcome {
        if args.dry_run {
            let what = if wanted == PutWanted::Added { "keep a" } else { "rotate the" };
            say(format!("would ask {} to {what} credential `{}`", self.url, args.name));
            return Ok(ExitCode::SUCCESS);
        }
        let secret = secret(args.file.as_deref())?;
        let mut body = Map::from_iter([("name".to_owned(), json!(args.name)), ("secret".to_owned(), json!(secret.expose()))]);
        if let Some(client) = &args.of.client {
            body.insert("client".to_owned(), json!(client));
        }
        if let [iss, sub] = args.of.user.as_slice() {
            body.insert("user".to_owned(), json!({ "iss": iss, "sub": sub }));
        }
        if let Some(why) = &args.reason {
            body.insert("reason".to_owned(), json!(why));
        }
        let (status, reply) = as_operator(Method::POST, &self.url, &self.token, Some(&Value::Object(body))).await?;
        let done = if status == 201 { "added" } else { "rotated" };
        Ok(answered(
            status,
            &reply,
            args.json,
            &format!("`{}` is {done}; it is taken for the next request", args.name),
        ))
    }

    /// Forgets one.
    pub(super) async fn remove(&self, args: &RemoveArgs) -> Outcome {
        let RemoveArgs { name, of, .. } = args;
        if args.dry_run {
            say(format!("would ask {} to forget the credential `{name}`", self.url));
            return Ok(ExitCode::SUCCESS);
        }
        let mut url = url::Url::parse(&self.url)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(name);
        }
        if let Some(client) = &of.client {
            url.query_pairs_mut().append_pair("client", client);
        }
        if let [iss, sub] = of.user.as_slice() {
            url.query_pairs_mut().append_pair("iss", iss).append_pair("sub", sub);
        }
        if let Some(why) = &args.reason {
            url.query_pairs_mut().append_pair("reason", why);
        }
        let (status, reply) = as_operator(Method::DELETE, url.as_str(), &self.token, None).await?;
        Ok(answered(
            status,
            &reply,
            args.json,
            &format!("`{name}` is forgotten: no request goes on with it any more"),
        ))
    }

    /// Lists all, page by page.
    pub(super) async fn list(&self, json: bool) -> Outcome {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut url = url::Url::parse(&self.url)?;
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("after", after);
            }
            let (status, reply) = as_operator(Method::GET, url.as_str(), &self.token, None).await?;
            if status != 200 {
                return Ok(answered(status, &reply, json, ""));
            }
            items.extend(reply.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
            after = reply.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        if json {
            say(Value::from(items));
            return Ok(ExitCode::SUCCESS);
        }
        let rows = items.iter().map(|item| {
            let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let of = match (text("/client"), text("/user/sub")) {
                ("", "") => "everybody".to_owned(),
                ("", sub) => format!("{sub} of {}", text("/user/iss")),
                (client, _) => format!("client {client}"),
            };
            let is_ready = item.get("ready") == Some(&Value::Bool(true));
            let ready = if is_ready { "ready" } else { "the configuration says otherwise" };
            vec![
                text("/name").to_owned(),
                of,
                format!("{} in {}", text("/origin"), text("/header")),
                ready.to_owned(),
            ]
        });
        say(table(&["connection", "of", "for", ""], rows.collect()));
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what was done, or why not.
fn answered(status: u16, reply: &Value, json: bool, done: &str) -> ExitCode {
    let is_done = matches!(status, 200 | 201);
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default();
    if json {
        say(reply);
    } else if is_done {
        say(done);
    } else {
        complain(&format!("{status} ({}): {}", text("reason"), text("detail")));
    }
    if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
