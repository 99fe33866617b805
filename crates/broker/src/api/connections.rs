//! `/v1/connections`: upstream credentials, which go in and never come out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use delegation::identity::is_sub;
use delegation::oauth::ClientId;
use delegation::registry::Snapshot;
use http::{Request, StatusCode};
use issuance::audit::{Decision, Kind};
use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use super::call::{Call, reply};
use super::page;
use super::problem::Problem;
use super::revocations::text;
use crate::broker::Broker;
use crate::connections::{ConnectionsError, Holder, Place, Put, PutWanted, Secret};
use crate::operator::Role;

/// `POST /v1/connections`: keeps a credential, or puts it in the place of the one that its holder has.
pub(crate) async fn put(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let kept = keep(&mut call).await;
    call.answer(kept).await
}

async fn keep(call: &mut Call) -> Result<Response, Problem> {
    // 1. Who asks.
    call.caller().await?.must_be(Role::Admin)?;
    call.record.kind = Kind::Connection;

    // 2. What is kept, for whom; the record names all of it but the secret.
    let mut body = call.body().await?;
    let secret = secret(&mut body)?;
    if !body.keys().all(|name| ["name", "client", "user", "reason"].contains(&name.as_str())) {
        return Err(Problem::Malformed("the body has a member that is not known"));
    }
    if let Some(why) = text(&body, "reason")? {
        call.note("why", why);
    }
    let in_force = Arc::clone(&call.in_force);
    let name = body.get("name").and_then(Value::as_str).ok_or(Problem::Malformed("`name` must be a text"))?;
    let connection = in_force.connections.get(name).ok_or(Problem::UnknownParty)?;
    let holder = holder(&body, &call.moment.snapshot)?;
    if holder.per() != connection.per {
        return Err(Problem::Malformed(
            "name a `client` where the connection is per client, a `user` where it is per user, and nobody where it is for all",
        ));
    }
    if let Holder::Client(id) = &holder
        && !call.moment.snapshot.clients.contains_key(id)
    {
        return Err(Problem::UnknownParty);
    }

    // 3. Durable before it is answered, and taken for the next request.
    call.record.decision = Decision::Done;
    let put = call.broker.connections();
    let put = put.put(connection, &holder, &secret, PutWanted::Either, call.record.clone()).await;
    let status = match put {
        Ok(Put::Added) => StatusCode::CREATED,
        Ok(Put::Replaced) => StatusCode::OK,
        // Somebody else was adding it at the same moment.
        Ok(Put::Unfit) | Err(ConnectionsError::Store(_) | ConnectionsError::Unsealed) => return Err(Problem::StoreUnavailable),
    };
    let mut said = Map::from_iter([("name".to_owned(), json!(connection.name))]);
    said.extend(holder.members().into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(reply(status, &Value::Object(said)))
}

/// The secret of a body, which keeps nothing of it.
fn secret(body: &mut Map<String, Value>) -> Result<Secret, Problem> {
    let bad = Problem::Malformed("`secret` must be 8 to 4096 visible ASCII characters without spaces");
    let Some(Value::String(mut text)) = body.remove("secret") else {
        return Err(bad);
    };
    let secret = Secret::parse(&text);
    text.zeroize();
    secret.map_err(|_| bad)
}

/// Whose credential a body means: everybody's, if it names nobody.
fn holder(body: &Map<String, Value>, snapshot: &Snapshot) -> Result<Holder, Problem> {
    match (body.get("client"), body.get("user")) {
        (None, None) => Ok(Holder::All),
        (Some(client), None) => client_named(client.as_str().unwrap_or_default()),
        (None, Some(user)) => {
            let user = user.as_object().filter(|user| user.len() == 2);
            let member = |name| user.and_then(|user| user.get(name)).and_then(Value::as_str);
            let (Some(iss), Some(sub)) = (member("iss"), member("sub")) else {
                return Err(Problem::Malformed("`user` must be an object of `iss` and `sub`"));
            };
            user_named(iss, sub, snapshot)
        }
        _ => Err(Problem::Malformed("name a `client` or a `user`, not both")),
    }
}

fn client_named(id: &str) -> Result<Holder, Problem> {
    let id = ClientId::parse(id).map_err(|_| Problem::Malformed("`client` is no client identifier"))?;
    Ok(Holder::Client(id))
}

/// A subject of an issuer that is trusted, or of our own: nobody else's requests are ever allowed.
fn user_named(iss: &str, sub: &str, snapshot: &Snapshot) -> Result<Holder, Problem> {
    if !is_sub(sub) {
        return Err(Problem::Malformed("a `sub` has 1 to 255 characters and no control characters"));
    }
    if iss != snapshot.issuer && !snapshot.issuers.contains_key(iss) {
        return Err(Problem::UnknownParty);
    }
    Ok(Holder::User {
        iss: iss.to_owned(),
        sub: sub.to_owned(),
    })
}

/// `DELETE /v1/connections/{name}?client=` or `?iss=&sub=`: no request is sent on with it any more.
pub(crate) async fn remove(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    name: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let mut call = Call::new(broker, peer, request);
    let removed = forget(&mut call, name).await;
    call.answer(removed).await
}

async fn forget(call: &mut Call, name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Admin)?;
    call.record.kind = Kind::Connection;
    let Ok(Path(name)) = name else {
        return Err(Problem::Malformed("the path is no text"));
    };
    let query = call.query(&["client", "iss", "sub", "reason"])?;
    if let Some(why) = page::value(&query, "reason") {
        call.note("why", why);
    }
    let named = |word| page::value(&query, word);
    let holder = match (named("client"), named("iss"), named("sub")) {
        (None, None, None) => Holder::All,
        (Some(client), None, None) => client_named(client)?,
        // One whose issuer is trusted no more can be forgotten too.
        (None, Some(iss), Some(sub)) if is_sub(sub) && page::is_plain(iss) => Holder::User {
            iss: iss.to_owned(),
            sub: sub.to_owned(),
        },
        // Nobody has one: a client that is a user too, or half of a user's name.
        _ => return Err(Problem::NotFound),
    };
    if !page::is_plain(&name) {
        return Err(Problem::NotFound);
    }
    call.record.decision = Decision::Done;
    let removed = call.broker.connections().remove(&name, &holder, call.record.clone()).await?;
    if !removed {
        return Err(Problem::NotFound);
    }
    Ok(reply(StatusCode::OK, &json!({ "name": name, "removed": true })))
}

