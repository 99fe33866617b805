//! `explain` by request line, where a guard stands: what token it takes for this very request, or why none.

use std::path::Path;

use serde_json::{Value, json};

use crate::guard::{behind, guard};
use crate::run::{Ran, narrows};

/// What `init` writes, with the service of tickets behind `more`.
fn installation(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let tenants = text.replace("{ fields = \"subset\" }", "{ fields = \"subset\", tenant = \"equal\" }").replace(
        "actions.read   = { identifier = \"required\" }",
        "actions.read   = { identifier = \"required\", constraints = [\"tenant\"] }",
    );
    let ours = behind("http://127.0.0.1:9") + "\"GET /of/{tenant}/{id}\" = \"ticket:read/{id}?tenant={tenant}\"\n";
    std::fs::write(&config, tenants + &ours + more).unwrap();
    folder
}

fn explain(folder: &Path, arguments: &[&str]) -> Ran {
    narrows(folder, &[&["explain"], arguments].concat(), "")
}

fn told(folder: &Path, arguments: &[&str]) -> Value {
    let ran = explain(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

const TICKET: [&str; 2] = ["GET", "https://tickets.internal/tickets/42"];
const FRONT: &str = "\n[[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = \"*\"\n\
                     origin = \"https://edge.example\"\nproxy = \"127.0.0.1:0\"\n";

#[test]
fn a_request_to_a_guard_is_told_with_the_token_that_it_takes() {
    let folder = installation(&guard(""));
    let ran = explain(folder.path(), &TICKET);
    assert_eq!(ran.code, 2, "neither allowed nor refused: {ran:?}");
    for part in [
        "service      tickets\nroute        GET /tickets/{id}  at narrows.toml:",
        "\naudience     https://tickets.internal\nguard        tickets-guard at 127.0.0.1:0\nneeded       ticket:read/42\nexcess       same_resource: ",
        "not asked    policy",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let of_tickets = told(folder.path(), &TICKET);
    let ours = json!([{
        "client": "tickets-guard", "listen": "127.0.0.1:0", "excess": "same_resource", "recheck": "never", "details": ["ticket:read/42"],
    }]);
    assert_eq!(
        (&of_tickets["allowed"], &of_tickets["guards"], &of_tickets["service"]),
        (&Value::Null, &ours, &json!("tickets"))
    );
    // Whether somebody gets such a token, policy says.
    let whose = |client: &str, group: &str| {
        let who = ["--client", client, "--subject", "corp|alice", "--group", group];
        explain(folder.path(), &[&TICKET[..], &who].concat()).code
    };
    assert_eq!(
        (whose("edge", "support"), whose("edge", "sales"), whose("zz", "support")),
        (0, 1, 1)
    );
    let public = explain(folder.path(), &["GET", "https://tickets.internal/healthz"]);
    assert!(public.code == 0 && public.out.contains("public"), "{public:?}");
}

#[test]
fn what_a_guard_refuses_whatever_token_comes_is_told_with_the_cause() {
    let folder = installation(&guard(""));
    let rows: [(&[&str], &str, &str); 4] = [
        (
            &["GET", "https://tickets.internal/tickets//42"],
            "malformed_request",
            "an empty segment",
        ),
        (
            &["GET", "https://tickets.internal/nowhere?access_token=x"],
            "malformed_request",
            "Authorization alone",
        ),
        (&["DELETE", "https://tickets.internal/tickets/42"], "no_route", "GET /tickets/{id}"),
        (
            &["GET", "https://elsewhere.internal/", "--guard", "tickets"],
            "no_route",
            "the guard serves no such host",
        ),
    ];
    for (request, reason, word) in rows {
        let ran = explain(folder.path(), request);
        assert!(
            ran.code == 1 && ran.out.contains(reason) && ran.out.contains(word) && ran.out.contains("guard        tickets-guard"),
            "{request:?}: {ran:?}"
        );
        let told = told(folder.path(), request);
        assert_eq!((&told["allowed"], &told["reason"]), (&json!(false), &json!(reason)), "{told}");
    }
}

#[test]
fn each_guard_of_a_service_says_what_it_takes() {
    let fixed = "fixed = { tenant = \"acme\" }\nexcess = \"none\"\nrecheck = \"each\"";
    let folder = installation(&(guard(fixed) + &guard("excess = \"any\"")));
    let ran = explain(folder.path(), &TICKET);
    for part in [
        "needed       ticket:read/42?tenant=acme\nexcess       none: ",
        "recheck      policy is asked again",
        "needed       ticket:read/42\nexcess       any: ",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let other = ["GET", "https://tickets.internal/of/other/42"];
    let ran = explain(folder.path(), &other);
    let parts = ["refused      wider_than_subject: ", "needed       ticket:read/42?tenant=other\n"];
    assert!(ran.code == 2 && parts.iter().all(|part| ran.out.contains(part)), "{ran:?}");
    let alone = installation(&guard(fixed));
    let told = told(alone.path(), &other);
    assert_eq!(
        (&told["allowed"], &told["reason"]),
        (&json!(false), &json!("wider_than_subject")),
        "{told}"
    );
}

#[test]
fn a_host_is_a_boundarys_where_one_serves_it_and_a_guard_is_asked_by_name() {
    let folder = installation(&(guard("") + FRONT));
    assert_eq!(told(folder.path(), &TICKET)["boundary"], "front");
    let named = told(folder.path(), &[&TICKET[..], &["--guard", "tickets"]].concat());
    assert_eq!(named["guards"][0]["client"], "tickets-guard");
    let other = explain(folder.path(), &[&TICKET[..], &["--guard", "notes"]].concat());
    assert!(
        other.code == 1 && other.err.contains("service `notes` has no guard; there are those of: tickets"),
        "{other:?}"
    );

    let alone = installation(&guard(""));
    let nowhere = explain(alone.path(), &["GET", "https://elsewhere.internal/"]);
    assert!(
        nowhere.code == 1 && nowhere.err.contains("no boundary serves the host `elsewhere.internal`, and no guard"),
        "{nowhere:?}"
    );
    let nothing = installation("");
    let nobody = explain(nothing.path(), &TICKET);
    assert!(
        nobody.code == 1 && nobody.err.contains("there is no boundary and no guard"),
        "{nobody:?}"
    );
}

/// A service may guard itself, by a client that receives its audience.
#[test]
fn a_service_that_guards_itself_is_told_as_that() {
    let folder = installation("");
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let within = text.replace(
        "id       = \"tickets-guard\"\n",
        "id       = \"tickets-guard\"\ndata_plane = true\n",
    );
    assert_ne!(within, text);
    std::fs::write(&config, within).unwrap();
    let ran = explain(folder.path(), &TICKET);
    let part = "guard        tickets-guard, in the service\nneeded       ticket:read/42\n";
    assert!(ran.code == 2 && ran.out.contains(part), "{ran:?}");
}
