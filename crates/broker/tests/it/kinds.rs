//! The matrix of kinds: every kind of JWT that this broker makes or takes, validly signed by a key that is trusted there and
//! with claims that are otherwise right, at every place that expects another (RFC 8725 §3.12). The diagonal is taken.

use std::collections::BTreeSet;

use broker::signer::KeyRing;
use broker::store::Store;
use delegation::oauth::{ClientId, TokenType};
use delegation::registry::{AuthMethod, Ceiling, ClientAuth, Snapshot, WorkloadMatch};
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use issuance::mint::{KeyName, Signer as _};
use serde_json::{Value, json};
use testkit::{CORP, EDGE_AUDIENCE, FakeIssuer};

use crate::api;
use crate::id_jag::{JWT_BEARER, taken};
use crate::installation::{ASSERTION_TYPE, Installation, Reply, encode, seconds};

/// The platform whose tokens are credentials of workloads.
const CLUSTER: &str = "https://cluster.example";
const WORKLOAD: &str = "spiffe://acme.example/edge";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";

/// Every kind with a `typ` of its own, and what beside the claims that are right at a place only it says.
fn kinds() -> [(&'static str, Value); 12] {
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    [
        ("at+jwt", json!({})),
        (
            "txntoken+jwt",
            json!({ "txn": "t-1", "req_wl": "edge", "scope": "tickets.full", "tctx": {} }),
        ),
        (
            "dpop+jwt",
            json!({ "htm": "POST", "htu": "https://narrows.example/oauth2/token", "ath": thumbprint }),
        ),
        ("client-authentication+jwt", json!({})),
        ("oauth-id-jag+jwt", json!({ "resource": "https://tickets.internal" })),
        (
            "token-introspection+jwt",
            json!({ "token_introspection": { "active": true, "sub": "alice" } }),
        ),
        (
            "secevent+jwt",
            json!({ "events": { "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} } }),
        ),
        (
            "logout+jwt",
            json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} }, "sid": "s-1" }),
        ),
        (
            "statuslist+jwt",
            json!({ "status_list": { "bits": 1, "lst": "eNrbuRgAAhcBXQ" }, "ttl": 60 }),
        ),
        ("wit+jwt", json!({ "cnf": { "jwk": { "kty": "EC", "alg": "ES256" } } })),
        ("wpt+jwt", json!({ "wth": thumbprint, "ath": thumbprint })),
        // Ours are signed notes and no JWTs; this is what one would be called.
        ("checkpoint+jwt", json!({ "size": 7, "root": thumbprint })),
    ]
}

type Expected = (u16, &'static str, &'static str);
const SUBJECT: Expected = (400, "invalid_request", "subject_token_invalid");
const ACTOR: Expected = (400, "invalid_request", "actor_token_invalid");
const CLIENT: Expected = (401, "invalid_client", "client_authentication_failed");
const EVENT: Expected = (400, "invalid_request", "");
const GRANT: Expected = (400, "invalid_grant", "subject_token_invalid");

/// Where a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    AccessToken,
    IdToken,
    Jwt,
    TxnToken,
    Actor,
    PrivateKeyJwt,
    WorkloadJwt,
    Grant,
    Event,
}

const PLACES: [Place; 9] = [
    Place::AccessToken,
    Place::IdToken,
    Place::Jwt,
    Place::TxnToken,
    Place::Actor,
    Place::PrivateKeyJwt,
    Place::WorkloadJwt,
    Place::Grant,
    Place::Event,
];

impl Place {
    /// The one refusal of another kind there.
    fn refusal(self) -> Expected {
        match self {
            Self::AccessToken | Self::IdToken | Self::Jwt | Self::TxnToken => SUBJECT,
            Self::Actor => ACTOR,
            Self::PrivateKeyJwt | Self::WorkloadJwt => CLIENT,
            Self::Grant => GRANT,
            Self::Event => EVENT,
        }
    }

    /// How it answers what it takes.
    fn taken(self) -> Expected {
        (if self == Self::Event { 202 } else { 200 }, "", "")
    }

    /// Whether it takes the kind with this `typ`.
    fn takes(self, typ: &str) -> bool {
        match self {
            Self::AccessToken | Self::Jwt | Self::Actor => typ == "at+jwt",
            Self::PrivateKeyJwt => typ == "client-authentication+jwt",
            Self::Grant => typ == "oauth-id-jag+jwt",
            Self::Event => typ == "secevent+jwt",
            // What these take has `JWT` or no `typ`.
            Self::IdToken | Self::WorkloadJwt => false,
            // There are no transaction tokens but ours.
            Self::TxnToken => false,
        }
    }
}

