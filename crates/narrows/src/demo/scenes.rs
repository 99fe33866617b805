//! The scenes: what was asked, what was decided and why.

pub(super) mod guards;
pub(super) mod leaks;
pub(super) mod mesh;
pub(super) mod observe;
pub(super) mod usage;
pub(super) mod work;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::legacy::Legacy;
use super::provider::Provider;
use super::services::{Services, exchange};
use super::{Failure, Scene, wait_for};
use crate::assertion::claims_of;
use crate::cli::inspect::in_words;
use crate::cli::why::tell;
use crate::config;
use crate::serving::Running;

/// More than the scenes leave behind.
const MOST_RECORDS: i64 = 1000;

/// What the scenes are played on.
#[derive(Clone)]
pub(super) struct Stage<'a> {
    pub(super) folder: PathBuf,
    pub(super) issuer: String,
    pub(super) provider: &'a Provider,
    /// Where the boundary is.
    pub(super) front: String,
    /// Where the boundary between orders and tickets is.
    pub(super) mesh: String,
    /// Where the guard before orders is.
    pub(super) orders_guard: String,
    /// Where the guard before the customer accounts is.
    pub(super) crm_guard: String,
    pub(super) services: &'a Services,
    /// What is behind that one.
    pub(super) crm: &'a Legacy,
    pub(super) running: &'a Running,
    pub(super) quiet: bool,
}

impl Stage<'_> {
    /// The caller's request to the boundary, over HTTP.
    async fn open_order(&self, token: &str) -> Result<(u16, Value), Failure> {
        let url = format!("http://{}/orders/7", self.front);
        let response = reqwest::Client::new().get(url).bearer_auth(token).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
    }

    /// An exchange by the edge for order 7.
    async fn ask(&self, client: &str, token: &str, audience: &str, detail: Value) -> Result<(u16, Value), Failure> {
        let asked = [
            ("audience", audience.to_owned()),
            ("authorization_details", json!([detail]).to_string()),
        ];
        exchange(&self.folder, &self.issuer, client, token, &asked).await
    }

    /// The record of a decision, as `narrows why` tells it; found by the refusal that names it or the token that came of it.
    async fn why(&self, outcome: &Value) -> Result<Vec<String>, Failure> {
        let loaded = config::load(&[self.folder.join("narrows.toml")]).map_err(|problems| problems.to_string())?;
        let store = broker::store::Store::open(&loaded.settings.store).await?;
        for record in store.records(0, MOST_RECORDS).await? {
            let record: Value = serde_json::from_str(&record)?;
            let same = |here: &str, there: &str| !text(outcome, there).is_empty() && text(&record, here) == text(outcome, there);
            if same("id", "decision_id") || same("jti", "jti") {
                let folder = format!("{}/", self.folder.display());
                return Ok(tell(&record, &loaded).iter().map(|line| line.replace(&folder, "")).collect());
            }
        }
        Ok(Vec::new())
    }

    async fn policy_version(&self) -> String {
        let Ok(response) = reqwest::get(format!("{}/readyz", self.issuer)).await else {
            return String::new();
        };
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap_or_default()).unwrap_or_default();
        text(&body, "policy_version")
    }

    /// Writes or removes a policy file and waits until the broker shows another version.
    async fn change_policy(&self, rule: Option<&str>) -> Result<(), Failure> {
        self.change_policy_in("policies/hours.cedar", rule).await
    }

    /// The same with a file of this name.
    async fn change_policy_in(&self, name: &str, rule: Option<&str>) -> Result<(), Failure> {
        let path = self.folder.join(name);
        let before = self.policy_version().await;
        match rule {
            Some(rule) => std::fs::write(&path, rule)?,
            None => std::fs::remove_file(&path)?,
        }
        wait_for("the change of policy", || async { self.policy_version().await != before }).await
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn claims(token: &str) -> Value {
    claims_of(token).unwrap_or_default()
}

/// Tells what a token means.
fn show(scene: &mut Scene, label: &str, claims: &Value) {
    scene.step(format!("{label}:"));
    for line in in_words(claims) {
        scene.step(format!("  {line}"));
    }
}

/// S1: the caller's token stops at the edge; another one goes on.
pub(super) async fn exchange_at_the_edge(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S1",
        "A caller's token reaches the edge; the edge exchanges it for the next hop",
        stage.quiet,
    );
    let caller = stage.provider.token("alice").await?;
    show(&mut scene, "alice's token, from the identity provider", &claims(&caller));
    scene.step("alice opens order 7: GET /orders/7 at the edge, a boundary before the order service");
    let (status, _) = stage.open_order(&caller).await?;
    let upstream = stage.services.seen_by("orders");
    let (before, after) = (claims(&caller), claims(&upstream));
    show(&mut scene, "what the boundary put in its place, on the way to orders", &after);
    let number = |claims: &Value, name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
    let story = stage.why(&after).await?;
    scene.step("the broker decided: allowed, because of");
    let permits = story.iter().filter(|line| line.contains("permit `"));
    for permit in permits.clone() {
        scene.step(format!("  {}", permit.trim()));
    }
    scene.must(
        status == 200 && permits.count() == 2,
        "the request succeeded through the boundary and two services, and the permits that allowed it are named",
    );
    scene.must(
        text(&after, "iss") == stage.issuer && text(&before, "iss") != stage.issuer,
        "another issuer: the broker",
    );
    scene.must(
        after.get("aud") == Some(&json!("https://orders.internal")),
        "one audience, and not the edge's",
    );
    scene.must(
        number(&after, "exp") - number(&after, "iat") <= 120 && number(&after, "exp") < number(&before, "exp"),
        "two minutes instead of an hour",
    );
    scene.must(
        text(&after, "sub") == "alice" && after.pointer("/act/sub") == Some(&json!("edge")),
        "alice as subject, the edge as actor",
    );
    scene.must(
        !upstream.is_empty() && upstream != caller && stage.services.seen_by("tickets") != caller,
        "the original token never left the edge",
    );
    Ok(scene)
}