/// `GET /v1/connections`: which credentials are kept, for whom and for where; no secret.
pub(crate) async fn list(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let listed = page_of(&mut call).await;
    call.answer(listed).await
}

async fn page_of(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let (after, limit) = page::asked(call, place)?;
    let found = call.broker.connections().list(&after, i64::from(limit)).await?;
    let known = &call.in_force.connections;
    let said = |kept: &crate::connections::Kept| kept.to_json(kept.is_ready(known.get(&kept.name)));
    let next = |last: &crate::connections::Kept| json!(last.place()).to_string();
    Ok(reply(StatusCode::OK, &page::page(&found, limit, next, said)))
}

/// As `next` held it, to the letter.
fn place(after: &str) -> Option<Place> {
    let place: Place = serde_json::from_str(after).ok()?;
    let (name, kind, iss, id) = &place;
    let is_plain = [name, kind, iss, id].into_iter().all(|part| page::is_plain(part));
    let written = json!(place).to_string();
    (is_plain && written == after).then_some(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::place;

    #[test]
    fn a_place_is_what_next_held_to_the_letter() {
        for iss in ["", "https://login.corp.example", "a\"b\\c|d,e", "\u{85}\u{e4}"] {
            let of = ["tickets-key", "user", iss, "alice"].map(str::to_owned);
            let read = place(&json!(of).to_string());
            assert_eq!(read.map(|(name, kind, iss, id)| [name, kind, iss, id]), Some(of));
        }
        for wrong in [
            "",
            "[]",
            r#"["a","b","c"]"#,
            r#"["a","b","c",1]"#,
            r#"["a", "b","c","d"]"#,
            r#"["\u0061","b","c","d"]"#,
            r#"["a","b","c","\u0000"]"#,
            r#"["a","b","c","d"] "#,
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
