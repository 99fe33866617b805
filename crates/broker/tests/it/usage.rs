//! `/v1/usage` and `/v1/reports/unused`: what guards report, who may, and what is concluded of it.

use std::collections::{BTreeMap, BTreeSet};

use broker::Role;
use delegation::details::{ActionRule, Detail, DetailType, IdentifierRule, Standing};
use delegation::oauth::{AudienceId, ClientId, Scope};
use delegation::registry::{Receives, Snapshot};
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply, seconds};

on_both_engines!(
    what_is_reported_is_added_up_once_and_told_beside_what_was_granted,
    what_nobody_reports_is_not_called_unused,
    no_day_grows_without_end_and_what_is_old_is_forgotten,
    a_name_of_any_length_is_kept_and_told_from_others,
);

const TICKETS: &str = "https://tickets.internal";
const NOTES: &str = "https://notes.internal";
/// In the name of a rule this reads like the tickets.
const ALIKE: &str = "https://tickets-internal";

const ANYWHERE: ActionRule = ActionRule {
    identifier: IdentifierRule::Required,
    constraints: BTreeSet::new(),
};

/// A broker at which orders guards the tickets, with a token for that.
async fn guarded(engine: Engine) -> (Installation, String) {
    let usual = plan();
    let change = Box::new(|snapshot: &mut Snapshot| {
        (usual.change)(snapshot);
        let place = DetailType {
            name: "urn:x:place".to_owned(),
            entity: "Place".to_owned(),
            actions: ["go", "stay"].map(|action| (action.to_owned(), ANYWHERE)).into(),
            constraints: BTreeMap::new(),
        };
        snapshot.types = snapshot.types.iter().cloned().chain([place]).collect();
        let places = Detail::parse_short("urn%3Ax%3Aplace:go,stay", &snapshot.types, Standing::Ceiling).unwrap();
        snapshot.scopes.get_mut(&Scope::parse("tickets.full").unwrap()).unwrap().push(places);
        let tickets = snapshot.audiences.get_mut(&AudienceId::parse(TICKETS).unwrap()).unwrap();
        tickets.detail_types.insert("urn:x:place".to_owned());
        // Both receive the tickets' tokens; orders alone runs a data plane.
        for client in ["orders", "stranger"] {
            let receives = |audience: &str| Receives {
                issuer_name: None,
                audience: audience.to_owned(),
            };
            snapshot.clients.get_mut(&ClientId::parse(client).unwrap()).unwrap().receives = [TICKETS, NOTES, ALIKE].map(receives).into();
        }
    });
    let narrows = Installation::of(Plan {
        engine,
        change,
        rules: format!(
            "{}\n@id(\"more\") permit (principal, action == Action::\"ticket:update\", resource);\n\
             @id(\"places\") permit (principal, action in Action::\"urn:x:place:any\", resource);\n\
             @id(\"unused-edge-notes-internal-ticket-update\") forbid (principal == Workload::\"stranger\", action == Action::\"ticket:list\", resource);",
            usual.rules
        ),
        ..plan()
    })
    .await;
    let token = own_token(&narrows, "orders", "narrows.data_plane").await;
    (narrows, token)
}

fn millis() -> i64 {
    seconds() * 1000
}

/// Sums of one route, as a guard has them.
fn sum(changes: &Value) -> Value {
    with(
        json!({
            "client": "edge", "audience": TICKETS, "route": "GET /tickets/{id}", "requests": 30, "tokens": 1,
            "actions": [{ "name": "ticket:read", "granted": 30, "used": 30 }, { "name": "ticket:update", "granted": 30, "used": 0 }],
            "wider": [{ "name": "ticket identifier", "count": 2 }], "surplus": [{ "name": "action", "count": 4 }], "refused": 4,
            "life": 120, "age": 11, "ages": [{ "most": 5, "count": 26 }, { "most": 15, "count": 4 }],
        }),
        changes,
    )
}

fn with(mut value: Value, changes: &Value) -> Value {
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    value
}

fn batch(id: &str, sums: &Value) -> Value {
    json!({ "batch": id, "service": "tickets", "from": millis() - 600_000, "until": millis() + 200_000_000, "sums": sums })
}

async fn report(narrows: &Installation, token: &str, batch: &Value) -> Reply {
    narrows.ask("POST", "/v1/usage", token, Some(batch)).await
}

async fn unused(narrows: &Installation, auditor: &str, query: &str) -> Value {
    let reply = narrows.ask("GET", &format!("/v1/reports/unused{query}"), auditor, None).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body
}

