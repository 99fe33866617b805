//! What a guard looks at, one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delegation::revocation::{Disabled, Key, MarkKind, PartyKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::check::{At, Use, Verdict};
use narrows_guard::route::Demand;
use narrows_guard::surplus::Excess;
use narrows_guard::{Body, Call, Guard, GuardError, Sender, Settings};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, now};

use crate::guarded::{AUDIENCE, ISSUER, at, bearer, build, call, claims, decided, reader, refused, settings, token, with, word};
use crate::service::{demand, route};

#[test]
fn a_right_token_goes_on_with_what_it_says() {
    let moment = at();
    let Verdict::Allowed(allowed) = reader().check(&call(), &bearer(&token(&claims())), &moment) else {
        panic!("it is right");
    };
    assert_eq!(
        (allowed.sub.as_str(), allowed.jti.as_str(), allowed.task.as_deref()),
        ("alice", "t-2", Some("k-1"))
    );
    assert_eq!(allowed.act.as_ref().unwrap().iter().next().unwrap().sub, "agent");
    assert_eq!(allowed.needs().route, "GET /r/{id}");
}

#[test]
fn a_public_route_needs_no_token_and_no_route_takes_none() {
    let (guard, headers) = (reader(), HeaderMap::new());
    let to = |target: &[u8]| Call::parse("GET", b"tickets.internal", target, &headers, Body::Absent).unwrap();
    assert_eq!(word(&guard.check(&to(b"/healthz"), &headers, &at())), "public");
    assert_eq!(
        word(&guard.check(&to(b"/healthz?access_token=a"), &headers, &at())),
        "malformed_request"
    );
    assert_eq!(
        word(&guard.check(&to(b"/elsewhere"), &bearer(&token(&claims())), &at())),
        "no_route"
    );
    assert_eq!(word(&guard.check(&call(), &headers, &at())), "no_token");
    let elsewhere = Call::parse("GET", b"other.internal", b"/r/7", &headers, Body::Absent).unwrap();
    assert_eq!(word(&guard.check(&elsewhere, &bearer(&token(&claims())), &at())), "no_route");
}

#[test]
fn one_credential_is_shown_in_one_place() {
    let (guard, right) = (reader(), token(&claims()));
    let mut twice = bearer(&right);
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
    assert_eq!(word(&guard.check(&call(), &twice, &at())), "malformed_request");
    let mut beside = bearer(&right);
    beside.insert("x-token", HeaderValue::try_from(right.as_str()).unwrap());
    assert_eq!(word(&guard.check(&call(), &beside, &at())), "malformed_request");
    let target = format!("/r/7?t={right}");
    let named = Call::parse("GET", b"tickets.internal", target.as_bytes(), &HeaderMap::new(), Body::Absent).unwrap();
    assert_eq!(word(&guard.check(&named, &bearer(&right), &at())), "malformed_request");
}

