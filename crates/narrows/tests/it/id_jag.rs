//! An ID-JAG on the command line: shown as an assertion, told in words, and the story of a second showing.

use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::corp;
use crate::run::narrows;
use crate::served::Served;

/// A broker that takes ID-JAGs of `corp` from the client `edge`.
fn served(issuer: &FakeIssuer) -> Served {
    Served::start(|folder| {
        corp::trust(folder, issuer);
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("\njwks_file =", "\ntoken_types = [\"access_token\", \"id_jag\"]\njwks_file =");
        let text = text.replace("id   = \"edge\"", "id   = \"edge\"\ngrants = [\"token_exchange\", \"jwt_bearer\"]");
        std::fs::write(&config, text).unwrap();
    })
}

fn id_jag(issuer: &FakeIssuer, broker: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(since.as_secs()).unwrap();
    let claims = json!({
        "iss": issuer.issuer, "sub": "alice", "aud": broker, "client_id": "edge", "jti": "one", "iat": now - 5, "exp": now + 300,
        "scope": "tickets.full", "groups": ["support"],
    });
    issuer.sign("oauth-id-jag+jwt", &claims)
}

#[test]
fn it_is_exchanged_inspected_and_once_only() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let metadata: Value = serde_json::from_str(&served.get("/.well-known/oauth-authorization-server")).unwrap();
    let broker = metadata.get("issuer").and_then(Value::as_str).unwrap();
    let grant = id_jag(&issuer, broker);

    let told = narrows(served.path(), &["inspect"], &grant);
    assert!(
        told.code == 0
            && told.out.contains("verified   signed by https://login.corp.example")
            && told.out.contains("for client edge to show once"),
        "{told:?}"
    );

    let show = |kind: &str| {
        let asked = ["--audience", "https://tickets.internal", "--details", "ticket:read/42", "--json"];
        let who = ["exchange", "--client", "edge", "--key", "edge.key", "--subject-token-type", kind];
        narrows(served.path(), &[who.as_slice(), &asked].concat(), &grant)
    };
    let member = |out: &str, name: &str| {
        let reply: Value = serde_json::from_str(out).unwrap();
        reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    assert_eq!(member(&show("access_token").out, "reason"), "subject_token_invalid");
    let issued = show("id_jag");
    assert!(issued.code == 0 && member(&issued.out, "token_type") == "Bearer", "{issued:?}");
    let again = show("id_jag");
    assert_eq!(
        (again.code, member(&again.out, "error"), member(&again.out, "reason")),
        (1, "invalid_grant".to_owned(), "subject_token_invalid".to_owned())
    );
    let story = narrows(served.path(), &["why", &member(&again.out, "decision_id")], "").out;
    assert!(
        story.contains("ceiling      details ticket:list, ticket:read,update; scopes tickets.full\n")
            && story.contains("an ID-JAG is for our issuer alone and is taken once")
            && !story.contains("write a permit"),
        "{story}"
    );
    let unknown = show("saml2");
    assert!(unknown.code == 1 && unknown.err.contains("id_jag"), "{unknown:?}");
}

#[test]
fn the_entry_for_an_unknown_sender_of_id_jags_passes_check_as_pasted() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let issuer = FakeIssuer::es256("https://id.partner.example");
    let ran = narrows(folder.path(), &["inspect"], &id_jag(&issuer, "http://127.0.0.1:8420"));
    assert!(ran.code == 1 && ran.out.contains("NOT VERIFIED"), "{ran:?}");
    let table = ran.out.split("entry is:\n").nth(1).unwrap();
    assert!(
        table.contains("token_types = [\"id_jag\"]") && !table.contains("exchangers"),
        "{table}"
    );
    let config = folder.path().join("narrows.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{before}\n{table}\n")).unwrap();
    let checked = narrows(folder.path(), &["check"], "");
    assert_eq!(checked.code, 0, "{table}\n{}", checked.out);
}
