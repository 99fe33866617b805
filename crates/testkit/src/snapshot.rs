//! A configuration to try things on: one corporate issuer, an edge, an order service behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use delegation::details::{ActionRule, ConstraintOrder, Detail, DetailType, DetailTypes, IdentifierRule, Standing};
use delegation::identity::{AttributeKind, AttributeRule, SubjectKind};
use delegation::oauth::{AudienceId, ClientId, GrantType, Scope, TokenType};
use delegation::registry::{
    Audience, AuthMethod, Ceiling, Client, ClientAuth, Lifetimes, Moment, OnDuplicate, Receives, SecretDigest, Snapshot, TokenForm,
    TrustedIssuer, TypRule,
};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::sha256;
use serde_json::{Value, json};

/// Our issuer identifier.
pub const BROKER: &str = "https://narrows.example";
/// The corporate issuer.
pub const CORP: &str = "https://login.corp.example";
/// The `aud` that means our edge.
pub const EDGE_AUDIENCE: &str = "https://edge.example";

/// A fixed now.
pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_780_000_000)
}

/// The moment at which the tests decide.
pub fn moment(snapshot: Snapshot) -> Moment {
    Moment {
        now: now(),
        snapshot: Arc::new(snapshot),
        revocations: Arc::new(View::default()),
    }
}

/// What a right user token says.
pub fn user_claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": CORP, "sub": "alice", "aud": EDGE_AUDIENCE, "iat": now - 10, "exp": now + 3600, "jti": "j-1",
        "client_id": "web", "scope": "tickets.full", "groups": ["support"],
    })
}

/// The configuration: details `ticket` and `refund`, with every order among their constraints.
pub fn snapshot() -> Snapshot {
    let rule = |identifier, constraints: &[&str]| ActionRule {
        identifier,
        constraints: constraints.iter().map(|name| (*name).to_owned()).collect(),
    };
    let orders = [
        ("tenant", ConstraintOrder::Equal),
        ("fields", ConstraintOrder::Subset),
        ("limit", ConstraintOrder::AtMost),
        ("path", ConstraintOrder::Prefix),
        ("region", ConstraintOrder::OneOf),
    ];
    let constraints: BTreeMap<_, _> = orders.into_iter().map(|(name, order)| (name.to_owned(), order)).collect();
    let all: Vec<&str> = orders.iter().map(|(name, _)| *name).collect();
    let actions = BTreeMap::from([
        ("list".to_owned(), rule(IdentifierRule::None, &[])),
        ("read".to_owned(), rule(IdentifierRule::Required, &["tenant"])),
        ("update".to_owned(), rule(IdentifierRule::Required, &all)),
        ("search".to_owned(), rule(IdentifierRule::Optional, &["limit"])),
    ]);
    let ticket = DetailType {
        name: "ticket".to_owned(),
        entity: "Ticket".to_owned(),
        actions,
        constraints,
    };
    let refund = DetailType {
        name: "refund".to_owned(),
        entity: "Refund".to_owned(),
        actions: BTreeMap::from([("create".to_owned(), rule(IdentifierRule::Required, &["amount"]))]),
        constraints: BTreeMap::from([("amount".to_owned(), ConstraintOrder::AtMost)]),
    };
    let types: DetailTypes = [ticket, refund].into_iter().collect();
    let short = |text: &str| Detail::parse_short(text, &types, Standing::Ceiling).unwrap();
    let scopes = BTreeMap::from([
        (
            Scope::parse("tickets.full").unwrap(),
            vec![short("ticket:list"), short("ticket:read,update"), short("ticket:search")],
        ),
        (Scope::parse("profile").unwrap(), Vec::new()),
    ]);
    let audience = |id: &str, details: &[&str]| Audience {
        id: AudienceId::parse(id).unwrap(),
        detail_types: details.iter().map(|name| (*name).to_owned()).collect(),
        scopes: BTreeSet::from([Scope::parse("profile").unwrap()]),
        clients: None,
        max_lifetime: Some(Duration::from_secs(120)),
        claims: BTreeSet::new(),
        defaults: Vec::new(),
        form: TokenForm::Jwt,
        single_use: false,
        on_duplicate: OnDuplicate::Report,
    };
    let audiences = [
        audience("https://orders.internal", &["ticket", "refund"]),
        audience("https://tickets.internal", &["ticket"]),
    ];
    let client = |id: &str, receives: &[&str], secret: &str| Client {
        id: ClientId::parse(id).unwrap(),
        receives: receives
            .iter()
            .map(|audience| Receives {
                issuer_name: None,
                audience: (*audience).to_owned(),
            })
            .collect(),
        grants: BTreeSet::from([GrantType::TokenExchange, GrantType::ClientCredentials]),
        delegates: BTreeSet::new(),
        data_plane: false,
        labels: BTreeMap::new(),
        owner: None,
        ends: None,
        auth: vec![ClientAuth {
            method: AuthMethod::SecretPost(SecretDigest::from_bytes(sha256(secret.as_bytes()))),
            until: None,
        }],
    };
    let clients = [
        client("edge", &[], "edge-secret"),
        client("orders", &["https://orders.internal"], "orders-secret"),
        client("stranger", &[], "stranger-secret"),
    ];
    let issuer = TrustedIssuer {
        name: "corp".to_owned(),
        issuer: CORP.to_owned(),
        profile: None,
        token_types: BTreeSet::from([TokenType::AccessToken, TokenType::IdToken, TokenType::Jwt]),
        subject: SubjectKind::User,
        sub_prefix: String::new(),
        ceiling: Ceiling::Scope,
        audiences: BTreeSet::from([EDGE_AUDIENCE.to_owned()]),
        exchangers: BTreeSet::from([ClientId::parse("edge").unwrap()]),
        typ: TypRule {
            at_jwt: true,
            jwt: false,
            absent: false,
        },
        scope_claim: "scope".to_owned(),
        client_claims: ["azp", "client_id", "cid", "appid"].iter().map(|name| (*name).to_owned()).collect(),
        attributes: BTreeMap::from([(
            "groups".to_owned(),
            AttributeRule {
                kind: AttributeKind::Set,
                optional: true,
            },
        )]),
        leeway: Duration::from_secs(30),
        authenticates_workloads: false,
    };
    Snapshot {
        issuer: BROKER.to_owned(),
        clients: clients.into_iter().map(|client| (client.id.clone(), client)).collect(),
        audiences: audiences.into_iter().map(|audience| (audience.id.clone(), audience)).collect(),
        issuers: BTreeMap::from([(CORP.to_owned(), issuer)]),
        types,
        scopes,
        lifetimes: Lifetimes {
            default: Duration::from_secs(300),
            max: Duration::from_secs(600),
            task: Duration::from_secs(3600),
            deferred_task: Duration::from_secs(24 * 3600),
            deferred_token: Duration::from_secs(60),
        },
        max_chain: 8,
        config_version: "c-test".to_owned(),
    }
}