#[test]
fn a_form_that_was_not_shown_may_hold_another_token() {
    let mut headers = bearer(&token(&claims()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let form = |body: Body| Call::parse("GET", b"tickets.internal", b"/r/7", &headers, body).unwrap();
    let guard = reader();
    assert_eq!(word(&guard.check(&form(Body::Hidden), &headers, &at())), "unread_input");
    assert_eq!(
        word(&guard.check(&form(Body::Whole(Bytes::from_static(b"a=b"))), &headers, &at())),
        "allowed"
    );
    // Also where none is needed, whether one is shown or not.
    let public = |body: Body| Call::parse("GET", b"tickets.internal", b"/healthz", &headers, body).unwrap();
    for shown in [&headers, &HeaderMap::new()] {
        assert_eq!(word(&guard.check(&public(Body::Hidden), shown, &at())), "unread_input");
        assert_eq!(word(&guard.check(&public(Body::Absent), shown, &at())), "public");
    }
}

#[test]
fn only_the_broker_signs_access_tokens() {
    let guard = reader();
    let shown = |token: &str| word(&guard.check(&call(), &bearer(token), &at()));
    let other = FakeIssuer::es256(BROKER);
    assert_eq!(shown(&other.sign("at+jwt", &claims())), "subject_token_invalid", "another key");
    assert_eq!(
        shown(&FakeIssuer::es256(CORP).sign("at+jwt", &with(json!({ "iss": CORP })))),
        "subject_token_invalid"
    );
    assert_eq!(shown(&token(&with(json!({ "iss": CORP })))), "subject_token_invalid");
    for typ in ["JWT", "", "txntoken+jwt", "secevent+jwt"] {
        assert_eq!(shown(&ISSUER.sign(typ, &claims())), "subject_token_invalid", "{typ}");
    }
    assert_eq!(shown("nrwa_opaque"), "subject_token_invalid");
    assert_eq!(
        shown(&ISSUER.hs256(ISSUER.jwk().to_string().as_bytes(), &claims())),
        "subject_token_invalid"
    );
    let mut cut = token(&claims());
    cut.pop();
    assert_eq!(shown(&cut), "subject_token_invalid");
}

#[test]
fn a_key_that_is_not_known_is_worth_a_look_at_fresh_keys() {
    let rotated = FakeIssuer::new(BROKER, "k2", Algorithm::Es256);
    let shown = bearer(&rotated.sign("at+jwt", &claims()));
    let (guard, moment) = (reader(), at());
    let Verdict::Refused(refusal) = guard.check(&call(), &shown, &moment) else {
        panic!("the key is not known");
    };
    assert!(refusal.asks_for_keys() && !refused(&guard, &with(json!({ "aud": "x" }))).asks_for_keys());
    let after = guard.with_keys(Arc::new(rotated.key_set())).unwrap();
    assert_eq!(word(&after.check(&call(), &shown, &moment)), "allowed");
    assert_eq!(
        word(&after.check(&call(), &bearer(&token(&claims())), &moment)),
        "subject_token_invalid"
    );
    assert!(matches!(
        guard.with_keys(Arc::new(FakeIssuer::es256(CORP).key_set())),
        Err(GuardError::Issuer { .. })
    ));
}

#[test]
fn a_token_is_for_this_guard_alone() {
    let guard = reader();
    assert_eq!(decided(&guard, &with(json!({ "aud": [AUDIENCE] }))), "allowed");
    for aud in [
        json!("https://orders.internal"),
        json!([AUDIENCE, "https://orders.internal"]),
        json!([AUDIENCE, AUDIENCE]),
        json!("https://tickets.internal/"),
        json!("https://TICKETS.internal"),
    ] {
        assert_eq!(
            decided(&guard, &with(json!({ "aud": aud }))),
            "subject_token_not_for_client",
            "{aud}"
        );
    }
}

#[test]
fn a_token_ends_when_it_says_so() {
    let shown = |millis: i64| {
        let moment = At {
            now: Timestamp::from_millis(now().millis() + millis),
            ..at()
        };
        word(&reader().check(&call(), &bearer(&token(&claims())), &moment))
    };
    assert_eq!(shown(59_000), "allowed");
    assert_eq!(shown(59_001), "subject_token_expired", "with less than a second left");
    assert_eq!(shown(-10_001), "subject_token_invalid", "not begun");
}

#[test]
fn a_token_was_never_to_live_longer_than_its_audience_lets_it() {
    let lasting = |seconds: i64, exception: Option<Value>| {
        let mut claims = with(json!({ "exp": now().seconds() - 10 + seconds }));
        if let Some(exception) = exception {
            claims["exception"] = exception;
        }
        decided(&reader(), &claims)
    };
    assert_eq!(lasting(120, None), "allowed");
    assert_eq!(lasting(121, None), "subject_token_invalid");
    let longer = || Some(json!({ "id": "e-1", "max_lifetime": 300 }));
    assert_eq!(lasting(300, longer()), "allowed");
    assert_eq!(lasting(301, longer()), "subject_token_invalid");
    assert_eq!(
        lasting(121, Some(json!({ "id": "e-1" }))),
        "subject_token_invalid",
        "it names no lifetime"
    );
    assert_eq!(
        lasting(120, Some(json!({ "id": "e-1", "max_lifetime": 60 }))),
        "allowed",
        "it lifts, and binds nothing"
    );
}

#[test]
fn a_token_that_is_bound_to_a_key_is_not_borne() {
    let guard = reader();
    assert_eq!(decided(&guard, &with(json!({ "cnf": { "jkt": "k" } }))), "invalid_dpop_proof");
    assert_eq!(
        decided(&guard, &with(json!({ "cnf": { "x5t#S256": "k" } }))),
        "subject_token_invalid"
    );
    let shown = format!("DPoP {}", token(&claims()));
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(shown).unwrap())]);
    let moment = at();
    let Verdict::Refused(unbound) = guard.check(&call(), &headers, &moment) else {
        panic!("it is taken as if it were bound");
    };
    // Whether it is bound, and whether a proof came with it: what is said is true of either.
    let bound = refused(&guard, &with(json!({ "cnf": { "jkt": "k" } })));
    for refusal in [unbound, bound] {
        assert_eq!(refusal.reason.as_str(), "invalid_dpop_proof");
        let said = "proofs of keys are not taken; send a token that is bound to no key as Authorization: Bearer";
        assert_eq!(refusal.description(), said);
        assert!(refusal.challenge().unwrap().to_str().unwrap().contains(said));
    }
}