/// An installation where every place of [`PLACES`] takes something, and the keys that are trusted there.
struct Matrix {
    narrows: Installation,
    cluster: FakeIssuer,
}

impl Matrix {
    async fn start() -> Self {
        let (narrows, cluster) = (Installation::start().await, FakeIssuer::es256(CLUSTER));
        narrows
            .trust(&cluster, "cluster", |snapshot: &mut Snapshot| {
                taken(snapshot);
                // So that scopes play no part: an id_token has none.
                snapshot.issuers.get_mut(CORP).unwrap().ceiling = Ceiling::Policy;
                let cluster = snapshot.issuers.get_mut(CLUSTER).unwrap();
                cluster.authenticates_workloads = true;
                cluster.token_types = BTreeSet::from([TokenType::AccessToken]);
                let workload = WorkloadMatch {
                    issuer_name: "cluster".to_owned(),
                    subject: WORKLOAD.to_owned(),
                    claims: Default::default(),
                };
                let auth = ClientAuth {
                    method: AuthMethod::WorkloadJwt(workload),
                    until: None,
                };
                snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().auth.push(auth);
            })
            .await;
        Self { narrows, cluster }
    }

    /// Whose key is trusted at `place`.
    fn key(&self, place: Place) -> &FakeIssuer {
        match place {
            Place::AccessToken | Place::IdToken | Place::Jwt | Place::TxnToken | Place::Grant | Place::Event => &self.narrows.issuer,
            Place::Actor | Place::WorkloadJwt => &self.cluster,
            Place::PrivateKeyJwt => &self.narrows.edge,
        }
    }

