//! The scene of a report: what is granted beside what is used.

use reqwest::Method;
use serde_json::{Value, json};

use super::work::{CRM, Task};
use super::{Scene, Stage, text};
use crate::cli::as_client::as_operator;
use crate::cli::report::unused::told;
use crate::demo::{Failure, wait_for};

/// What somebody once found convenient.
const WIDE: &str = "@id(\"the-bot-updates-accounts\")\n\
                    permit (principal == Workload::\"support-bot\", action == Action::\"account:update\", resource is Detail::Account)\n\
                    when { context.subject in Group::\"corp|support\" && context has task && resource has tenant };\n";
/// Nothing is concluded of fewer than twenty.
const REQUESTS: usize = 25;

fn account(actions: &[&str]) -> Value {
    json!({ "type": "account", "actions": actions, "identifier": "acme-1", "tenant": "acme" })
}

impl Stage<'_> {
    /// A task of the bot for this much, with a token for all of it; or the refusal.
    async fn account_token(&self, actions: &[&str]) -> Result<Value, Failure> {
        let more = [("expires_in", "300")];
        let (status, reply) = self.open("support-bot", CRM, json!([account(actions)]), &more).await?;
        if status != 200 {
            return Ok(reply);
        }
        let task = Task::of(&reply);
        Ok(self.redeem("support-bot", &task, CRM, account(actions)).await?.1)
    }
}

/// S17: a security lead asks who holds too much.
pub(in crate::demo) async fn too_much(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S17", "A security lead asks who holds too much", stage.quiet);
    stage.change_policy(Some(WIDE)).await?;
    let wide = text(&stage.account_token(&["read", "update"]).await?, "access_token");
    let mut passed = 0;
    for _ in 0..REQUESTS {
        let (status, _) = stage.account_at_guard("acme", "acme-1", Some(&wide)).await?;
        passed += usize::from(status == 200);
    }
    scene.step("a rule lets the support bot update accounts; it asks for that each time, and only ever reads");
    scene.must(
        passed == REQUESTS,
        format!("{passed} requests to read pass the guard, which counts what each of them used"),
    );
    stage.running.hand_over().await;

    let token = stage.auditor("lead").await?;
    let url = format!("{}/v1/reports/unused?client=support-bot", stage.issuer);
    let may_look = || async { as_operator(Method::GET, &url, &token, None).await.is_ok_and(|(status, _)| status == 200) };
    wait_for("the auditor is let in", may_look).await?;
    let (_, report) = as_operator(Method::GET, &url, &token, None).await?;
    scene.step("narrows report unused --client support-bot:");
    for line in told(&report).iter().flat_map(|lines| lines.lines()) {
        scene.step(format!("  {line}"));
    }
    let item = report.pointer("/items/0").cloned().unwrap_or_default();
    let row = |name: &str| {
        let rows = item.get("actions").and_then(Value::as_array).into_iter().flatten();
        rows.clone().find(|row| text(row, "name") == name).and_then(|row| row.get("used")?.as_u64())
    };
    scene.must(
        row("account:update") == Some(0) && row("account:read").is_some_and(|used| used >= 25),
        "account:read is used by each request, account:update was granted and is used by none",
    );
    let mends = item.get("mend").and_then(Value::as_array).into_iter().flatten();
    let mend = mends.clone().find(|mend| text(mend, "about") == "account:update").cloned().unwrap_or_default();
    let pastes = mend.get("paste").and_then(Value::as_array).into_iter().flatten();
    let paste = |into: &str| pastes.clone().find(|paste| text(paste, "into").contains(into)).map(|paste| text(paste, "text"));
    let (rule, case) = (
        paste("a file of `policies`").unwrap_or_default(),
        paste("cases.toml").unwrap_or_default(),
    );
    scene.must(
        rule.contains("forbid") && !case.is_empty(),
        "the report has the rule to paste, and its case",
    );
    std::fs::write(stage.folder.join("policies/unused.cases.toml"), &case)?;
    let (without, _) = stage.narrows(&["policy", "test"], None, None).await?;
    stage.change_policy_in("policies/unused.cedar", Some(&rule)).await?;
    let (with, _) = stage.narrows(&["policy", "test"], None, None).await?;
    scene.must(
        without == Some(1) && with == Some(0),
        "narrows policy test fails with the case alone, and passes with the rule",
    );
    let refused = stage.account_token(&["read", "update"]).await?;
    scene.must(
        text(&refused, "reason") == "policy_denied",
        format!("the bot asks for both once more: {}", text(&refused, "reason")),
    );
    let narrow = text(&stage.account_token(&["read"]).await?, "access_token");
    let (status, _) = stage.account_at_guard("acme", "acme-1", Some(&narrow)).await?;
    scene.must(status == 200, "what it uses it has as before");
    Ok(scene)
}