#[test]
fn an_old_view_of_revocations_refuses() {
    let aged = |millis: u64| {
        let moment = At {
            view_age: Duration::from_millis(millis),
            ..at()
        };
        word(&reader().check(&call(), &bearer(&token(&claims())), &moment))
    };
    assert_eq!(aged(5000), "allowed");
    assert_eq!(aged(5001), "revocation_view_stale");
}

/// The reasons are the broker's: of a token whose holder is disabled it says that it is revoked, since the subject may have another.
#[test]
fn whoever_is_disabled_ends_the_tokens_that_name_them_until_enabled() {
    let rows = [
        (PartyKind::Subject, Key::of_pair(CORP, "alice"), "subject_disabled"),
        (PartyKind::Client, Key::of("edge"), "subject_token_revoked"),
        (PartyKind::Client, Key::of("agent"), "subject_token_revoked"),
        (PartyKind::Subject, Key::of_pair(BROKER, "alice"), "allowed"),
        (PartyKind::Client, Key::of("alice"), "allowed"),
    ];
    for (kind, key, expected) in rows {
        let mut disabled = Disabled::nobody();
        let after = |disabled: &Disabled| {
            let moment = At {
                view: Arc::new(View::default().with_disabled(Arc::new(disabled.clone()))),
                ..at()
            };
            match reader().check(&call(), &bearer(&token(&claims())), &moment) {
                Verdict::Refused(refusal) => {
                    assert_eq!((refusal.status().as_u16(), refusal.error()), (401, Some("invalid_token")));
                    assert!(refusal.claims.is_some(), "the record says whose it was");
                    refusal.reason.as_str()
                }
                other => word(&other),
            }
        };
        disabled.set((kind, key), true);
        assert_eq!(after(&disabled), expected, "{kind:?}");
        disabled.set((kind, key), false);
        assert_eq!(after(&disabled), "allowed");
    }
}

