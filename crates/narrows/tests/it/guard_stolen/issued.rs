//! What the broker itself issued: for something else, for somebody else, or for a time that is over.

use serde_json::{Value, json};
use testkit::FakeIssuer;

use super::{Acme, DETAIL, DISABLED, ELSEWHERE, EXPIRED, INVALID, OVERBROAD, REVOKED, Stolen, WIDER, until};
use crate::boundary::claims;
use crate::guard::TICKETS;

/// Of somebody else.
const NOTES: &str = "https://notes.internal";
/// How many of each kind.
const EACH: usize = 5;

/// The one that was made for the request.
pub(super) fn honest(acme: &Acme) -> String {
    exchanged(acme, "edge", &acme.guarded.alice, TICKETS, &[DETAIL], &[])
}

pub(super) fn all(acme: &Acme) -> Vec<Stolen> {
    let (alice, bob) = (acme.guarded.alice.clone(), person(&acme.issuer, "bob"));
    let ours = |client: &str, person: &str, details: &[&str], more: &[&str]| exchanged(acme, client, person, TICKETS, details, more);
    let mut all = Vec::new();
    let mut add = |kind, expected, make: &dyn Fn(usize) -> String| {
        let tokens: Vec<_> = (0..EACH).map(make).collect();
        all.extend(tokens.iter().map(|token| Stolen::new(kind, token.clone(), expected)));
        tokens
    };
    let short = add("time", EXPIRED, &|_| ours("edge", &alice, &[DETAIL], &["--expires-in", "1"]));
    add("audience", ELSEWHERE, &|_| exchanged(acme, "edge", &alice, NOTES, &[DETAIL], &[]));
    add("tenant", WIDER, &|at| {
        ours("edge", &alice, &[&format!("ticket:read/42?tenant=tenant-{at}")], &[])
    });
    add("tenant", OVERBROAD, &|_| ours("edge", &alice, &["ticket:read/42"], &[]));
    add("request", WIDER, &|at| {
        ours("edge", &alice, &[&format!("ticket:read/{at}?tenant=acme")], &[])
    });
    add("too broad", OVERBROAD, &|at| {
        ours("edge", &alice, &[DETAIL, &format!("ticket:read/{at}?tenant=acme")], &[])
    });

    // A task of somebody else, one that has ended, and what stands for a task.
    let ended = task(acme, &alice);
    let of_task = |task: &Value, details: &str| {
        let task = task["access_token"].as_str().unwrap();
        ours("edge", task, &[details], &["--subject-token-type", "task"])
    };
    let last = add("task", REVOKED, &|_| of_task(&ended, DETAIL)).pop().unwrap();
    let others = task(acme, &person(&acme.issuer, "carol"));
    add("task", WIDER, &|_| of_task(&others, "ticket:read/7?tenant=acme"));
    add("task", INVALID, &|_| {
        task(acme, &alice)["access_token"].as_str().unwrap().to_owned()
    });
    acme.run(
        &["task", "complete", ended["task_id"].as_str().unwrap()],
        ended["access_token"].as_str().unwrap(),
    );
    until("the task ends", 401, || acme.shown(&last, "waits"));

    let revoked = add("revoked", REVOKED, &|_| ours("edge", &alice, &[DETAIL], &[]));
    let of_client = add("client", REVOKED, &|_| ours("other", &alice, &[DETAIL], &[]));
    let of_subject = add("subject", DISABLED, &|_| ours("edge", &bob, &[DETAIL], &[]));
    for token in &revoked {
        acme.run(&["revoke", "--jti", claims(token)["jti"].as_str().unwrap()], "");
    }
    // Who is disabled gets no more tokens, and what they have is over.
    for (kind, name) in [("client", "other"), ("subject", "corp|bob")] {
        acme.run(&[kind, "disable", name], "");
    }
    for token in revoked.iter().chain(of_client.last()).chain(of_subject.last()).chain(&short) {
        until("it is over", 401, || acme.shown(token, "waits"));
    }
    all
}

/// What `client` gets for the token of a person or of a task.
fn exchanged(acme: &Acme, client: &str, token: &str, audience: &str, details: &[&str], more: &[&str]) -> String {
    let mut asked = vec!["exchange", "--client", client, "--key", "edge.key", "--audience", audience];
    asked.extend(details.iter().flat_map(|detail| ["--details", detail]));
    asked.extend(more);
    acme.run(&asked, token)
}

/// A task of the edge for two tickets, on behalf of whose token it is.
fn task(acme: &Acme, token: &str) -> Value {
    let asked = [
        "task",
        "start",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        TICKETS,
        "--json",
    ];
    let details = ["--details", "ticket:read/7?tenant=acme", "--details", DETAIL];
    serde_json::from_str(&acme.run(&[asked.as_slice(), &details].concat(), token)).unwrap()
}

/// A token of the identity provider for this person.
fn person(issuer: &FakeIssuer, sub: &str) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iss": issuer.issuer, "sub": sub, "aud": "api://shop", "iat": now - 3600, "exp": now + 600, "jti": sub,
        "client_id": "web", "scope": "tickets.full", "groups": ["support"],
    });
    issuer.sign("at+jwt", &claims)
}
