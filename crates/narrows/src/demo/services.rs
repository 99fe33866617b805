//! Two services behind the boundary, each its own HTTP server: orders → tickets. Each checks what it gets; orders exchanges for itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as UrlPath, State};
use axum::routing::get;
use axum::{Json, Router};
use delegation::oauth::{GrantType, TokenType};
use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Failure;
use crate::assertion::{ClientKey, claims_of};
use crate::cli::as_client::post_form;

/// The running services.
pub(super) struct Services {
    pub(super) orders: SocketAddr,
    pub(super) tickets: SocketAddr,
    /// The token that each service was last shown, by its name.
    seen: Arc<Mutex<HashMap<&'static str, String>>>,
    tasks: Vec<JoinHandle<()>>,
}

struct Service {
    name: &'static str,
    folder: PathBuf,
    broker: String,
    next: Option<SocketAddr>,
    seen: Arc<Mutex<HashMap<&'static str, String>>>,
}

/// Starts them, the last one first.
pub(super) async fn start(folder: &Path, broker: &str) -> Result<Services, Failure> {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let mut tasks = Vec::new();
    let mut start = async |name: &'static str, next: Option<SocketAddr>, routes: fn() -> Router<Arc<Service>>| {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service {
            name,
            folder: folder.to_owned(),
            broker: broker.to_owned(),
            next,
            seen: Arc::clone(&seen),
        });
        let routes = routes().with_state(service);
        tasks.push(tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        }));
        Ok::<_, Failure>(address)
    };
    let tickets = start("tickets", None, || Router::new().route("/tickets/{id}", get(ticket))).await?;
    let orders = start("orders", Some(tickets), || Router::new().route("/orders/{id}", get(order))).await?;
    Ok(Services {
        orders,
        tickets,
        seen,
        tasks,
    })
}

impl Services {
    pub(super) fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
    }

    /// The token that `service` was last shown.
    pub(super) fn seen_by(&self, service: &str) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(service).cloned().unwrap_or_default()
    }
}

type Reply = Result<Json<Value>, (StatusCode, Json<Value>)>;

/// Orders: its token must be for it and for this order; for the ticket it exchanges again.
async fn order(State(service): State<Arc<Service>>, UrlPath(id): UrlPath<String>, headers: HeaderMap) -> Reply {
    let token = service.bearer(&headers)?;
    service.verify(&token, "https://orders.internal", "order", &id).await?;
    let asked = [
        ("audience", "https://tickets.internal".to_owned()),
        (
            "authorization_details",
            json!([{ "type": "ticket", "actions": ["read"], "identifier": "42" }]).to_string(),
        ),
    ];
    let token = service.exchange(&token, &asked).await?;
    let Json(ticket) = service.call("/tickets/42", &token).await?;
    Ok(Json(json!({ "order": id, "ticket": ticket })))
}

/// Tickets: the end of the chain. It verifies and answers.
async fn ticket(State(service): State<Arc<Service>>, UrlPath(id): UrlPath<String>, headers: HeaderMap) -> Reply {
    let token = service.bearer(&headers)?;
    service.verify(&token, "https://tickets.internal", "ticket", &id).await?;
    Ok(Json(json!({ "ticket": id, "text": "the parcel is late" })))
}

impl Service {
    /// The caller's token, kept so that the scenes can show it.
    fn bearer(&self, headers: &HeaderMap) -> Result<String, (StatusCode, Json<Value>)> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or((StatusCode::UNAUTHORIZED, Json(json!({ "error": "no token" }))))?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, token.to_owned());
        Ok(token.to_owned())
    }

    /// What every backend must do: issuer's signature, audience, expiry, and that the token is for this resource.
    async fn verify(&self, token: &str, audience: &str, kind: &str, id: &str) -> Result<(), (StatusCode, Json<Value>)> {
        let refuse = |why: &str| (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_token", "why": why })));
        let unavailable = |_| refuse("the broker's keys are not to be had");
        let jwks = reqwest::get(format!("{}/oauth2/jwks", self.broker))
            .await
            .map_err(unavailable)?
            .bytes()
            .await
            .map_err(unavailable)?;
        let keys = KeySet::parse(&self.broker, &jwks, &[Algorithm::Es256]).map_err(|_| refuse("the broker's keys are malformed"))?;
        let unverified = Unverified::<SubjectToken>::parse(token).map_err(|_| refuse("not a token"))?;
        unverified.authenticate(&keys).map_err(|_| refuse("not signed by the broker"))?;
        let claims = claims_of(token).ok_or_else(|| refuse("not a token"))?;
        if claims.get("aud").and_then(Value::as_str) != Some(audience) {
            return Err(refuse("the token is for another audience"));
        }
        if claims
            .get("exp")
            .and_then(Value::as_i64)
            .is_none_or(|exp| exp <= jiff::Timestamp::now().as_second())
        {
            return Err(refuse("the token has expired"));
        }
        let details = claims.get("authorization_details").and_then(Value::as_array).cloned().unwrap_or_default();
        let wanted = |detail: &Value| detail.get("type") == Some(&json!(kind)) && detail.get("identifier") == Some(&json!(id));
        if details.iter().any(wanted) {
            Ok(())
        } else {
            Err((StatusCode::FORBIDDEN, Json(json!({ "error": "insufficient_scope" }))))
        }
    }

    async fn exchange(&self, token: &str, asked: &[(&str, String)]) -> Result<String, (StatusCode, Json<Value>)> {
        let (status, reply) = exchange(&self.folder, &self.broker, self.name, token, asked)
            .await
            .map_err(|error| (StatusCode::BAD_GATEWAY, Json(json!({ "error": error.to_string() }))))?;
        match reply.get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => Err((StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), Json(reply))),
        }
    }

    async fn call(&self, path: &str, token: &str) -> Reply {
        let unreachable = |_| {
            (
                StatusCode::BAD_GATEWAY,
                Json(json!({ "error": "the next service does not answer" })),
            )
        };
        let next = self.next.ok_or((StatusCode::NOT_FOUND, Json(Value::Null)))?;
        let response = reqwest::Client::new()
            .get(format!("http://{next}{path}"))
            .bearer_auth(token)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        let body = Json(serde_json::from_slice(&bytes).unwrap_or_default());
        if status.is_success() {
            Ok(body)
        } else {
            Err((StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY), body))
        }
    }
}

/// One exchange by `client`, whose key lies in `folder`.
pub(super) async fn exchange(
    folder: &Path,
    broker: &str,
    client: &str,
    token: &str,
    asked: &[(&str, String)],
) -> Result<(u16, Value), Failure> {
    let mut form = vec![
        ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
        ("subject_token", token.to_owned()),
        ("subject_token_type", TokenType::AccessToken.as_str().to_owned()),
    ];
    form.extend(asked.iter().cloned());
    post(folder, broker, client, "/oauth2/token", form).await
}

/// A form of `client`, whose key lies in `folder`.
pub(super) async fn post(
    folder: &Path,
    broker: &str,
    client: &str,
    path: &str,
    mut form: Vec<(&str, String)>,
) -> Result<(u16, Value), Failure> {
    let key = ClientKey::parse(&std::fs::read_to_string(folder.join(format!("{client}.key")))?)?;
    form.push((
        "client_assertion_type",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
    ));
    form.push(("client_assertion", key.assertion(client, broker)?));
    post_form(&format!("{broker}{path}"), &form).await
}