#[test]
fn whatever_a_token_hangs_from_ends_it() {
    let shown = token(&with(json!({ "exception": { "id": "e-1" }, "approval": "a-1" })));
    let after = |kind: MarkKind, key: Key| {
        let revoked = Revoked::default();
        revoked.add(&Revocation::new(kind, key, now(), Duration::from_secs(600)));
        let moment = At {
            view: Arc::new(View::default().beside(Arc::new(revoked))),
            ..at()
        };
        word(&reader().check(&call(), &bearer(&shown), &moment))
    };
    for (kind, key) in [
        (MarkKind::Jti, Key::of("t-2")),
        (MarkKind::Jti, Key::of("t-1")),
        (MarkKind::Task, Key::of("k-1")),
        (MarkKind::Txn, Key::of("x-1")),
        (MarkKind::Subject, Key::of_pair(CORP, "alice")),
        (MarkKind::Client, Key::of("edge")),
        (MarkKind::Client, Key::of("agent")),
        (MarkKind::Issuer, Key::of(CORP)),
        (MarkKind::Exception, Key::of("e-1")),
        (MarkKind::Approval, Key::of("a-1")),
    ] {
        assert_eq!(after(kind, key), "subject_token_revoked", "{kind:?}");
    }
    for (kind, key) in [
        (MarkKind::Jti, Key::of("t-3")),
        (MarkKind::Task, Key::of("t-2")),
        (MarkKind::Subject, Key::of_pair(BROKER, "alice")),
        (MarkKind::Exception, Key::of("a-1")),
    ] {
        assert_eq!(after(kind, key), "allowed", "{kind:?}");
    }
}

#[test]
fn a_request_goes_no_further_than_its_token() {
    let guard = reader();
    for details in [
        json!([{ "type": "ticket", "actions": ["read"], "identifier": "8" }]),
        json!([{ "type": "ticket", "actions": ["update"], "identifier": "7" }]),
        json!([{ "type": "ticket", "actions": ["read"], "identifier": "7", "tenant": "acme" }]),
        json!([]),
    ] {
        let refusal = refused(&guard, &with(json!({ "authorization_details": details })));
        assert_eq!(
            (refusal.reason.as_str(), refusal.status().as_u16()),
            ("wider_than_subject", 403),
            "{details}"
        );
        assert!(refusal.challenge().unwrap().to_str().unwrap().contains("error=\"insufficient_scope\""));
    }
    let onward = json!({ "authorization_details": [], "onward": claims()["authorization_details"] });
    assert_eq!(
        decided(&guard, &with(onward)),
        "wider_than_subject",
        "`onward` is usable at no resource"
    );
    let excepted =
        json!({ "authorization_details": [], "exception": { "id": "e", "authorization_details": claims()["authorization_details"] } });
    assert_eq!(
        decided(&guard, &with(excepted)),
        "wider_than_subject",
        "an exception is no authority"
    );
}

#[test]
fn a_scope_that_the_route_names_is_needed_and_another_is_surplus() {
    let demand = Demand {
        scope: Some(delegation::oauth::Scope::parse("profile").unwrap()),
        ..Demand::default()
    };
    let guard = build(settings(demand, Excess::SameResource, &json!({})));
    let scoped = |scope: &str| {
        let mut claims = with(json!({ "scope": scope }));
        claims.as_object_mut().unwrap().remove("authorization_details");
        decided(&guard, &claims)
    };
    assert_eq!(scoped("profile"), "allowed");
    assert_eq!(scoped("email"), "wider_than_subject");
    assert_eq!(scoped("profile email"), "overbroad_token");
    assert_eq!(
        decided(&guard, &with(json!({ "scope": "profile" }))),
        "overbroad_token",
        "no detail is needed"
    );
}

#[test]
fn surplus_is_an_invalid_token_and_says_so_to_each_reader() {
    let details = json!([{ "type": "ticket", "actions": ["read"], "identifier": "7" }, { "type": "ticket", "actions": ["list"] }]);
    let refusal = refused(&reader(), &with(json!({ "authorization_details": details, "scope": "profile" })));
    assert_eq!((refusal.reason.as_str(), refusal.status().as_u16()), ("overbroad_token", 401));
    let challenge = refusal.challenge().unwrap();
    assert_eq!(
        challenge.to_str().unwrap(),
        "Bearer error=\"invalid_token\", error_description=\"the token allows more than this request needs; ask for a token for exactly this\""
    );
    assert!(refusal.why().contains("`ticket:read/7`") && refusal.why().contains("`ticket:list` (another identifier)"));
    assert_eq!(refusal.claims.unwrap().jti, "t-2");
    assert_eq!(
        refusal.compared.unwrap().to_json(),
        json!({
            "required": ["ticket:read/7"], "presented": ["ticket:read/7", "ticket:list", "scope profile"], "exception": null, "missing": null,
            "surplus": ["ticket:list", "scope profile"],
        })
    );
}

