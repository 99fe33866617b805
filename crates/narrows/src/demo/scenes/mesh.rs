//! The scene of a mesh: where delegation changes, as the graph shows it.

use aws_lc_rs::rand;
use broker::store::Store;
use broker::{Operator, OperatorName, Role};
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use issuance::audit::{Decision, Kind, Record};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Scene, Stage, text};
use crate::cli::as_client::as_operator;
use crate::cli::report::graph::told;
use crate::config;
use crate::demo::{Failure, wait_for};

impl Stage<'_> {
    /// A request for ticket 42 to the sidecar of orders.
    async fn ticket_by_mesh(&self, token: &str) -> Result<(u16, Value), Failure> {
        let url = format!("http://{}/tickets/42", self.mesh);
        let response = reqwest::Client::new().get(url).bearer_auth(token).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
    }

    /// The token of somebody who may look.
    pub(super) async fn auditor(&self, name: &str) -> Result<String, Failure> {
        let mut randomness = [0; 32];
        rand::fill(&mut randomness)?;
        let token = OpaqueForm::make(OpaqueKind::Operator, &randomness);
        let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        let operator = Operator {
            name: OperatorName::parse(name)?,
            roles: [Role::Auditor].into_iter().collect(),
            subject: None,
            added_at: now,
        };
        let mut record = Record::new(uuid::Uuid::now_v7().to_string(), now, Kind::Operator);
        record.decision = Decision::Done;
        "operator_added".clone_into(&mut record.reason);
        record.inputs = json!({ "operator": name });
        let loaded = config::load(&[self.folder.join("narrows.toml")]).map_err(|problems| problems.to_string())?;
        Store::open(&loaded.settings.store).await?.add_operator(&operator, &token.digest(), &record).await?;
        Ok(token.expose().to_owned())
    }
}

/// S9: every boundary has a name, and the graph shows the one hop that forwards a token without exchanging it.
pub(in crate::demo) async fn graph(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S9", "A mesh hides where delegation changes; the graph shows it", stage.quiet);
    let caller = stage.provider.token("alice").await?;
    stage.open_order(&caller).await?;
    scene.step("alice opens order 7 at the boundary `edge`; orders has a sidecar, the boundary `mesh`, toward tickets");
    let (status, _) = stage.ticket_by_mesh(&stage.services.seen_by("orders")).await?;
    scene.must(
        status == 200,
        "orders sends the token that it was given, and the sidecar exchanges it for ticket 42",
    );
    let (status, refused) = stage.ticket_by_mesh(&caller).await?;
    scene.step(format!(
        "a badly built edge sends alice's own token on to the sidecar: {status} ({})",
        text(&refused, "reason")
    ));
    scene.must(
        status == 401 && text(&refused, "reason") == "subject_token_not_for_client",
        "what was not exchanged is refused at the next boundary",
    );

    let token = stage.auditor("demo").await?;
    let url = format!("{}/v1/reports/graph", stage.issuer);
    let may_look = || async { as_operator(Method::GET, &url, &token, None).await.is_ok_and(|(status, _)| status == 200) };
    wait_for("the auditor is let in", may_look).await?;
    let (_, graph) = as_operator(Method::GET, &url, &token, None).await?;
    scene.step("narrows report graph:");
    for line in told(&graph) {
        scene.step(format!("  {line}"));
    }
    let each = |name: &str| graph.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_edge = |from: Value, client: &str, boundary: &str| {
        each("edges").iter().any(|edge| {
            let allowed = edge.get("allowed").and_then(Value::as_u64).unwrap_or_default();
            edge.get("from") == Some(&from) && text(edge, "client") == client && text(edge, "boundary") == boundary && allowed > 0
        })
    };
    scene.must(
        is_edge(Value::Null, "edge", "edge") && is_edge(json!("edge"), "orders", "mesh"),
        "it shows who handed authority to whom, at which boundary, how often, and what was refused",
    );
    let hop = each("forwarded").into_iter().find(|hop| text(hop, "boundary") == "mesh");
    let named = hop.is_some_and(|hop| hop.get("from") == Some(&json!(["edge"])) && text(&hop, "client") == "orders");
    scene.must(
        named,
        "and names the one hop that forwards a token without exchanging it: edge, to `mesh`",
    );
    Ok(scene)
}
