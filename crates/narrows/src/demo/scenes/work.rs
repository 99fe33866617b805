//! Scenes of work that ends: in a queue, by an agent, in a deployment, for ten minutes.

use std::process::Stdio;

use delegation::oauth::{GrantType, TokenType};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Scene, Stage, claims, guards, show, text};
use crate::demo::{Failure, services, wait_for};

/// A task that was opened.
pub(super) struct Task {
    token: String,
    pub(super) id: String,
}

impl Task {
    /// The one that a reply of the token endpoint gives.
    pub(super) fn of(reply: &Value) -> Self {
        Self {
            token: text(reply, "access_token"),
            id: text(reply, "task_id"),
        }
    }
}

impl Stage<'_> {
    /// Opens a task by `client` for alice.
    pub(super) async fn open(&self, client: &str, audience: &str, details: Value, more: &[(&str, &str)]) -> Result<(u16, Value), Failure> {
        let alice = self.provider.token("alice").await?;
        let mut asked = vec![
            ("requested_token_type", TokenType::Task.as_str().to_owned()),
            ("audience", audience.to_owned()),
            ("authorization_details", details.to_string()),
        ];
        asked.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        services::exchange(&self.folder, &self.issuer, client, &alice, &asked).await
    }

    /// The same, where it must work.
    pub(super) async fn opened(&self, client: &str, audience: &str, details: Value, more: &[(&str, &str)]) -> Result<Task, Failure> {
        let (status, reply) = self.open(client, audience, details, more).await?;
        if status != 200 {
            return Err(format!("no task for {client}: {reply}").into());
        }
        Ok(Task::of(&reply))
    }

    /// Redeems a task by `client` for one detail.
    pub(super) async fn redeem(&self, client: &str, task: &Task, audience: &str, detail: Value) -> Result<(u16, Value), Failure> {
        let form = vec![
            ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
            ("subject_token", task.token.clone()),
            ("subject_token_type", TokenType::Task.as_str().to_owned()),
            ("audience", audience.to_owned()),
            ("authorization_details", json!([detail]).to_string()),
        ];
        services::post(&self.folder, &self.issuer, client, "/oauth2/token", form).await
    }

    /// Whether a token is alive, for the client that it was issued to.
    pub(super) async fn is_alive(&self, client: &str, token: &str) -> Result<bool, Failure> {
        let form = vec![("token", token.to_owned())];
        let (_, said) = services::post(&self.folder, &self.issuer, client, "/oauth2/introspect", form).await?;
        Ok(said.get("active") == Some(&Value::Bool(true)))
    }

    /// Disables or enables alice, and waits until the broker knows.
    async fn standing(&self, verb: &str) -> Result<(), Failure> {
        self.narrows(&["subject", verb, "corp|alice"], None, None).await?;
        wait_for("the change of standing", || async {
            let alice = self.provider.token("alice").await.unwrap_or_default();
            let order = json!({ "type": "order", "actions": ["read"], "identifier": "7" });
            let asked = self.ask("edge", &alice, ORDERS, order).await;
            asked.is_ok_and(|(_, reply)| (text(&reply, "reason") == "subject_disabled") == (verb == "disable"))
        })
        .await
    }

    /// Runs this very program on the demo's configuration, with a token in its environment or on its standard input.
    pub(super) async fn narrows(
        &self,
        arguments: &[&str],
        token: Option<&str>,
        input: Option<&str>,
    ) -> Result<(Option<i32>, String), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--config")
            .arg(self.folder.join("narrows.toml"))
            .args(arguments)
            .current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        if let Some(token) = token {
            command.env("NARROWS_TOKEN", token);
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.unwrap_or_default().as_bytes()).await?;
        }
        let ran = child.wait_with_output().await?;
        Ok((ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned()))
    }
}

fn refused(reply: &Value) -> String {
    format!("{} ({})", text(reply, "error"), text(reply, "reason"))
}

pub(super) const ORDERS: &str = "https://orders.internal";
const TICKETS: &str = "https://tickets.internal";
const SECRETS: &str = "https://secrets.internal";
pub(super) const CRM: &str = "https://crm.internal";

