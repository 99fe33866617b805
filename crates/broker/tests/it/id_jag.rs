//! The assertion grant with an ID-JAG, over HTTP: what it gives, every way in which it is refused, and that it is taken once.

use std::sync::Arc;

use broker::store::{Party, Standing, Store};
use delegation::identity::SubjectKind;
use delegation::oauth::{ClientId, GrantType, TokenType};
use delegation::registry::{Ceiling, Profile, Snapshot};
use delegation::time::Timestamp;
use issuance::audit::{Kind, Record};
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer};

use crate::engine::{Engine, on_both_engines};
use crate::installation::{ASSERTION_TYPE, Installation, RULES, Reply, encode, seconds};

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TICKETS: &str = "https://tickets.internal";

/// Lets the edge use the grant, and corp send what it takes.
pub(crate) fn taken(snapshot: &mut Snapshot) {
    snapshot
        .clients
        .get_mut(&ClientId::parse("edge").unwrap())
        .unwrap()
        .grants
        .insert(GrantType::JwtBearer);
    snapshot.issuers.get_mut(CORP).unwrap().token_types.insert(TokenType::IdJag);
}

async fn start() -> Installation {
    Installation::with(RULES, taken).await
}

/// What a right ID-JAG of alice for the edge says.
pub(crate) fn claims(narrows: &Installation) -> Value {
    json!({
        "iss": CORP, "sub": "alice", "aud": narrows.url, "client_id": "edge", "jti": uuid::Uuid::now_v7().to_string(),
        "iat": seconds() - 5, "exp": seconds() + 300, "scope": "tickets.full profile", "groups": ["support"],
    })
}

fn signed(narrows: &Installation, claims: &Value) -> String {
    narrows.issuer.sign("oauth-id-jag+jwt", claims)
}

fn right(narrows: &Installation) -> String {
    signed(narrows, &claims(narrows))
}

/// Shows `assertion` in a right request with other values; an empty one takes the parameter away.
async fn show(narrows: &Installation, assertion: &str, changes: &[(&str, &str)]) -> Reply {
    let mut form = narrows.form();
    form.retain(|name, _| !name.starts_with("subject_token"));
    form.insert("grant_type".to_owned(), JWT_BEARER.to_owned());
    form.insert("assertion".to_owned(), assertion.to_owned());
    form.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    narrows.post(&encode(&form.into_iter().collect::<Vec<_>>()), &[]).await
}

fn outcome(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.text("error"), reply.text("reason"))
}

const INVALID: (u16, &str, &str) = (400, "invalid_grant", "subject_token_invalid");