#[test]
fn what_a_route_asks_of_the_person_is_asked_of_the_token() {
    let strong = Demand {
        max_auth_age: Some(Duration::from_secs(300)),
        acr: Some("phr".to_owned()),
        ..demand("GET /r/{id}", "ticket:read/{id}")
    };
    let guard = build(settings(strong, Excess::Any, &json!({})));
    let now = now().seconds();
    assert_eq!(decided(&guard, &with(json!({ "auth_time": now - 300, "acr": "phr" }))), "allowed");
    for changes in [
        json!({ "auth_time": now - 301, "acr": "phr" }),
        json!({ "auth_time": now + 1, "acr": "phr" }),
        json!({ "acr": "phr" }),
        json!({ "auth_time": now - 300 }),
        json!({ "auth_time": now - 300, "acr": "pwd" }),
    ] {
        assert_eq!(
            decided(&guard, &with(changes.clone())),
            "insufficient_user_authentication",
            "{changes}"
        );
    }
    let challenge = refused(&guard, &claims()).challenge().unwrap();
    assert!(challenge.to_str().unwrap().contains("acr_values=\"phr\", max_age=300"));
}

#[test]
fn a_token_for_one_use_goes_on_when_the_broker_has_said_so() {
    let once = with(json!({ "single_use": true }));
    let (guard, headers, moment) = (reader(), bearer(&token(&once)), at());
    let answered = |answer: Use| {
        let Verdict::Unspent(unspent) = guard.check(&call(), &headers, &moment) else {
            panic!("it is for one use");
        };
        assert!(headers[header::AUTHORIZATION].to_str().unwrap().ends_with(unspent.token()));
        unspent
            .answered(answer)
            .map(|allowed| allowed.jti.clone())
            .map_err(|refusal| refusal.reason.as_str())
    };
    assert_eq!(answered(Use::Accepted).as_deref(), Ok("t-2"));
    assert_eq!(answered(Use::Used), Err("token_used"));
    assert_eq!(answered(Use::Unavailable), Err("store_unavailable"));
    let mut broad = once;
    broad["scope"] = json!("profile");
    assert_eq!(decided(&guard, &broad), "overbroad_token", "what is refused uses nothing up");
}

/// A token from before the audience asked for that does not say so.
#[test]
fn where_tokens_are_for_one_use_so_is_one_that_does_not_say_so() {
    let usual = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    for (single_use, says, expected) in [
        (false, json!({}), "allowed"),
        (false, json!({ "single_use": true }), "unspent"),
        (true, json!({}), "unspent"),
        (true, json!({ "single_use": false }), "unspent"),
        (true, json!({ "single_use": true }), "unspent"),
        (true, json!({ "scope": "profile" }), "overbroad_token"),
    ] {
        let guard = build(Settings {
            single_use,
            ..usual.clone()
        });
        assert_eq!(decided(&guard, &with(says.clone())), expected, "{single_use} {says}");
    }
}

#[test]
fn the_first_thing_that_is_wrong_is_the_reason() {
    // From the last check to the first, each is added to what is wrong already.
    let mut claims = with(json!({ "scope": "profile" }));
    let mut moment = at();
    let guard = reader();
    let next = |claims: &Value, moment: &At, reason: &str| {
        assert_eq!(word(&guard.check(&call(), &bearer(&token(claims)), moment)), reason);
    };
    next(&claims, &moment, "overbroad_token");
    claims["authorization_details"] = json!([]);
    next(&claims, &moment, "wider_than_subject");
    let revoked = Revoked::default();
    revoked.add(&Revocation::new(MarkKind::Jti, Key::of("t-2"), now(), Duration::from_secs(600)));
    moment.view = Arc::new(View::default().beside(Arc::new(revoked)));
    next(&claims, &moment, "subject_token_revoked");
    moment.view_age = Duration::from_secs(60);
    next(&claims, &moment, "revocation_view_stale");
    claims["cnf"] = json!({ "jkt": "k" });
    next(&claims, &moment, "invalid_dpop_proof");
    claims["iat"] = json!(now().seconds() - 1000);
    next(&claims, &moment, "subject_token_invalid");
    claims["exp"] = json!(now().seconds());
    next(&claims, &moment, "subject_token_expired");
    claims["aud"] = json!("https://orders.internal");
    next(&claims, &moment, "subject_token_not_for_client");
    claims["iss"] = json!(CORP);
    next(&claims, &moment, "subject_token_invalid");
}