/// S8: a job is accepted now and run later.
pub(in crate::demo) async fn queued_work(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S8", "A job is accepted now and run later", stage.quiet);
    let export = || json!({ "type": "order", "actions": ["export"], "identifier": "7" });
    let enqueue = async || {
        let more = [
            ("actor", "worker"),
            ("deferred", "true"),
            ("expires_in", "3600"),
            ("purpose", "export order 7"),
        ];
        stage.opened("edge", ORDERS, json!([export()]), &more).await
    };
    let run = async |task: &Task| stage.redeem("worker", task, ORDERS, export()).await;
    scene.step("alice asks the edge for an export; the edge opens a deferred task for the worker and queues its token");
    let job = enqueue().await?;
    scene.must(
        job.token.starts_with("nrwt_") && claims(&job.token).is_null(),
        "the queue holds a task token: it says nothing, and is worth nothing to anybody but the worker",
    );
    let (status, reply) = stage.redeem("edge", &job, ORDERS, export()).await?;
    scene.must(status == 400, format!("shown by another client: {}", refused(&reply)));
    let (status, reply) = run(&job).await?;
    let held = claims(&text(&reply, "access_token"));
    show(&mut scene, "what the worker gets when it runs", &held);
    scene.must(
        status == 200 && text(&held, "task") == job.id && held.pointer("/act/act/sub") == Some(&json!("edge")),
        "a token for this export: alice as subject, the worker as actor, the edge before it, for a minute",
    );
    let (_, reply) = run(&job).await?;
    scene.must(
        text(&reply, "reason") == "task_exhausted",
        format!("run twice: {}", refused(&reply)),
    );

    scene.step("three more jobs wait, and something happens before they run");
    let (disabled, changed, cancelled) = (enqueue().await?, enqueue().await?, enqueue().await?);
    stage.standing("disable").await?;
    let (_, reply) = run(&disabled).await?;
    scene.must(
        text(&reply, "reason") == "subject_disabled",
        format!("alice is disabled: {}", refused(&reply)),
    );
    for line in stage.why(&reply).await?.iter().take(3) {
        scene.step(format!("  {line}"));
    }
    stage.standing("enable").await?;
    stage
        .change_policy(Some(
            "@id(\"no-exports-today\")\nforbid (principal, action == Action::\"order:export\", resource);\n",
        ))
        .await?;
    let (_, reply) = run(&changed).await?;
    scene.must(
        text(&reply, "reason") == "policy_denied",
        format!("the policy is another one: {}", refused(&reply)),
    );
    stage.change_policy(None).await?;
    let (code, _) = stage.narrows(&["task", "cancel", &cancelled.id], None, None).await?;
    let (_, reply) = run(&cancelled).await?;
    scene.must(
        code == Some(0) && text(&reply, "reason") == "task_cancelled",
        format!("the task is cancelled: {}", refused(&reply)),
    );
    Ok(scene)
}

/// S10: an agent reads one ticket, updates one field of it, and stops.
pub(in crate::demo) async fn agent(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S10", "An agent reads one ticket, updates one field of it, and stops", stage.quiet);
    let ticket = |action: &str, id: &str, project: &str, field: Option<&str>| {
        let mut detail = json!({ "type": "ticket", "actions": [action], "identifier": id, "project": project });
        if let (Some(field), Some(members)) = (field, detail.as_object_mut()) {
            members.insert("fields".to_owned(), json!([field]));
        }
        detail
    };
    let all = json!([ticket("read", "42", "web", None), ticket("update", "42", "web", Some("status"))]);
    let task = stage
        .opened(
            "edge",
            TICKETS,
            all,
            &[("actor", "agent"), ("expires_in", "300"), ("purpose", "close ticket 42")],
        )
        .await?;
    scene.step("alice asks the agent to close ticket 42; the edge opens a task for it: read 42, update its status, five minutes");
    let (status, read) = stage.redeem("agent", &task, TICKETS, ticket("read", "42", "web", None)).await?;
    scene.must(status == 200, "the agent reads ticket 42");
    let (status, update) = stage.redeem("agent", &task, TICKETS, ticket("update", "42", "web", Some("status"))).await?;
    scene.must(status == 200, "it updates the status of ticket 42");
    for (what, detail) in [
        ("another ticket", ticket("read", "43", "web", None)),
        ("another field", ticket("update", "42", "web", Some("owner"))),
        ("another project", ticket("read", "42", "payroll", None)),
    ] {
        let (_, reply) = stage.redeem("agent", &task, TICKETS, detail).await?;
        scene.must(
            text(&reply, "reason") == "wider_than_subject",
            format!("{what}: {}", refused(&reply)),
        );
    }
    let url = format!("{}/v1/tasks/{}/complete", stage.issuer, task.id);
    let done = reqwest::Client::new().post(url).bearer_auth(&task.token).send().await?;
    scene.step(format!("the agent says that it is done: {}", done.status()));
    let (_, reply) = stage.redeem("agent", &task, TICKETS, ticket("read", "42", "web", None)).await?;
    scene.must(
        text(&reply, "reason") == "task_completed",
        format!("after that: {}", refused(&reply)),
    );
    let held = [text(&read, "access_token"), text(&update, "access_token")];
    let mut alive = false;
    for token in &held {
        alive |= token.is_empty() || stage.is_alive("agent", token).await?;
    }
    scene.must(!alive, "and the tokens that it still holds are dead though not expired");
    Ok(scene)
}