#[tokio::test]
async fn an_id_jag_becomes_a_token_as_a_subject_token_would() {
    let narrows = start().await;
    let mut claims = claims(&narrows);
    claims["aud"] = json!([narrows.url]);
    let reply = show(&narrows, &signed(&narrows, &claims), &[("scope", "profile")]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert_eq!((reply.text("token_type"), reply.text("scope")), ("Bearer", "profile"));
    assert!(reply.body.get("refresh_token").is_none());
    let issued = reply.claims();
    assert_eq!(
        (&issued["sub"], &issued["client_id"], &issued["aud"], &issued["act"]),
        (
            &json!("alice"),
            &json!("edge"),
            &json!(TICKETS),
            &json!({ "iss": narrows.url, "sub": "edge" })
        )
    );
    assert_eq!(issued["sub_id"], json!({ "format": "iss_sub", "iss": CORP, "sub": "alice" }));
    let entry = delegation::token::chain_entry(CORP, claims["jti"].as_str(), "");
    assert_eq!(
        issued["chain"],
        json!([entry]),
        "an outside token's entry, so that revoking it kills what came of it"
    );
    let records = narrows.records().await;
    let record = records.last().unwrap();
    assert_eq!(
        (&record["decision"], &record["kind"], &record["parent_jti"], &record["jti"]),
        (&json!("allow"), &json!("exchange"), &claims["jti"], &issued["jti"])
    );
    assert!(
        record.get("requested_by").is_none(),
        "`client_id` names our client, not the outside one"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn what_it_became_is_exchanged_onward_like_any_token_of_ours() {
    let narrows = start().await;
    let first = show(&narrows, &right(&narrows), &[("audience", "https://orders.internal")]).await;
    let changes = [
        ("subject_token", first.text("access_token")),
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
    ];
    let second = narrows.exchange(&changes).await;
    assert_eq!(second.status, 200, "{:?}", second.body);
    assert_eq!(second.claims()["txn"], first.claims()["txn"]);
    assert_eq!(second.claims()["act"]["act"]["sub"], "edge");
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_never_outlives_the_id_jag_it_came_from() {
    let narrows = start().await;
    let mut claims = claims(&narrows);
    claims["exp"] = json!(seconds() + 30);
    let reply = show(&narrows, &signed(&narrows, &claims), &[("expires_in", "120")]).await;
    assert_eq!(reply.claims()["exp"], claims["exp"]);
    assert!(reply.body["expires_in"].as_i64().unwrap() <= 30);
    narrows.stop().await;
}

#[tokio::test]
async fn only_its_own_typ_makes_it_one() {
    let narrows = start().await;
    let as_typ = |typ: Value| {
        let mut header = narrows.issuer.header("");
        header["typ"] = typ;
        if header["typ"].is_null() {
            drop(header.as_object_mut().unwrap().remove("typ"));
        }
        narrows.issuer.sign_raw(header.to_string().as_bytes(), claims(&narrows).to_string().as_bytes())
    };
    for good in ["oauth-id-jag+jwt", "OAuth-ID-JAG+JWT", "application/oauth-id-jag+jwt"] {
        let reply = show(&narrows, &as_typ(json!(good)), &[]).await;
        assert_eq!(reply.status, 200, "{good}: {:?}", reply.body);
    }
    for bad in [
        json!("JWT"),
        json!("at+jwt"),
        json!("client-authentication+jwt"),
        json!("oauth-id-jag"),
        json!("id-jag+jwt"),
        json!("oauth-id-jag+jwt "),
        json!("text/oauth-id-jag+jwt"),
        json!(""),
        json!(null),
    ] {
        assert_eq!(outcome(&show(&narrows, &as_typ(bad.clone()), &[]).await), INVALID, "{bad}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_that_is_wrong_in_anything_is_an_invalid_grant() {
    let narrows = start().await;
    let now = seconds();
    let not_for_client = (400, "invalid_grant", "subject_token_not_for_client");
    let cases: &[(&str, Value, (u16, &str, &str))] = &[
        ("aud", json!([narrows.url, "https://other.example"]), INVALID),
        ("aud", json!([narrows.url, narrows.url]), INVALID),
        ("aud", json!("https://other.example"), INVALID),
        ("aud", json!(format!("{}/oauth2/token", narrows.url)), INVALID),
        ("aud", json!(format!("{}/", narrows.url)), INVALID),
        ("aud", json!([]), INVALID),
        ("aud", Value::Null, INVALID),
        ("client_id", json!("orders"), not_for_client),
        ("client_id", json!("Edge"), not_for_client),
        ("client_id", json!(["edge"]), INVALID),
        ("client_id", json!(""), INVALID),
        ("client_id", Value::Null, INVALID),
        ("jti", json!(""), INVALID),
        ("jti", json!(7), INVALID),
        ("jti", Value::Null, INVALID),
        ("iss", json!("https://unknown.example"), INVALID),
        ("iss", json!(narrows.url), INVALID),
        ("iss", json!(format!("{CORP}/")), INVALID),
        ("sub", Value::Null, INVALID),
        ("sub", json!(""), INVALID),
        ("sub", json!("a\u{0}b"), INVALID),
        ("sub", json!("edge"), INVALID),
        ("exp", json!(now - 1), (400, "invalid_grant", "subject_token_expired")),
        ("exp", json!(now + 24 * 3600 + 60), INVALID),
        ("exp", json!("soon"), INVALID),
        ("exp", Value::Null, INVALID),
        ("iat", json!(now + 120), INVALID),
        ("iat", Value::Null, INVALID),
        ("nbf", json!(now + 120), INVALID),
        ("scope", json!(["tickets.full"]), INVALID),
        ("scope", json!("tickets.full  profile"), INVALID),
        ("resource", json!(7), INVALID),
        ("resource", json!([]), INVALID),
        ("resource", json!([TICKETS, ""]), INVALID),
        ("groups", json!("support"), INVALID),
        ("extra", (0..20).fold(json!(1), |inner, _| json!([inner])), INVALID),
        ("may_act", json!("edge"), INVALID),
        ("may_act", json!({ "sub": "orders" }), (400, "invalid_grant", "may_act_mismatch")),
        ("cnf", json!({ "jkt": "x" }), (400, "invalid_dpop_proof", "invalid_dpop_proof")),
        ("cnf", json!({ "x5t#S256": "x" }), INVALID),
    ];
    for (name, value, expected) in cases {
        let mut claims = claims(&narrows);
        claims[*name] = value.clone();
        if value.is_null() {
            drop(claims.as_object_mut().unwrap().remove(*name));
        }
        let reply = show(&narrows, &signed(&narrows, &claims), &[]).await;
        assert_eq!(outcome(&reply), *expected, "{name} {value}");
    }
    let forged = FakeIssuer::es256(CORP).sign("oauth-id-jag+jwt", &claims(&narrows));
    for bad in [forged.as_str(), "a.b.c", "x", &narrows.user_token()] {
        assert_eq!(outcome(&show(&narrows, bad, &[]).await), INVALID);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn it_is_taken_from_issuers_that_may_send_it_alone() {
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        snapshot.issuers.get_mut(CORP).unwrap().token_types.remove(&TokenType::IdJag);
    })
    .await;
    assert_eq!(outcome(&show(&narrows, &right(&narrows), &[]).await), INVALID);
    narrows.stop().await;
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        snapshot.issuers.get_mut(CORP).unwrap().profile = Some(Profile::Github);
    })
    .await;
    assert_eq!(
        outcome(&show(&narrows, &right(&narrows), &[]).await),
        INVALID,
        "a platform's word names its workload for good, in whatever form"
    );
    narrows.stop().await;
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        snapshot.issuers.get_mut(CORP).unwrap().authenticates_workloads = true;
    })
    .await;
    assert_eq!(
        outcome(&show(&narrows, &right(&narrows), &[]).await),
        (400, "invalid_grant", "subject_token_not_for_client"),
        "what an issuer of workload credentials addresses to us is a credential"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn it_is_no_subject_token_no_actor_token_and_no_client_assertion() {
    let narrows = start().await;
    let id_jag = "urn:ietf:params:oauth:token-type:id-jag";
    for kind in ["access_token", "id_token", "jwt"] {
        let declared = format!("urn:ietf:params:oauth:token-type:{kind}");
        let subject = narrows.exchange(&[("subject_token", &right(&narrows)), ("subject_token_type", &declared)]).await;
        assert_eq!(outcome(&subject), (400, "invalid_request", "subject_token_invalid"), "{kind}");
        let actor = narrows.exchange(&[("actor_token", &right(&narrows)), ("actor_token_type", &declared)]).await;
        assert_eq!(outcome(&actor), (400, "invalid_request", "actor_token_invalid"), "{kind}");
    }
    for changes in [
        [("subject_token", right(&narrows)), ("subject_token_type", id_jag.to_owned())],
        [("actor_token", right(&narrows)), ("actor_token_type", id_jag.to_owned())],
        [("requested_token_type", id_jag.to_owned()), ("scope", String::new())],
    ] {
        let changes = changes.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(
            outcome(&narrows.exchange(&changes).await),
            (400, "invalid_request", "unsupported_token_type")
        );
    }
    let changes = [
        ("client_assertion", &*right(&narrows)),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_secret", ""),
    ];
    assert_eq!(
        outcome(&narrows.exchange(&changes).await),
        (401, "invalid_client", "client_authentication_failed")
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_request_by_assertion_has_one_assertion_one_target_and_no_token_beside_it() {
    let narrows = start().await;
    for changes in [
        ("assertion", ""),
        ("audience", ""),
        ("subject_token", "x"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("actor_token", "x"),
        ("actor_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("expires_in", "-1"),
    ] {
        let reply = show(&narrows, &right(&narrows), &[changes]).await;
        assert_eq!(outcome(&reply), (400, "invalid_request", "malformed_request"), "{changes:?}");
    }
    let two = show(&narrows, &right(&narrows), &[("resource", "https://orders.internal")]).await;
    assert_eq!(outcome(&two), (400, "invalid_target", "several_audiences"));
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_uses_the_grant_only_if_its_entry_says_so() {
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        for client in snapshot.clients.values_mut() {
            client.grants.remove(&GrantType::JwtBearer);
        }
    })
    .await;
    let id_jag = right(&narrows);
    assert_eq!(
        outcome(&show(&narrows, &id_jag, &[]).await),
        (400, "unauthorized_client", "unauthorized_client")
    );
    narrows.stop().await;
}

#[tokio::test]
async fn its_scopes_are_the_ceiling_and_its_act_and_details_mean_nothing() {
    let narrows = start().await;
    let ask = async |name: &str, value: Value, changes: &[(&str, &str)]| {
        let mut claims = claims(&narrows);
        claims[name] = value;
        show(&narrows, &signed(&narrows, &claims), changes).await
    };
    let details = [("authorization_details", ""), ("scope", "profile")];
    let reply = ask("scope", json!("profile"), &[]).await;
    assert_eq!(outcome(&reply), (400, "invalid_authorization_details", "wider_than_subject"));
    assert_eq!(ask("scope", json!("profile"), &details).await.status, 200);
    let reply = ask("scope", json!("tickets.full"), &details).await;
    assert_eq!(outcome(&reply), (400, "invalid_scope", "wider_than_subject"));
    let reply = ask("scope", json!("openid"), &[]).await;
    assert_eq!(outcome(&reply), (400, "invalid_authorization_details", "scope_not_mapped"));
    let mut only_details = claims(&narrows);
    drop(only_details.as_object_mut().unwrap().remove("scope"));
    only_details["authorization_details"] = json!([{ "type": "ticket", "actions": ["read"], "identifier": "42" }]);
    let reply = show(&narrows, &signed(&narrows, &only_details), &[]).await;
    assert_eq!(outcome(&reply), (400, "invalid_authorization_details", "wider_than_subject"));
    let acted = ask("act", json!({ "iss": narrows.url, "sub": "orders" }), &[]).await;
    assert_eq!(acted.claims()["act"], json!({ "iss": narrows.url, "sub": "edge" }));
    let own = ask("chain", json!(["another-token"]), &[("onward", "")]).await;
    assert_eq!(own.claims()["chain"].as_array().map(Vec::len), Some(1));
    narrows.stop().await;
}

#[tokio::test]
async fn its_scopes_are_in_scope_whatever_access_tokens_of_its_issuer_call_them() {
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        "scp".clone_into(&mut snapshot.issuers.get_mut(CORP).unwrap().scope_claim);
    })
    .await;
    assert_eq!(show(&narrows, &right(&narrows), &[]).await.status, 200);
    let mut claims = claims(&narrows);
    claims["scp"] = claims.as_object_mut().unwrap().remove("scope").unwrap();
    let reply = show(&narrows, &signed(&narrows, &claims), &[]).await;
    assert_eq!(outcome(&reply), (400, "invalid_authorization_details", "wider_than_subject"));
    narrows.stop().await;
}

#[tokio::test]
async fn under_policy_alone_it_needs_no_scope() {
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        snapshot.issuers.get_mut(CORP).unwrap().ceiling = Ceiling::Policy;
    })
    .await;
    let mut claims = claims(&narrows);
    drop(claims.as_object_mut().unwrap().remove("scope"));
    assert_eq!(show(&narrows, &signed(&narrows, &claims), &[]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn an_application_is_no_subject_of_people_and_one_of_workloads() {
    let narrows = Installation::with(RULES, |snapshot| {
        taken(snapshot);
        snapshot.issuers.get_mut(CORP).unwrap().subject = SubjectKind::Workload;
    })
    .await;
    let mut claims = claims(&narrows);
    claims["sub"] = json!("billing-job");
    claims["azp"] = json!("billing-job");
    assert_eq!(show(&narrows, &signed(&narrows, &claims), &[]).await.status, 200);
    narrows.stop().await;
    let narrows = start().await;
    claims["aud"] = json!(narrows.url);
    claims["jti"] = json!("another");
    assert_eq!(outcome(&show(&narrows, &signed(&narrows, &claims), &[]).await), INVALID);
    narrows.stop().await;
}

#[tokio::test]
async fn the_resources_that_it_names_are_the_only_targets() {
    let narrows = start().await;
    for (resource, is_open) in [
        (json!(TICKETS), true),
        (json!(["https://orders.internal", TICKETS]), true),
        (json!("https://orders.internal"), false),
        (json!([format!("{TICKETS}/")]), false),
    ] {
        let mut claims = claims(&narrows);
        claims["resource"] = resource.clone();
        let reply = show(&narrows, &signed(&narrows, &claims), &[]).await;
        let expected = if is_open {
            (200, "", "")
        } else {
            (400, "invalid_target", "audience_closed")
        };
        assert_eq!(outcome(&reply), expected, "{resource}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn policy_and_standing_have_their_say() {
    let narrows = start().await;
    let thirteen = json!([{ "type": "ticket", "actions": ["read"], "identifier": "13" }]).to_string();
    let reply = show(&narrows, &right(&narrows), &[("authorization_details", &thirteen)]).await;
    assert_eq!(outcome(&reply), (400, "invalid_authorization_details", "policy_denied"));
    let store = Store::open(&narrows.broker.settings().store).await.unwrap();
    let alice = Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    let record = Record::new("d-disable".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator);
    store.set_standing(&alice, Standing::Disabled, record).await.unwrap();
    narrows.broker.tend().await;
    let reply = show(&narrows, &right(&narrows), &[]).await;
    assert_eq!(outcome(&reply), (400, "invalid_grant", "subject_disabled"));
    narrows.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_person_is_not_given_by_another_grant() {
    // TEX-052: a hold refuses by every way to the same authority.
    let rules = r#"
@id("tickets-are-read") permit (principal, action == Action::"ticket:read", resource is Detail::Ticket);
@id("a-person-decides") @requires("approval") forbid (principal, action == Action::"ticket:read", resource is Detail::Ticket);
"#;
    let narrows = Installation::with(rules, taken).await;
    let refused = (400, "invalid_authorization_details", "policy_denied");
    assert_eq!(outcome(&narrows.exchange(&[]).await), refused);
    assert_eq!(outcome(&show(&narrows, &right(&narrows), &[]).await), refused);
    let itself = [
        ("grant_type", "client_credentials"),
        ("subject_token", ""),
        ("subject_token_type", ""),
    ];
    assert_eq!(outcome(&narrows.exchange(&itself).await), refused);
    narrows.stop().await;
}

#[tokio::test]
async fn a_second_showing_is_an_invalid_grant_whatever_came_of_the_first() {
    let narrows = start().await;
    let id_jag = right(&narrows);
    assert_eq!(show(&narrows, &id_jag, &[]).await.status, 200);
    assert_eq!(outcome(&show(&narrows, &id_jag, &[]).await), INVALID);
    for (changes, reason) in [
        (("audience", "https://unknown.internal"), "unknown_audience"),
        (("scope", "admin"), "wider_than_subject"),
        (
            (
                "authorization_details",
                r#"[{"type":"ticket","actions":["read"],"identifier":"13"}]"#,
            ),
            "policy_denied",
        ),
    ] {
        let id_jag = right(&narrows);
        assert_eq!(show(&narrows, &id_jag, &[changes]).await.text("reason"), reason);
        assert_eq!(
            outcome(&show(&narrows, &id_jag, &[changes]).await),
            INVALID,
            "refused twice: {changes:?}"
        );
        assert_eq!(outcome(&show(&narrows, &id_jag, &[]).await), INVALID, "{changes:?}");
    }
    let records = narrows.records().await;
    let replay = records.last().unwrap();
    assert_eq!(
        (&replay["decision"], &replay["reason"], &replay["subject"]["sub"]),
        (&json!("deny"), &json!("subject_token_invalid"), &json!("alice"))
    );
    narrows.stop().await;
}

#[tokio::test]
async fn one_with_the_same_jti_is_the_same_one_unless_another_issuer_made_it() {
    let narrows = start().await;
    let mut claims = claims(&narrows);
    assert_eq!(show(&narrows, &signed(&narrows, &claims), &[]).await.status, 200);
    claims["sub"] = json!("bob");
    assert_eq!(outcome(&show(&narrows, &signed(&narrows, &claims), &[]).await), INVALID);
    let partner = FakeIssuer::es256("https://partner.example");
    narrows
        .trust(&partner, "partner", |snapshot| {
            taken(snapshot);
            snapshot.issuers.get_mut("https://partner.example").unwrap().token_types.insert(TokenType::IdJag);
        })
        .await;
    claims["iss"] = json!("https://partner.example");
    let reply = show(&narrows, &partner.sign("oauth-id-jag+jwt", &claims), &[]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    narrows.stop().await;
}

#[tokio::test]
async fn one_that_the_client_could_not_have_used_is_not_used_up() {
    let narrows = start().await;
    let claims = claims(&narrows);
    let forged = FakeIssuer::es256(CORP).sign("oauth-id-jag+jwt", &claims);
    assert_eq!(outcome(&show(&narrows, &forged, &[]).await), INVALID);
    let mut other = claims.clone();
    other["client_id"] = json!("orders");
    let stolen = show(&narrows, &signed(&narrows, &other), &[]).await;
    assert_eq!(stolen.text("reason"), "subject_token_not_for_client");
    assert_eq!(show(&narrows, &signed(&narrows, &claims), &[]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn of_a_clients_assertion_and_its_grant_each_is_used_up_by_what_it_was_shown_with() {
    let narrows = start().await;
    let with = async |client_assertion: &str, id_jag: &str| {
        let changes = [
            ("client_secret", ""),
            ("client_assertion", client_assertion),
            ("client_assertion_type", ASSERTION_TYPE),
        ];
        show(&narrows, id_jag, &changes).await
    };
    let unauthenticated = (401, "invalid_client", "client_authentication_failed");
    let (first, second, third) = (narrows.assertion(&[]), narrows.assertion(&[]), narrows.assertion(&[]));
    let (one, other) = (right(&narrows), right(&narrows));
    assert_eq!(with(&first, &one).await.status, 200);
    assert_eq!(
        outcome(&with(&first, &other).await),
        unauthenticated,
        "the client's own comes first"
    );
    assert_eq!(outcome(&with(&first, &one).await), unauthenticated);
    assert_eq!(
        outcome(&with(&second, &one).await),
        INVALID,
        "the grant again, with a fresh assertion"
    );
    assert_eq!(outcome(&with(&second, &other).await), unauthenticated, "which that refusal used up");
    assert_eq!(
        with(&third, &other).await.status,
        200,
        "nobody who authenticated had shown this one"
    );
    narrows.stop().await;
}

on_both_engines!(of_64_showings_at_once_one_gets_a_token);

async fn of_64_showings_at_once_one_gets_a_token(engine: Engine) {
    let narrows = Arc::new(Installation::on_with(engine, taken).await);
    let id_jag: Arc<str> = right(&narrows).into();
    let shown = (0..64).map(|_| {
        let (narrows, id_jag) = (Arc::clone(&narrows), Arc::clone(&id_jag));
        tokio::spawn(async move { show(&narrows, &id_jag, &[]).await })
    });
    let mut issued = Vec::new();
    for each in shown.collect::<Vec<_>>() {
        let reply = each.await.unwrap();
        if reply.status == 200 {
            issued.push(reply.claims()["jti"].clone());
        } else {
            assert_eq!(outcome(&reply), INVALID);
        }
    }
    assert_eq!(issued.len(), 1);
    let records = narrows.records().await;
    let allowed: Vec<_> = records
        .iter()
        .filter(|record| record["decision"] == "allow")
        .map(|record| record["jti"].clone())
        .collect();
    assert_eq!(
        (allowed, records.iter().filter(|record| record["decision"] == "deny").count()),
        (issued, 63)
    );
    Arc::into_inner(narrows).unwrap().stop().await;
}

#[tokio::test]
async fn without_the_issuers_keys_nothing_is_decided() {
    let narrows = start().await;
    std::fs::remove_file(narrows.folder.path().join("corp.json")).unwrap();
    let reply = show(&narrows, &right(&narrows), &[]).await;
    assert_eq!(outcome(&reply), (503, "temporarily_unavailable", "issuer_unavailable"));
    narrows.stop().await;
}

#[tokio::test]
async fn metadata_names_the_grant_and_its_one_profile() {
    let narrows = start().await;
    let (_, _, body) = narrows.get("/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&body).unwrap();
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&json!(JWT_BEARER)), "{grants:?}");
    assert_eq!(
        metadata["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    narrows.stop().await;
}