    /// Claims that are right at `place`, but for what only one kind says.
    fn claims(&self, place: Place) -> Value {
        let ours = &self.narrows.url;
        let (iss, sub, aud) = match place {
            Place::AccessToken | Place::IdToken | Place::Jwt | Place::TxnToken => (CORP, "alice", EDGE_AUDIENCE),
            Place::Grant | Place::Event => (CORP, "alice", ours.as_str()),
            Place::Actor | Place::WorkloadJwt => (CLUSTER, WORKLOAD, ours.as_str()),
            Place::PrivateKeyJwt => ("edge", "edge", ours.as_str()),
        };
        if place == Place::Event {
            // An event says less than a token, and of nobody else in this matrix: it must not end what others show.
            let subject = json!({ "format": "iss_sub", "iss": CORP, "sub": "bob" });
            let events = json!({ "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} });
            let jti = uuid::Uuid::now_v7().to_string();
            return json!({ "iss": iss, "aud": aud, "iat": seconds() - 5, "jti": jti, "sub_id": subject, "events": events });
        }
        json!({
            "iss": iss, "sub": sub, "aud": aud, "iat": seconds() - 5, "exp": seconds() + 200, "jti": uuid::Uuid::now_v7().to_string(),
            "client_id": "edge", "scope": "tickets.full profile", "groups": ["support"],
        })
    }

    async fn show(&self, place: Place, token: &str) -> Reply {
        if place == Place::Event {
            let mut reply = self.narrows.post_to("/v1/events", token, &[("content-type", "application/secevent+jwt")]).await;
            // RFC 8935 has another name for it.
            if let Some(err) = reply.body.get("err").cloned() {
                reply.body["error"] = err;
            }
            return reply;
        }
        let mut form = self.narrows.form();
        let mut put = |name: &str, value: &str| drop(form.insert(name.to_owned(), value.to_owned()));
        match place {
            Place::AccessToken | Place::IdToken | Place::Jwt | Place::TxnToken => {
                let declared = match place {
                    Place::AccessToken => "access_token",
                    Place::TxnToken => "txn_token",
                    Place::IdToken => "id_token",
                    _ => "jwt",
                };
                put("subject_token", token);
                put("subject_token_type", &format!("{TYPE}{declared}"));
            }
            Place::Actor => {
                put("actor_token", token);
                put("actor_token_type", &format!("{TYPE}jwt"));
            }
            Place::PrivateKeyJwt | Place::WorkloadJwt => {
                put("client_secret", "");
                put("client_assertion", token);
                put("client_assertion_type", ASSERTION_TYPE);
            }
            Place::Grant => {
                put("grant_type", JWT_BEARER);
                put("subject_token", "");
                put("subject_token_type", "");
                put("assertion", token);
            }
            Place::Event => {}
        }
        self.narrows.post(&encode(&form.into_iter().collect::<Vec<_>>()), &[]).await
    }
}

fn outcome(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.text("error"), reply.text("reason"))
}

#[tokio::test]
async fn every_kind_is_refused_wherever_another_is_expected() {
    // CLM-026, CLM-028, CLI-008: the signature is good and so are the claims; the kind alone is wrong.
    let matrix = Matrix::start().await;
    for place in PLACES {
        for (typ, says) in kinds() {
            let spellings = [typ.to_owned(), format!("application/{typ}"), typ.to_uppercase()];
            for spelled in &spellings {
                let token = matrix.key(place).sign(spelled, &matrix.claims(place));
                let reply = matrix.show(place, &token).await;
                let expected = if place.takes(typ) { place.taken() } else { place.refusal() };
                assert_eq!(outcome(&reply), expected, "{spelled} at {place:?}");
            }
            if !place.takes(typ) {
                let mut claims = matrix.claims(place);
                claims.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
                let reply = matrix.show(place, &matrix.key(place).sign(typ, &claims)).await;
                assert_eq!(outcome(&reply), place.refusal(), "a whole {typ} at {place:?}");
            }
        }
    }
    matrix.narrows.stop().await;
}

#[tokio::test]
async fn kinds_without_a_typ_of_their_own_are_told_apart_by_what_they_say() {
    // CLM-023 among them. An id_token and a JWT-SVID both have `JWT`, so here each is whole, as its issuer makes it.
    let matrix = Matrix::start().await;
    let id_token = |place| {
        let mut claims = matrix.claims(place);
        for (name, value) in [
            ("iss", CORP),
            ("sub", "alice"),
            ("nonce", "n-1"),
            ("at_hash", "77QmUPtjPfzWtF2AnpK9RQ"),
        ] {
            claims[name] = json!(value);
        }
        matrix.narrows.issuer.sign("JWT", &claims)
    };
    let svid = |place| {
        let claims = matrix.claims(place);
        let claims = json!({ "iss": CLUSTER, "sub": WORKLOAD, "aud": claims["aud"], "iat": claims["iat"], "exp": claims["exp"] });
        matrix.cluster.sign("JWT", &claims)
    };
    const TAKEN: Expected = (200, "", "");
    for (place, of_id_token, of_svid) in [
        (Place::AccessToken, SUBJECT, SUBJECT),
        (Place::IdToken, TAKEN, SUBJECT),
        (Place::Jwt, TAKEN, SUBJECT),
        (Place::TxnToken, SUBJECT, SUBJECT),
        (Place::Actor, (400, "invalid_request", "actor_token_not_for_client"), TAKEN),
        (Place::WorkloadJwt, CLIENT, TAKEN),
        (Place::Grant, GRANT, GRANT),
        (Place::Event, EVENT, EVENT),
    ] {
        assert_eq!(
            outcome(&matrix.show(place, &id_token(place)).await),
            of_id_token,
            "id_token at {place:?}"
        );
        assert_eq!(outcome(&matrix.show(place, &svid(place)).await), of_svid, "JWT-SVID at {place:?}");
    }
    let mut claims = matrix.claims(Place::PrivateKeyJwt);
    claims["iss"] = json!(CORP);
    let reply = matrix.show(Place::PrivateKeyJwt, &matrix.narrows.issuer.sign("JWT", &claims)).await;
    assert_eq!(outcome(&reply), CLIENT, "an id_token whose `sub` is the client's id");
    matrix.narrows.stop().await;
}

#[tokio::test]
async fn a_checkpoint_of_a_log_is_no_token_anywhere() {
    // CLM-028: a signed note, by the key that is trusted at each place.
    use base64::Engine as _;
    let matrix = Matrix::start().await;
    for place in PLACES {
        let text = "narrows.example/log\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let signature = base64::engine::general_purpose::STANDARD.encode(matrix.key(place).signature(text.as_bytes()));
        let note = format!("{text}\n\u{2014} narrows.example/log {signature}\n");
        assert_eq!(outcome(&matrix.show(place, &note).await), place.refusal(), "{place:?}");
    }
    matrix.narrows.stop().await;
}

/// The broker's own signing key, which no test could have if it did not hold the store and the key file.
pub(crate) struct OwnKey {
    ring: KeyRing,
    name: KeyName,
}

impl OwnKey {
    pub(crate) async fn of(narrows: &Installation) -> Self {
        let settings = narrows.broker.settings();
        let store = Store::open(&settings.store).await.unwrap();
        let now = Timestamp::from_seconds(seconds());
        let ring = KeyRing::open(&store, &settings.key_files, Algorithm::Es256, now).await.unwrap();
        let name = ring.current();
        Self { ring, name }
    }