/// S11: a deployment stage fetches one secret.
pub(in crate::demo) async fn deployment(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S11",
        "A deployment stage fetches one secret (narrows task run -- ./deploy.sh)",
        stage.quiet,
    );
    let alice = stage.provider.token("alice").await?;
    let script = format!(
        "narrows='{}'\n\
         \"$narrows\" task token {SECRETS} secret:read/db-stage 2> other\n\
         \"$narrows\" task token {SECRETS} secret:read/db-prod > first\n\
         \"$narrows\" task token {SECRETS} secret:read/db-prod 2> second\nexit 3\n",
        std::env::current_exe()?.display()
    );
    let deploy = stage.folder.join("deploy.sh");
    std::fs::write(&deploy, script)?;
    let run = [
        "task",
        "run",
        "--client",
        "deploy",
        "--key",
        "deploy.key",
        "--audience",
        SECRETS,
        "--details",
        "secret:read/db-prod",
        "--max-tokens",
        "1",
        "--expires-in",
        "900",
        "--purpose",
        "deploy",
        "--",
        "sh",
        "deploy.sh",
    ];
    let (code, _) = stage.narrows(&run, Some(&alice), None).await?;
    scene.step("the stage runs ./deploy.sh in a task that gives one token, for the secret db-prod");
    let said = |name: &str| std::fs::read_to_string(stage.folder.join(name)).unwrap_or_default();
    let (other, first, second) = (said("other"), said("first").trim().to_owned(), said("second"));
    let reason = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    scene.must(
        reason(&other) == "wider_than_subject",
        format!("another secret: {}", reason(&other)),
    );
    show(&mut scene, "the token for db-prod", &claims(&first));
    scene.must(text(&claims(&first), "aud") == SECRETS, "the secret is to be had");
    scene.must(reason(&second) == "task_exhausted", format!("a second time: {}", reason(&second)));
    scene.must(code == Some(3), "the stage fails, and its exit code is passed on");
    scene.must(
        !first.is_empty() && !stage.is_alive("deploy", &first).await?,
        "when it ends, well or badly, the token is dead though not expired",
    );
    Ok(scene)
}

/// S12: a support automation works on one customer account for ten minutes.
pub(in crate::demo) async fn ten_minutes(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new(
        "S12",
        "A support automation works on one customer account for ten minutes",
        stage.quiet,
    );
    let account = |id: &str, tenant: &str| json!({ "type": "account", "actions": ["read"], "identifier": id, "tenant": tenant });
    let of_acme = json!([account("acme-1", "acme")]);
    let (_, reply) = stage.open("support-bot", CRM, of_acme.clone(), &[("expires_in", "660")]).await?;
    scene.must(
        text(&reply, "reason") == "policy_denied",
        format!("eleven minutes are not to be had: {}", refused(&reply)),
    );
    let task = stage.opened("support-bot", CRM, of_acme.clone(), &[("expires_in", "600")]).await?;
    let (_, reply) = stage.redeem("support-bot", &task, CRM, account("acme-1", "acme")).await?;
    let token = text(&reply, "access_token");
    let (status, _) = stage.account_at_guard("acme", "acme-1", Some(&token)).await?;
    scene.must(
        status == 200,
        "the bot reads account acme-1 of acme, through the guard before the accounts",
    );
    for (what, tenant, id) in [
        ("another tenant's account", "globex", "globex-1"),
        ("the same account as another tenant's", "globex", "acme-1"),
    ] {
        let answer = stage.account_at_guard(tenant, id, Some(&token)).await?;
        scene.must(
            guards::is_refused(&answer, 403, "wider_than_subject"),
            format!("{what}, at the guard: {}", guards::told(&answer)),
        );
    }
    for (what, detail) in [
        ("another tenant's account", account("globex-1", "globex")),
        ("the same account as another tenant's", account("acme-1", "globex")),
    ] {
        let (_, reply) = stage.redeem("support-bot", &task, CRM, detail).await?;
        scene.must(
            text(&reply, "reason") == "wider_than_subject",
            format!("{what}, asked of the broker: {}", refused(&reply)),
        );
    }
    // Nobody waits for eleven minutes here: the same with a task of seconds, as many as this machine needs to redeem it once.
    let (mut short, mut held) = (task, String::new());
    for seconds in ["2", "4", "8"] {
        short = stage.opened("support-bot", CRM, of_acme.clone(), &[("expires_in", seconds)]).await?;
        held = text(
            &stage.redeem("support-bot", &short, CRM, account("acme-1", "acme")).await?.1,
            "access_token",
        );
        if !held.is_empty() {
            break;
        }
    }
    scene.step("minute eleven, with seconds for the ten minutes:");
    wait_for("the end of the task", || async {
        let asked = stage.redeem("support-bot", &short, CRM, account("acme-1", "acme")).await;
        asked.is_ok_and(|(_, reply)| text(&reply, "reason") == "task_expired")
    })
    .await?;
    let dead = !held.is_empty() && !stage.is_alive("support-bot", &held).await?;
    scene.must(dead, "task_expired, and no token of the task has outlived it");
    let answer = stage.account_at_guard("acme", "acme-1", Some(&held)).await?;
    scene.must(
        guards::is_refused(&answer, 401, "subject_token_expired"),
        format!("the token that the bot still holds, at the guard: {}", guards::told(&answer)),
    );
    Ok(scene)
}