#[test]
fn every_reason_has_its_status() {
    let guard = reader();
    let status = |changes: Value| refused(&guard, &with(changes)).status().as_u16();
    assert_eq!(status(json!({ "exp": now().seconds() })), 401);
    assert_eq!(status(json!({ "scope": "profile" })), 401);
    let moment = At {
        view_age: Duration::from_secs(60),
        ..at()
    };
    let of = |call: &Call, headers: &HeaderMap| match guard.check(call, headers, &moment) {
        Verdict::Refused(refusal) => (
            refusal.status().as_u16(),
            refusal.challenge().map(|line| line.to_str().unwrap().to_owned()),
        ),
        other => panic!("{}", word(&other)),
    };
    assert_eq!(of(&call(), &bearer(&token(&claims()))), (503, None));
    assert_eq!(
        of(&call(), &HeaderMap::new()),
        (401, Some("Bearer".to_owned())),
        "nothing was shown, so nothing is wrong"
    );
    let elsewhere = Call::parse("GET", b"tickets.internal", b"/elsewhere", &HeaderMap::new(), Body::Absent).unwrap();
    assert_eq!(of(&elsewhere, &HeaderMap::new()), (403, None));
    let basic = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi"))]);
    assert_eq!(of(&call(), &basic), (400, None));
}

#[test]
fn nothing_that_a_refusal_says_holds_the_token() {
    let shown = token(&with(json!({ "scope": "profile" })));
    let verdict = format!("{:?}", reader().check(&call(), &bearer(&shown), &at()));
    let once = token(&with(json!({ "single_use": true })));
    let unspent = format!("{:?}", reader().check(&call(), &bearer(&once), &at()));
    for (said, token) in [(verdict, shown), (unspent, once)] {
        assert!(token.split('.').all(|part| !said.contains(part)), "{said}");
    }
}

#[test]
fn a_guard_that_could_not_keep_its_word_is_not_built() {
    let right = || settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::None, &json!({}));
    let built = |settings| Guard::build(settings, Arc::new(ISSUER.key_set())).map(|_| ());
    assert_eq!(built(right()), Ok(()));
    for sender in [Sender::Dpop, Sender::Mtls] {
        assert_eq!(built(Settings { sender, ..right() }), Err(GuardError::Sender));
    }
    let mut other = right();
    other.audience = delegation::oauth::AudienceId::parse("https://orders.internal").unwrap();
    assert!(matches!(built(other), Err(GuardError::Audience { .. })));
    let mut other = right();
    other.issuer = CORP.to_owned();
    assert!(matches!(built(other), Err(GuardError::Issuer { .. })));
    let mut reads = right();
    reads.service.routes.push(route("GET /mine", "ticket:read/{subject.ticket}"));
    assert_eq!(built(reads), Err(GuardError::Attribute("GET /mine".to_owned())));
    let mut tie = right();
    tie.service.routes.push(route("GET /r/{other}", "ticket:read/{other}"));
    assert!(matches!(built(tie), Err(GuardError::Table(_))));
    for (name, value) in [
        ("unheard_of", json!("a")),
        ("fields", json!("a")),
        ("tenant", json!("")),
        ("tenant", json!(["acme"])),
        ("tenant", json!(1.0)),
    ] {
        let mut wrong = right();
        wrong.fixed.insert(name.to_owned(), value.clone());
        assert!(matches!(built(wrong), Err(GuardError::Fixed(_))), "{name} = {value}");
    }
}