    pub(crate) async fn sign(&self, typ: &str, claims: &Value) -> String {
        use base64::Engine as _;
        let text = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let header = json!({ "typ": typ, "kid": self.name.kid, "alg": "ES256" }).to_string();
        let input = format!("{}.{}", text(header.as_bytes()), text(claims.to_string().as_bytes()));
        let signature = self.ring.sign(&self.name, input.as_bytes()).await.unwrap();
        format!("{input}.{}", text(&signature))
    }
}

#[tokio::test]
async fn of_what_our_own_key_signs_an_access_token_and_a_transaction_token_alone_are_tokens() {
    // CLM-028, TT-12: whatever else is signed with this key one day, it is no subject token, no actor token and no credential; and
    // neither of the two is the other, though these claims are right for both.
    let matrix = Matrix::start().await;
    let (narrows, key) = (&matrix.narrows, OwnKey::of(&matrix.narrows).await);
    let mut issued = narrows.exchange(&[("audience", "https://orders.internal")]).await.claims();
    let context = json!({ "authorization_details": issued["authorization_details"] });
    issued.as_object_mut().unwrap().extend([
        ("req_wl".to_owned(), json!("edge")),
        ("scope".to_owned(), json!("profile")),
        ("tctx".to_owned(), context),
    ]);
    let issued = issued;
    let details = r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#;
    let itself = narrows
        .exchange(&[
            ("grant_type", "client_credentials"),
            ("subject_token", ""),
            ("subject_token_type", ""),
            ("authorization_details", details),
        ])
        .await
        .claims();
    let right = |claims: &Value, changes: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let fresh = || json!({ "jti": uuid::Uuid::now_v7().to_string() });
    let typs = kinds().map(|(typ, _)| typ).into_iter().chain(["JWT", "at+JWT", "application/at+jwt"]);
    for typ in typs {
        let is_access = matches!(typ.to_ascii_lowercase().as_str(), "at+jwt" | "application/at+jwt");
        for declared in ["access_token", "jwt", "id_token", "txn_token"] {
            let token = key.sign(typ, &issued).await;
            let declared_type = format!("{TYPE}{declared}");
            let changes = [
                ("subject_token", token.as_str()),
                ("subject_token_type", &declared_type),
                ("client_id", "orders"),
                ("client_secret", "orders-secret"),
            ];
            let is_right = match declared {
                "access_token" | "jwt" => is_access,
                "txn_token" => typ == "txntoken+jwt",
                _ => false,
            };
            let expected = if is_right { (200, "", "") } else { SUBJECT };
            assert_eq!(outcome(&narrows.exchange(&changes).await), expected, "{typ} as {declared}");
        }
        let actor = matrix.show(Place::Actor, &key.sign(typ, &itself).await).await;
        assert_eq!(
            outcome(&actor),
            if is_access { (200, "", "") } else { ACTOR },
            "{typ} as actor token"
        );
        let ours = json!({ "iss": narrows.url, "sub": "edge", "aud": narrows.url, "client_id": "edge", "exp": seconds() + 200 });
        for (place, sub) in [
            (Place::PrivateKeyJwt, "edge"),
            (Place::WorkloadJwt, WORKLOAD),
            (Place::Grant, "alice"),
        ] {
            let claims = right(&right(&right(&issued, ours.clone()), json!({ "sub": sub })), fresh());
            let reply = matrix.show(place, &key.sign(typ, &claims).await).await;
            assert_eq!(outcome(&reply), place.refusal(), "{typ} at {place:?}");
        }
        let mut event = matrix.claims(Place::Event);
        event["iss"] = json!(narrows.url);
        let err = if typ == "secevent+jwt" {
            "invalid_issuer"
        } else {
            "invalid_request"
        };
        let reply = matrix.show(Place::Event, &key.sign(typ, &event).await).await;
        assert_eq!(outcome(&reply), (400, err, ""), "{typ} as an event");
    }
    matrix.narrows.stop().await;
}

#[tokio::test]
async fn a_transaction_token_is_no_credential_at_the_api() {
    // TT-12: like the token that a client shows there in all but its kind.
    let narrows = Installation::of(api::plan()).await;
    let (key, own) = (OwnKey::of(&narrows).await, api::own_token(&narrows, "edge", "profile").await);
    let mut claims: Value = {
        use base64::Engine as _;
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(own.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    };
    claims["req_wl"] = json!("edge");
    claims["tctx"] = json!({ "scope": "profile" });
    let shown = async |typ: &str| {
        let token = key.sign(typ, &claims).await;
        narrows.ask("GET", "/v1/tasks", &token, None).await.status
    };
    assert_eq!((shown("at+jwt").await, shown("txntoken+jwt").await), (200, 401));
    narrows.stop().await;
}
