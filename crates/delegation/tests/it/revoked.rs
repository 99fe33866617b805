//! Every kind of token that can be revoked is refused when it has been.

use std::sync::Arc;

use delegation::oauth::{ClientId, TokenType};
use delegation::registry::{AuthMethod, ClientAuth, Moment, Snapshot, WorkloadMatch};
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::token::{
    ActorToken, Authentic, IdJag, Introspected, OpaqueToken, SubjectToken, TokenError, TokenKind, Unverified, WorkloadAssertion,
};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot, user_claims};

pub(crate) const WORKLOAD: &str = "system:serviceaccount:shop:edge";

/// Corp also sends ID-JAGs, and names the workload that is the edge.
pub(crate) fn taken() -> Snapshot {
    let mut snapshot = snapshot();
    let corp = snapshot.issuers.get_mut(CORP).unwrap();
    corp.token_types.insert(TokenType::IdJag);
    corp.typ.jwt = true;
    snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().auth = vec![ClientAuth {
        method: AuthMethod::WorkloadJwt(WorkloadMatch {
            issuer_name: "corp".to_owned(),
            subject: WORKLOAD.to_owned(),
            claims: std::collections::BTreeMap::new(),
        }),
        until: None,
    }];
    snapshot
}

fn after(kind: MarkKind, key: Key) -> Moment {
    let revoked = Arc::new(Revoked::default());
    revoked.add(&Revocation::new(kind, key, now(), std::time::Duration::from_secs(600)));
    Moment {
        revocations: Arc::new(View::new([], []).beside(revoked)),
        ..moment(taken())
    }
}

pub(crate) fn authentic<K: TokenKind>(iss: &str, typ: &str, claims: &Value) -> Authentic<K> {
    let issuer = FakeIssuer::es256(iss);
    let token = Unverified::<K>::parse(&issuer.sign(typ, claims)).unwrap();
    token.authenticate(&issuer.key_set()).unwrap()
}

/// A token, and what judges it.
pub(crate) type Judged = (&'static str, Box<dyn Fn(&Moment) -> Result<(), TokenError>>);

/// Tokens of corp, each with `jti` `j-1`.
pub(crate) fn outside() -> Vec<Judged> {
    let now = now().seconds();
    let user = authentic::<SubjectToken>(CORP, "at+jwt", &user_claims());
    let workload = json!({ "iss": CORP, "sub": WORKLOAD, "aud": BROKER, "iat": now, "exp": now + 60, "jti": "j-1", "client_id": "edge" });
    let actor = authentic::<ActorToken>(CORP, "JWT", &workload);
    let assertion = authentic::<WorkloadAssertion>(CORP, "JWT", &workload);
    let grant = authentic::<IdJag>(
        CORP,
        "oauth-id-jag+jwt",
        &json!({ "iss": CORP, "sub": "alice", "aud": BROKER, "client_id": "edge", "jti": "j-1", "iat": now, "exp": now + 60 }),
    );
    let opaque = |moment: &Moment| {
        let mut reply = user_claims();
        reply["active"] = json!(true);
        let token = OpaqueToken::parse("ya29.opaque").unwrap();
        let reply = Introspected::read(CORP, token, reply.to_string().as_bytes())?;
        reply.at(moment, TokenType::AccessToken).map(drop)
    };
    vec![
        (
            "subject token",
            Box::new(move |moment| user.at(moment, TokenType::AccessToken).map(drop)),
        ),
        ("actor token", Box::new(move |moment| actor.at(moment, TokenType::Jwt).map(drop))),
        ("workload's assertion", Box::new(move |moment| assertion.at(moment).map(drop))),
        ("ID-JAG", Box::new(move |moment| grant.at(moment).map(drop))),
        ("opaque token", Box::new(opaque)),
    ]
}

#[test]
fn a_token_of_an_issuer_is_refused_once_it_or_its_issuer_is_revoked() {
    for (what, judge) in outside() {
        assert_eq!(judge(&moment(taken())), Ok(()), "{what}");
        for (kind, key) in [(MarkKind::Outside, Key::of_pair(CORP, "j-1")), (MarkKind::Issuer, Key::of(CORP))] {
            assert_eq!(judge(&after(kind, key)), Err(TokenError::Revoked), "{what}, {kind:?}");
        }
        assert_eq!(judge(&after(MarkKind::Outside, Key::of_pair(CORP, "j-2"))), Ok(()), "{what}");
        assert_eq!(
            judge(&after(MarkKind::Jti, Key::of("j-1"))),
            Ok(()),
            "{what}: one of ours of that name"
        );
        assert_eq!(
            judge(&after(MarkKind::Client, Key::of("edge"))),
            Ok(()),
            "{what}: its `client_id` is its issuer's word, and names no client of ours"
        );
    }
}

#[test]
fn one_of_our_own_is_refused_as_an_actor_too_once_it_its_ancestor_or_its_client_is_revoked() {
    let now = now().seconds();
    let actor = authentic::<ActorToken>(
        BROKER,
        "at+jwt",
        &json!({
            "iss": BROKER, "sub": "edge", "client_id": "edge", "aud": "https://edge.example", "iat": now, "exp": now + 60,
            "jti": "a-2", "chain": ["a-1"],
        }),
    );
    let judge = |moment: &Moment| actor.at(moment, TokenType::AccessToken).map(drop);
    assert_eq!(judge(&moment(taken())), Ok(()));
    for (kind, key) in [
        (MarkKind::Jti, Key::of("a-2")),
        (MarkKind::Jti, Key::of("a-1")),
        (MarkKind::Client, Key::of("edge")),
        (MarkKind::Subject, Key::of_pair(BROKER, "edge")),
    ] {
        assert_eq!(judge(&after(kind, key)), Err(TokenError::Revoked), "{kind:?}");
    }
    assert_eq!(judge(&after(MarkKind::Client, Key::of("orders"))), Ok(()));
}