fn of<'r>(report: &'r Value, client: &str, audience: &str) -> &'r Value {
    let mut items = report["items"].as_array().unwrap().iter();
    items
        .find(|item| item["client"] == client && item["audience"] == audience)
        .unwrap_or_else(|| panic!("{report}"))
}

async fn what_is_reported_is_added_up_once_and_told_beside_what_was_granted(engine: Engine) {
    let (narrows, guard) = guarded(engine).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let details = r#"[{"type":"ticket","actions":["read","update"],"identifier":"42"}]"#;
    let minted = narrows.exchange(&[("authorization_details", details)]).await;
    assert_eq!(minted.status, 200, "{:?}", minted.body);

    // One batch twice is one; another adds to it, but for what is greatest.
    let first = batch("a-1", &json!([sum(&json!({}))]));
    for _ in 0..2 {
        let kept = report(&narrows, &guard, &first).await;
        assert_eq!((kept.status, &kept.body), (200, &json!({ "accepted": true })));
    }
    let second = batch(
        "a-2",
        &json!([
            sum(
                &json!({ "requests": 5, "tokens": 0, "life": 60, "age": 12, "actions": [{ "name": "ticket:read", "granted": 5, "used": 5 }] })
            ),
            sum(&json!({ "route": "other" }))
        ]),
    );
    assert_eq!(report(&narrows, &guard, &second).await.status, 200);

    let told = unused(&narrows, &auditor, "").await;
    let item = of(&told, "edge", TICKETS);
    assert_eq!((&item["reported"], &item["requests"]), (&json!(true), &json!(65)), "{item}");
    assert_eq!(
        item["actions"],
        json!([{ "name": "ticket:read", "granted": 1, "used": 65 }, { "name": "ticket:update", "granted": 1, "used": 0 }])
    );
    assert_eq!(item["tokens"], json!({ "minted": 1, "shown": 2, "never_shown": 0 }));
    let route = &item["routes"][0];
    assert_eq!(
        (&route["service"], &route["route"], &route["requests"], &route["refused"]),
        (&json!("tickets"), &json!("GET /tickets/{id}"), &json!(35), &json!(8))
    );
    assert_eq!((&route["life"], &route["age"]), (&json!(120), &json!(12)));
    assert_eq!(route["surplus"], json!([{ "name": "action", "count": 8 }]));
    let about: Vec<_> = item["mend"].as_array().unwrap().iter().map(|mend| mend["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["ticket:update", "ticket identifier"]);
    let paste: Vec<_> = item["mend"][0]["paste"]
        .as_array()
        .unwrap()
        .iter()
        .map(|paste| paste["text"].as_str().unwrap())
        .collect();
    assert_eq!(paste[0], "ticket:read");
    assert!(
        paste[1].contains("forbid (principal == Workload::\"edge\", action == Action::\"ticket:update\", resource)")
            && paste[1].contains("Audience::\"https://tickets.internal\" && !context.onward"),
        "{}",
        paste[1]
    );
    let lifetime = &told["lifetimes"][0];
    assert_eq!((&lifetime["life"], &lifetime["age"]), (&json!(120), &json!(12)));
    assert_eq!(lifetime["mend"][0]["paste"][0]["text"], json!("max_lifetime = \"30s\""));
    let reporting = &told["reporting"][0];
    assert_eq!((&reporting["service"], &reporting["client"]), (&json!("tickets"), &json!("orders")));
    assert!(
        reporting["until"].as_i64().unwrap() <= millis() + 1000,
        "no guard is ahead of us: {reporting}"
    );

    // Of one client, of one audience, of another time.
    assert_eq!(unused(&narrows, &auditor, "?client=nobody").await["items"], json!([]));
    assert_eq!(
        unused(&narrows, &auditor, "?audience=https://else.internal").await["items"],
        json!([])
    );
    let of_edge = unused(&narrows, &auditor, "?client=edge").await;
    assert_eq!(
        (of(&of_edge, "edge", TICKETS), &of_edge["lifetimes"][0]["mend"]),
        (item, &json!([]))
    );
    assert_eq!(unused(&narrows, &auditor, "?since=0&until=1").await["items"], json!([]));
    for (query, key) in [("?client=", "`client`"), ("?audience=", "`audience`")] {
        let refused = narrows.ask("GET", &format!("/v1/reports/unused{query}"), &auditor, None).await;
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(refused.status == 400 && detail.starts_with(key), "{query}: {:?}", refused.body);
    }

    // Days are whole: as one begins, all that was granted in it is told, as is all that was used.
    let day = 24 * 60 * 60 * 1000;
    let until = told["until"].as_i64().unwrap();
    assert_eq!((told["since"].as_i64().unwrap() % day, until % day), (0, day - 1));
    let begun = unused(&narrows, &auditor, &format!("?until={}", until + 1 - day)).await;
    assert_eq!((of(&begun, "edge", TICKETS), &begun["until"]), (item, &told["until"]));

    // What found no room might have been what is missed.
    let full = with(batch("a-3", &json!([sum(&json!({ "route": "third" }))])), &json!({ "others": 3 }));
    assert_eq!(report(&narrows, &guard, &full).await.status, 200);
    let told = unused(&narrows, &auditor, "").await;
    assert_eq!(
        (&of(&told, "edge", TICKETS)["mend"], &told["lifetimes"][0]["mend"]),
        (&json!([]), &json!([]))
    );
}

async fn what_nobody_reports_is_not_called_unused(engine: Engine) {
    let (narrows, guard) = guarded(engine).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    for _ in 0..25 {
        assert_eq!(narrows.exchange(&[]).await.status, 200);
    }
    let told = unused(&narrows, &auditor, "").await;
    let item = of(&told, "edge", TICKETS);
    assert_eq!(
        (&item["reported"], &item["requests"], &item["mend"]),
        (&json!(false), &json!(null), &json!([]))
    );
    assert_eq!(item["actions"], json!([{ "name": "ticket:read", "granted": 25, "used": null }]));
    assert_eq!(item["tokens"], json!({ "minted": 25, "shown": null, "never_shown": null }));

    // Of few requests nothing is concluded; nor where some rows found no room.
    for (id, changes) in [
        ("b-1", json!({ "requests": 19, "actions": [] })),
        ("b-2", json!({ "requests": 2_000, "others": 1 })),
    ] {
        assert_eq!(report(&narrows, &guard, &batch(id, &json!([sum(&changes)]))).await.status, 200);
        let told = unused(&narrows, &auditor, "").await;
        assert_eq!(of(&told, "edge", TICKETS)["mend"], json!([]), "{changes}");
    }
}

#[tokio::test]
async fn only_data_planes_report_and_only_of_tokens_that_they_receive() {
    let (narrows, guard) = guarded(Engine::sqlite()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let admin = operator(&narrows, "bob", &[Role::Admin, Role::Approver, Role::Responder]).await;
    let right = batch("a", &json!([sum(&json!({}))]));
    for (token, status) in [
        (own_token(&narrows, "stranger", "narrows.data_plane").await, 403),
        (own_token(&narrows, "orders", "profile").await, 403),
        (auditor.clone(), 403),
        (admin.clone(), 403),
        ("x".to_owned(), 401),
        (narrows.exchange(&[]).await.text("access_token").to_owned(), 401),
    ] {
        assert_eq!(report(&narrows, &token, &right).await.status, status);
    }
    let of_others = batch(
        "a",
        &json!([sum(&json!({})), sum(&json!({ "audience": "https://orders.internal" }))]),
    );
    assert_eq!(report(&narrows, &guard, &of_others).await.text("reason"), "not_permitted");
    for token in [&guard, &admin] {
        assert_eq!(narrows.ask("GET", "/v1/reports/unused", token, None).await.status, 403);
    }
    assert_eq!(
        unused(&narrows, &auditor, "").await["reporting"],
        json!([]),
        "nothing of it was kept"
    );
    assert_eq!(report(&narrows, &guard, &right).await.status, 200);
}

#[tokio::test]
async fn a_batch_is_read_whole_before_any_of_it_is_kept() {
    let (narrows, guard) = guarded(Engine::sqlite()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let rows = |count: usize| Value::from_iter((0..count).map(|name| json!({ "name": format!("ticket:{name}"), "granted": 1 })));
    for wrong in [
        json!({ "client": "" }),
        json!({ "client": "a\u{0}b" }),
        json!({ "audience": null }),
        json!({ "route": "a\nb" }),
        json!({ "route": "x".repeat(4_097) }),
        json!({ "requests": -1 }),
        json!({ "requests": 1.5 }),
        json!({ "requests": 1_000_000_001 }),
        json!({ "request": 1 }),
        json!({ "actions": {} }),
        json!({ "actions": [{ "name": "a", "granted": 1, "count": 1 }] }),
        json!({ "actions": rows(65) }),
        json!({ "wider": [{ "count": 1 }] }),
        json!({ "ages": [{ "count": 1 }] }),
        json!({ "route": "GET /", "refused": 31 }),
        json!({ "route": "GET /", "requests": 29, "refused": 0 }),
        json!({ "route": "GET /", "scopes": [{ "name": "profile", "granted": 30, "used": 31 }] }),
        json!({ "route": "GET /", "scopes": [{ "name": "profile", "granted": 20, "used": 20 }, { "name": "profile", "granted": 20, "used": 20 }] }),
    ] {
        let batch = batch("a", &json!([sum(&json!({})), sum(&wrong)]));
        assert_eq!(
            report(&narrows, &guard, &batch).await.text("reason"),
            "malformed_request",
            "{wrong}"
        );
    }
    let right = batch("a", &json!([sum(&json!({ "actions": rows(64) }))]));
    for wrong in [
        json!({ "sums": [] }),
        json!({ "batch": "" }),
        json!({ "from": "today" }),
        json!({ "until": -1 }),
        json!({ "from": 1_764_150_000_001_i64, "until": 1_764_150_000_000_i64 }),
        json!({ "service": null }),
        json!({ "others": -1 }),
        json!({ "more": 1 }),
    ] {
        assert_eq!(
            report(&narrows, &guard, &with(right.clone(), &wrong)).await.text("reason"),
            "malformed_request",
            "{wrong}"
        );
    }
    let large = batch(
        "a",
        &Value::from_iter((0..2_000).map(|route| sum(&json!({ "route": format!("{route}-{}", "x".repeat(400)) })))),
    );
    assert_eq!(report(&narrows, &guard, &large).await.text("reason"), "too_large");
    assert_eq!(
        unused(&narrows, &auditor, "").await["reporting"],
        json!([]),
        "nothing of it was kept"
    );
    assert_eq!(report(&narrows, &guard, &right).await.status, 200);
}

/// Fills this day of the store.
const FULL: &str = "INSERT INTO usage_days (day, audience, service, client, route, what, name, granted, used) \
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 60000) \
    SELECT DAY, 'https://tickets.internal', 'tickets', 'edge', CAST(x AS TEXT), 'request', '', 1, 1 FROM n";

async fn facts(engine: &Engine) -> i64 {
    let count = "SELECT COUNT(*) FROM usage_days";
    match engine {
        Engine::Sqlite(folder) => {
            use sqlx::{ConnectOptions, Connection, Row};
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("narrows.db"));
            let mut connection = file.connect().await.unwrap();
            let row = sqlx::query(count).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            row.get(0)
        }
        Engine::Postgres(database) => database.run(count).trim().parse().unwrap(),
    }
}

async fn no_day_grows_without_end_and_what_is_old_is_forgotten(engine: Engine) {
    let (narrows, guard) = guarded(engine).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let today = seconds() / 86_400;
    // In front of those of which part cannot be read.
    let first = batch("a-0", &json!([sum(&json!({ "client": "aaa" }))]));
    assert_eq!(report(&narrows, &guard, &first).await.status, 200);
    let there = facts(&narrows.engine).await;
    narrows.engine.run(&FULL.replace("DAY", &today.to_string())).await;
    let told = unused(&narrows, &auditor, "").await;
    assert_eq!((&told["complete"], &told["lifetimes"][0]["mend"]), (&json!(false), &json!([])));
    let [item] = told["items"].as_array().unwrap().as_slice() else {
        panic!("{told}")
    };
    assert_eq!((&item["client"], &item["mend"]), (&json!("aaa"), &json!([])));

    for id in ["a-1", "a-2"] {
        assert_eq!(report(&narrows, &guard, &batch(id, &json!([sum(&json!({}))]))).await.status, 200);
    }
    let others = facts(&narrows.engine).await - there - 60_000;
    assert_eq!(others, 2, "who reports, and that something found no room");
    let there = facts(&narrows.engine).await;
    let elsewhere = batch("a-3", &json!([sum(&json!({ "audience": NOTES }))]));
    assert_eq!(report(&narrows, &guard, &elsewhere).await.status, 200);
    assert!(
        facts(&narrows.engine).await > there + 2,
        "a guard fills the day of its own audience alone"
    );

    // A day that is too old goes while the log is written; the oldest that is kept stays.
    narrows.engine.run("DELETE FROM usage_days").await;
    for day in [today - 91, today - 90] {
        let one = format!("INSERT INTO usage_days VALUES ({day}, '{TICKETS}', 'tickets', 'edge', '', 'request', '', 1, 1)");
        narrows.engine.run(&one).await;
    }
    for _ in 0..1_000 {
        narrows.exchange(&[]).await;
        if facts(&narrows.engine).await == 1 {
            break;
        }
    }
    let told = unused(&narrows, &auditor, "?since=0").await;
    assert_eq!(
        (facts(&narrows.engine).await, &of(&told, "edge", TICKETS)["routes"][0]["requests"]),
        (1, &json!(1))
    );
}

/// An index of PostgreSQL takes no long keys, and a guard whose batch is refused could never report again.
async fn a_name_of_any_length_is_kept_and_told_from_others(engine: Engine) {
    let long = |from: u64, length: usize| -> String {
        let digests = (from..).flat_map(|at| delegation::token::sha256(&at.to_be_bytes()));
        digests.take(length).map(|byte| char::from(b'a' + byte % 26)).collect()
    };
    let audience = long(1, 1_024);
    let receives = vec![Receives {
        issuer_name: None,
        audience: audience.clone(),
    }];
    let usual = plan();
    let change = Box::new(|snapshot: &mut Snapshot| {
        (usual.change)(snapshot);
        snapshot.clients.get_mut(&ClientId::parse("orders").unwrap()).unwrap().receives = receives;
    });
    let narrows = Installation::of(Plan {
        engine,
        change,
        rules: usual.rules,
        ..plan()
    })
    .await;
    let guard = own_token(&narrows, "orders", "narrows.data_plane").await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    // They differ behind what is kept, in the midst of a character.
    let route = format!("{}é{}", long(100, 492), long(200, 3_000));
    let rows = json!([{ "name": long(300, 4_096), "granted": 30, "used": 1 }]);
    let of = |route: String| {
        sum(
            &json!({ "client": long(400, 255), "audience": audience, "route": route, "actions": rows, "scopes": rows, "wider": [], "surplus": [] }),
        )
    };
    let sums = json!([of(format!("{route}a")), of(format!("{route}b"))]);
    let batch = with(batch(&long(500, 4_096), &sums), &json!({ "service": long(600, 4_096) }));
    for _ in 0..2 {
        let kept = report(&narrows, &guard, &batch).await;
        assert_eq!(kept.status, 200, "{:?}", kept.body);
    }
    let told = unused(&narrows, &auditor, "").await;
    let routes = told["items"][0]["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 2, "{told}");
    for route in routes {
        assert!(route["route"].as_str().unwrap().len() <= 512 && route["requests"] == 30, "{route}");
    }
}

/// Whoever holds the credential of a guard has no say in a rule.
#[tokio::test]
async fn what_a_guard_calls_an_action_is_not_pasted() {
    let (narrows, guard) = guarded(Engine::sqlite()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let evil = "ticket:read\", resource); permit (principal, action, resource); //";
    let rows = json!([
        { "name": evil, "granted": 30, "used": 0 },
        { "name": format!("ticket:x{evil}"), "granted": 30, "used": 30 },
        { "name": "ticket:update", "granted": 30, "used": 0 },
    ]);
    let scopes = json!([{ "name": evil, "granted": 30, "used": 0 }]);
    let sums = json!([sum(&json!({ "actions": rows, "scopes": scopes }))]);
    assert_eq!(report(&narrows, &guard, &batch("a", &sums)).await.status, 200);
    let told = unused(&narrows, &auditor, "").await;
    let mend = &of(&told, "edge", TICKETS)["mend"];
    assert!(
        mend.to_string().contains("forbid (principal") && !mend.to_string().contains("permit"),
        "{mend}"
    );
}

/// What a token carries for a later hop no guard sees; the log knows whether it was exchanged for that.
#[tokio::test]
async fn what_is_carried_for_a_later_hop_and_never_exchanged_is_told() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let onward = r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#;
    let asks = [
        ("audience", "https://orders.internal"),
        ("authorization_details", ""),
        ("scope", "profile"),
        ("onward", onward),
    ];
    let mut tokens = Vec::new();
    for _ in 0..20 {
        let minted = narrows.exchange(&asks).await;
        assert_eq!(minted.status, 200, "{:?}", minted.body);
        tokens.push(minted.text("access_token").to_owned());
    }
    let told = unused(&narrows, &auditor, "").await;
    let item = of(&told, "edge", "https://orders.internal");
    assert_eq!(item["onward"], json!([{ "name": "ticket:read", "granted": 20, "used": 0 }]));
    assert_eq!(item["mend"][0]["about"], json!("onward ticket:read"));
    assert!(item["mend"][0]["paste"][0]["text"].as_str().unwrap().contains("&& context.onward"));

    let hop = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", tokens[0].as_str()),
    ];
    let next = narrows.exchange(&hop).await;
    assert_eq!(next.status, 200, "{:?}", next.body);
    let told = unused(&narrows, &auditor, "").await;
    let item = of(&told, "edge", "https://orders.internal");
    assert_eq!(item["onward"], json!([{ "name": "ticket:read", "granted": 20, "used": 1 }]));
    assert_eq!(item["mend"], json!([]));
}

/// Audiences that read alike make names that do.
#[tokio::test]
async fn no_two_rules_that_are_proposed_have_one_name() {
    let (narrows, guard) = guarded(Engine::sqlite()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let sums = Value::from_iter([TICKETS, ALIKE, NOTES].map(|audience| sum(&json!({ "audience": audience }))));
    assert_eq!(report(&narrows, &guard, &batch("a", &sums)).await.status, 200);
    let proposed = |told: &Value| -> Vec<String> {
        let named = |audience: &&str| {
            let paste = &of(told, "edge", audience)["mend"][0]["paste"];
            let (rule, case) = (paste[0]["text"].as_str().unwrap(), paste[1]["text"].as_str().unwrap());
            let id = rule.strip_prefix("@id(\"").unwrap().split('"').next().unwrap().to_owned();
            assert!(case.contains(&format!("rules    = [\"{id}\"]")), "{case}");
            id
        };
        [ALIKE, TICKETS, NOTES].iter().map(named).collect()
    };
    let told = unused(&narrows, &auditor, "").await;
    let ids = proposed(&told);
    let plain = "unused-edge-tickets-internal-ticket-update";
    assert_eq!(ids[0], plain, "the first has what is said");
    assert!(ids[1].strip_prefix(plain).is_some_and(|digits| digits.len() == 7), "{ids:?}");
    let there = "unused-edge-notes-internal-ticket-update";
    assert!(ids[2].strip_prefix(there).is_some_and(|digits| digits.len() == 7), "{ids:?}");
    let into = &of(&told, "edge", NOTES)["mend"][0]["paste"][0]["into"];
    assert!(into.as_str().unwrap().contains(there), "{into}");
    assert_eq!(proposed(&unused(&narrows, &auditor, "").await), ids, "the same each time");
}

/// The name of a type may be a URI: it is one in policy, and encoded where something is asked for.
#[tokio::test]
async fn a_type_that_is_a_uri_is_written_as_policy_and_requests_have_it() {
    let (narrows, guard) = guarded(Engine::sqlite()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let details = r#"[{"type":"urn:x:place","actions":["go","stay"],"identifier":"1"}]"#;
    let minted = narrows.exchange(&[("authorization_details", details)]).await;
    assert_eq!(minted.status, 200, "{:?}", minted.body);
    let rows = json!([{ "name": "urn:x:place:go", "granted": 30, "used": 30 }, { "name": "urn:x:place:stay", "granted": 30, "used": 0 }]);
    let sums = json!([sum(&json!({ "actions": rows }))]);
    assert_eq!(report(&narrows, &guard, &batch("a", &sums)).await.status, 200);
    let told = unused(&narrows, &auditor, "").await;
    let item = of(&told, "edge", TICKETS);
    let short: Vec<_> = item["routes"][0]["actions"].as_array().unwrap().iter().map(|row| &row["short"]).collect();
    assert_eq!(short, ["urn%3Ax%3Aplace:go", "urn%3Ax%3Aplace:stay"]);
    let mend = &item["mend"][0];
    let text = |at: usize| mend["paste"][at]["text"].as_str().unwrap_or_else(|| panic!("{item}"));
    assert_eq!(
        (mend["about"].as_str().unwrap(), text(0)),
        ("urn:x:place:stay", "urn%3Ax%3Aplace:go")
    );
    assert!(
        text(1).contains(r#"action == Action::"urn:x:place:stay", resource)"#),
        "{}",
        text(1)
    );
    assert!(text(2).contains(r#"details  = ["urn%3Ax%3Aplace:stay/1"]"#), "{}", text(2));
}