/// S2: two hops in, the chain is whole and nothing has widened.
pub(super) async fn two_hops_in(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S2", "A service two hops in calls a third service for the same user", stage.quiet);
    let first = claims(&stage.services.seen_by("orders"));
    let second = claims(&stage.services.seen_by("tickets"));
    show(&mut scene, "what orders sent on to tickets", &second);
    scene.must(
        second.pointer("/act/sub") == Some(&json!("orders")) && second.pointer("/act/act/sub") == Some(&json!("edge")),
        "the chain of actors is whole: orders, before it the edge",
    );
    scene.must(
        text(&second, "sub") == "alice" && second.get("txn") == first.get("txn"),
        "the same user, the same transaction",
    );
    let exp = |claims: &Value| claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX);
    scene.must(exp(&second) <= exp(&first), "it expires no later than the hop before");
    scene.must(
        second.get("authorization_details") == first.get("onward") && second.get("onward").is_none(),
        "it may read ticket 42, as the hop before was allowed to pass on, and pass nothing on itself",
    );
    let held = stage.services.seen_by("orders");
    let (status, reply) = stage
        .ask(
            "orders",
            &held,
            "https://tickets.internal",
            json!({ "type": "ticket", "actions": ["read"], "identifier": "43" }),
        )
        .await?;
    scene.step(format!(
        "orders asks for ticket 43 with the same token: {status} {} ({})",
        text(&reply, "error"),
        text(&reply, "reason")
    ));
    scene.must(
        text(&reply, "reason") == "wider_than_subject",
        "another ticket is refused: it is wider than the token",
    );
    Ok(scene)
}

/// S3: a stolen downstream token is refused by another service and by the token endpoint.
pub(super) async fn stolen_token(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S3",
        "A stolen downstream token is shown to another service, and to the token endpoint",
        stage.quiet,
    );
    let stolen = stage.services.seen_by("tickets");
    scene.step("stolen: the token that tickets was sent");
    let url = format!("http://{}/orders/7", stage.services.orders);
    let response = reqwest::Client::new().get(url).bearer_auth(&stolen).send().await?;
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    scene.step(format!(
        "shown to orders: {status} {}, {}",
        text(&body, "error"),
        text(&body, "why")
    ));
    scene.must(status == 401, "the other service refuses: it is not the audience");
    let answer = stage.order_at_guard(http::Method::GET, "7", &stolen).await?;
    scene.must(
        guards::is_refused(&answer, 401, "subject_token_not_for_client"),
        format!("shown to the guard before orders: {}", guards::told(&answer)),
    );
    let story = stage.on_record(&answer.1).await?;
    scene.must(!story.is_empty(), "the guard's refusal is on record:");
    for line in story {
        scene.step(format!("  {line}"));
    }
    let (status, reply) = stage
        .ask(
            "edge",
            &stolen,
            "https://orders.internal",
            json!({ "type": "order", "actions": ["read"], "identifier": "7" }),
        )
        .await?;
    scene.step(format!(
        "shown to the token endpoint by the edge: {status} {} ({})",
        text(&reply, "error"),
        text(&reply, "reason")
    ));
    scene.must(
        text(&reply, "reason") == "subject_token_not_for_client",
        "the token endpoint refuses: the token is not addressed to that client",
    );
    let story = stage.why(&reply).await?;
    scene.must(!story.is_empty(), "the refusal is on record:");
    for line in story {
        scene.step(format!("  {line}"));
    }
    Ok(scene)
}

/// S4: the same request under other circumstances: group, time, and a change of policy while the broker runs.
pub(super) async fn other_circumstances(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S4",
        "The same request under other circumstances: group, time, a change of policy",
        stage.quiet,
    );
    let order = || json!({ "type": "order", "actions": ["read"], "identifier": "7" });
    let (alice, bob) = (stage.provider.token("alice").await?, stage.provider.token("bob").await?);

    let (status, reply) = stage.ask("edge", &bob, "https://orders.internal", order()).await?;
    scene.step(format!(
        "group: bob, who is not in support, asks for the same order: {status} {} ({})",
        text(&reply, "error"),
        text(&reply, "reason")
    ));
    scene.must(
        text(&reply, "reason") == "policy_denied",
        "refused, and `narrows why` says by how much:",
    );
    for line in stage.why(&reply).await? {
        scene.step(format!("  {line}"));
    }

    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let closed = format!(
        "@id(\"closed-at-this-hour\")\nforbid (principal, action, resource) when {{ context.hour == {hour} || context.hour == {} }};\n",
        (hour + 1) % 24
    );
    stage.change_policy(Some(&closed)).await?;
    let (status, reply) = stage.ask("edge", &alice, "https://orders.internal", order()).await?;
    scene.step(format!(
        "time: the rule `closed-at-this-hour` is written beside the others; alice asks: {status} ({})",
        text(&reply, "reason")
    ));
    for line in stage.why(&reply).await?.iter().filter(|line| line.contains("forbid `")) {
        scene.step(line.clone());
    }
    scene.must(text(&reply, "reason") == "policy_denied", "the rule is in force without a restart");

    stage.change_policy(None).await?;
    let (status, _) = stage.ask("edge", &alice, "https://orders.internal", order()).await?;
    scene.step(format!("change: the rule is taken back; alice asks again: {status}"));
    scene.must(status == 200, "allowed again, by the next request");
    Ok(scene)
}
