//! Scenes of guards: what a backend is spared that stands behind one.

use http::{HeaderMap, HeaderName, Method};
use serde_json::{Value, json};

use super::work::{CRM, ORDERS};
use super::{Scene, Stage, claims, text};
use crate::assertion::ClientKey;
use crate::demo::services::exchange;
use crate::demo::{Failure, wait_for};

/// What a client sends that would like to be somebody else.
const PRETENDED: [(&str, &str); 4] = [
    ("narrows-subject", "root"),
    ("narrows_actor", "root"),
    ("x-forwarded-for", "192.0.2.9"),
    ("x-original-url", "/tenants/globex/accounts/globex-1"),
];

impl Stage<'_> {
    /// What the guard before orders answers.
    pub(super) async fn order_at_guard(&self, method: Method, id: &str, token: &str) -> Result<(u16, Value), Failure> {
        at_guard(method, &format!("http://{}/orders/{id}", self.orders_guard), Some(token)).await
    }

    /// What the guard before the customer accounts answers.
    pub(super) async fn account_at_guard(&self, tenant: &str, id: &str, token: Option<&str>) -> Result<(u16, Value), Failure> {
        let url = format!("http://{}/tenants/{tenant}/accounts/{id}", self.crm_guard);
        at_guard(Method::GET, &url, token).await
    }

    /// The record of a refusal, which is there two seconds later at the latest.
    pub(super) async fn on_record(&self, refusal: &Value) -> Result<Vec<String>, Failure> {
        wait_for("the record of the refusal", || async {
            self.why(refusal).await.is_ok_and(|story| !story.is_empty())
        })
        .await?;
        self.why(refusal).await
    }
}

async fn at_guard(method: Method, url: &str, token: Option<&str>) -> Result<(u16, Value), Failure> {
    let mut request = reqwest::Client::new().request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    for (name, value) in PRETENDED {
        request = request.header(name, value);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
}

/// Whether an answer is this refusal.
pub(super) fn is_refused(answer: &(u16, Value), status: u16, reason: &str) -> bool {
    answer.0 == status && text(&answer.1, "reason") == reason
}

/// Status and reason, in words.
pub(super) fn told(answer: &(u16, Value)) -> String {
    format!("{} ({})", answer.0, text(&answer.1, "reason"))
}

/// What a line of a story says after its label.
fn said<'s>(story: &'s [String], label: &str) -> &'s str {
    let mut lines = story.iter().filter_map(|line| line.strip_prefix(label));
    lines.next().unwrap_or_default().trim()
}

/// S5: a backend is sent a valid token that is broader than the request needs.
pub(in crate::demo) async fn broader_than_needed(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S5",
        "A backend is sent a valid token that is broader than the request needs",
        stage.quiet,
    );
    let alice = stage.provider.token("alice").await?;
    let two = json!([
        { "type": "order", "actions": ["read"], "identifier": "7" },
        { "type": "order", "actions": ["read"], "identifier": "8" },
    ]);
    let asked = [("audience", ORDERS.to_owned()), ("authorization_details", two.to_string())];
    let (status, reply) = exchange(&stage.folder, &stage.issuer, "edge", &alice, &asked).await?;
    let broad = text(&reply, "access_token");
    scene.must(
        status == 200 && !broad.is_empty(),
        "the edge may have a token for orders 7 and 8: it is signed, alive, and for orders",
    );
    let answer = stage.order_at_guard(Method::GET, "7", &broad).await?;
    scene.step("it is shown to the guard before orders with GET /orders/7");
    scene.must(is_refused(&answer, 401, "overbroad_token"), format!("refused: {}", told(&answer)));
    let story = stage.on_record(&answer.1).await?;
    scene.step("narrows why:");
    for line in &story {
        scene.step(format!("  {line}"));
    }
    scene.must(
        said(&story, "surplus").contains("order:read/8") && !said(&story, "surplus").contains("order:read/7"),
        "the record names the surplus: order 8",
    );
    stage.open_order(&alice).await?;
    let exact = stage.services.seen_by("orders");
    let (status, order) = stage.order_at_guard(Method::GET, "7", &exact).await?;
    scene.must(
        status == 200 && text(&order, "order") == "7",
        "the token that the boundary made of this very request passes, and what it may pass on is no surplus",
    );
    Ok(scene)
}

/// S6: an old backend can check neither audience nor issuer; its guard does both.
pub(in crate::demo) async fn old_backend(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S6",
        "An old backend checks neither audience nor issuer; the guard before it does",
        stage.quiet,
    );
    let bare = at_guard(
        Method::GET,
        &format!("http://{}/tenants/acme/accounts/acme-1", stage.crm.address),
        None,
    )
    .await?;
    let before = stage.crm.count();
    scene.must(
        bare.0 == 200 && before > 0,
        "the backend itself answers whoever reaches it, so nobody but its guard should",
    );
    let account = json!({ "type": "account", "actions": ["read"], "identifier": "acme-1", "tenant": "acme" });
    let task = stage.opened("support-bot", CRM, json!([account.clone()]), &[("expires_in", "300")]).await?;
    let token = text(&stage.redeem("support-bot", &task, CRM, account).await?.1, "access_token");
    let forged = ClientKey::generate()?.0.sign("at+jwt", &claims(&token))?;
    let provider = stage.provider.token("alice").await?;
    let order = stage.services.seen_by("orders");
    for (what, shown, reason) in [
        ("no token", None, "no_token"),
        ("a token for orders", Some(order.as_str()), "subject_token_not_for_client"),
        (
            "alice's token of the identity provider",
            Some(provider.as_str()),
            "subject_token_invalid",
        ),
        (
            "the right claims, signed by somebody else",
            Some(forged.as_str()),
            "subject_token_invalid",
        ),
    ] {
        let answer = stage.account_at_guard("acme", "acme-1", shown).await?;
        scene.must(is_refused(&answer, 401, reason), format!("{what}: {}", told(&answer)));
    }
    scene.must(stage.crm.count() == before, "nothing of that reached the backend");

    let (status, _) = stage.account_at_guard("acme", "acme-1", Some(&token)).await?;
    let came = stage.crm.last();
    scene.step("the bot's token for this account passes; the backend is sent");
    for (name, value) in came.iter().filter(|(name, _)| name.as_str().starts_with("narrows")) {
        scene.step(format!("  {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    scene.must(
        status == 200 && stage.crm.count() == before + 1 && only(&came, "narrows-subject") == Some("alice"),
        "who it is about, in a header",
    );
    scene.must(
        only(&came, "narrows-issuer") == Some(stage.provider.issuer.as_str())
            && only(&came, "narrows-actor").is_some_and(|actor| actor.rsplit('|').next() == Some("support-bot"))
            && only(&came, "narrows-task") == Some(task.id.as_str()),
        "who says so, who acts, and in which task",
    );
    scene.must(!came.contains_key("authorization"), "no token, which it could lose");
    let pretended = PRETENDED.iter().any(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let all = name.iter().flat_map(|name| came.get_all(name)).collect::<Vec<_>>();
        all.iter().any(|found| found.as_bytes() == value.as_bytes())
    });
    scene.must(
        !pretended && !came.contains_key("narrows_actor") && !came.contains_key("x-original-url"),
        "and nothing of what the caller said of itself: narrows-subject, narrows_actor, x-forwarded-for, x-original-url",
    );
    Ok(scene)
}

/// The value of a header that came exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    }
}
