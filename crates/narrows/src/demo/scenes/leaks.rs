//! Scenes of tokens that got out.

use http::Method;
use serde_json::json;

use super::{Scene, Stage, guards, text};
use crate::demo::{Failure, wait_for};

/// What every access token of ours begins with, whatever its key and algorithm: see docs/leaks.md.
const BEGINNING: &str = "eyJ0eXAiOiJhdCtqd3QiLCJraWQiOiJucnct";

impl Stage<'_> {
    /// What a request with `token` to the order service is answered with.
    async fn get_order(&self, id: &str, token: &str) -> Result<u16, Failure> {
        let url = format!("http://{}/orders/{id}", self.services.orders);
        Ok(reqwest::Client::new().get(url).bearer_auth(token).send().await?.status().as_u16())
    }
}

/// The token in a text, found by its form alone.
fn scanned(text: &str) -> &str {
    let found = text.find(BEGINNING).and_then(|at| text.get(at..)).unwrap_or_default();
    let is_token = |each: char| each.is_ascii_alphanumeric() || matches!(each, '.' | '-' | '_');
    found.split(|each| !is_token(each)).next().unwrap_or_default()
}

/// S13: a token was pasted into a ticket or a build log.
pub(in crate::demo) async fn pasted_token(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S13", "A token was pasted into a build log", stage.quiet);
    let alice = stage.provider.token("alice").await?;
    stage.open_order(&alice).await?;
    let (leaked, derived) = (stage.services.seen_by("orders"), stage.services.seen_by("tickets"));
    let log = format!("12:01:07 curl -H 'Authorization: Bearer {leaked}' https://orders.internal/orders/7\n12:01:08 200 OK\n");
    scene.step("a build log has alice's token for order 7 in it; orders has exchanged it on for ticket 42");
    let found = scanned(&log);
    scene.must(
        !found.is_empty() && found == leaked,
        "a scanner recognises it by its first 36 characters",
    );
    let both = stage.is_alive("edge", &leaked).await? && stage.is_alive("orders", &derived).await?;
    scene.must(both, "it is alive, and so is what came from it");
    let report = json!({ "token": found, "found_in": "build 4711" });
    let url = format!("{}/v1/leaks", stage.issuer);
    let reported = reqwest::Client::new()
        .post(&url)
        .header("content-type", "application/json")
        .body(report.to_string())
        .send()
        .await?;
    scene.step(format!("whoever finds it reports it, without credentials: {}", reported.status()));
    scene.must(!stage.is_alive("edge", &leaked).await?, "the token is dead");
    scene.must(!stage.is_alive("orders", &derived).await?, "and so is what came from it");
    let (status, _) = stage.open_order(&alice).await?;
    scene.must(status == 200, "its parent is not: alice goes on with her own token");
    Ok(scene)
}

/// S14: a long-lived token of an integration leaks.
pub(in crate::demo) async fn long_lived_token(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S14", "A long-lived OAuth token of an integration leaks", stage.quiet);
    let integration = stage.provider.token("alice").await?;
    stage.open_order(&integration).await?;
    let (order, ticket) = (stage.services.seen_by("orders"), stage.services.seen_by("tickets"));
    scene.step("whoever has broken in holds the integration's token, an hour long, and all that came of it");
    let other = stage.get_order("8", &order).await?;
    scene.must(other == 403, format!("the token for order 7, shown for order 8: {other}"));
    let audience = stage.get_order("7", &ticket).await?;
    scene.must(audience == 401, format!("the token for ticket 42, shown to orders: {audience}"));
    let itself = stage.get_order("7", &integration).await?;
    scene.must(itself == 401, format!("the long-lived token itself, shown to orders: {itself}"));
    scene.step("at the guards it is the same, and no service has to think of it:");
    let another = "wider_than_subject";
    for (what, method, id, token, status, reason) in [
        ("the token for order 7, for another order", Method::GET, "8", &order, 403, another),
        ("the token to read order 7, to cancel it", Method::DELETE, "7", &order, 403, another),
        (
            "the token for ticket 42, at orders",
            Method::GET,
            "7",
            &ticket,
            401,
            "subject_token_not_for_client",
        ),
        (
            "the long-lived token itself",
            Method::GET,
            "7",
            &integration,
            401,
            "subject_token_invalid",
        ),
    ] {
        let answer = stage.order_at_guard(method, id, token).await?;
        scene.must(
            guards::is_refused(&answer, status, reason),
            format!("{what}: {}", guards::told(&answer)),
        );
    }
    let second = stage.account_at_guard("acme", "acme-1", Some(&order)).await?;
    scene.must(
        guards::is_refused(&second, 401, "subject_token_not_for_client"),
        format!("the token for order 7, at the customer accounts: {}", guards::told(&second)),
    );
    let asked = json!({ "type": "order", "actions": ["read"], "identifier": "7" });
    let (_, reply) = stage.ask("orders", &integration, "https://tickets.internal", asked).await?;
    scene.must(
        text(&reply, "reason") == "subject_token_not_for_client",
        format!("exchanged by a service that it is not for: {}", text(&reply, "reason")),
    );
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
        ("subject_token", integration.clone()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
        ("audience", "https://orders.internal".to_owned()),
        ("client_id", "edge".to_owned()),
    ];
    let url = format!("{}/oauth2/token", stage.issuer);
    let (status, _) = crate::cli::as_client::post_form(&url, &form).await?;
    scene.must(status == 401, format!("exchanged without the edge's key: {status}"));
    let (code, _) = stage
        .narrows(
            &["revoke", "--token-stdin", "--reason", "integration leaked"],
            None,
            Some(&integration),
        )
        .await?;
    scene.step("the operator ends the integration's token: narrows revoke --token-stdin");
    // The broker follows the store within a fifth of a second.
    wait_for("the end of what came of it", || async {
        stage.is_alive("edge", &order).await.is_ok_and(|alive| !alive)
    })
    .await?;
    let alive = stage.is_alive("orders", &ticket).await?;
    scene.must(code == Some(0) && !alive, "and everything that ever came of it is dead");
    let answer = stage.order_at_guard(Method::GET, "7", &order).await?;
    scene.must(
        guards::is_refused(&answer, 401, "subject_token_revoked"),
        format!(
            "at the guard too, for the very request that it was made for: {}",
            guards::told(&answer)
        ),
    );
    Ok(scene)
}
