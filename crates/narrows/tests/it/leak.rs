//! `leak report`: whoever has the token needs nothing else.

use crate::corp;
use crate::run::narrows;
use crate::served::Served;

/// Alice's token, exchanged by the edge.
fn exchanged(served: &Served, outside: &str) -> crate::run::Ran {
    let asked = [
        "exchange",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        "https://tickets.internal",
        "--details",
        "ticket:read/42",
    ];
    narrows(served.path(), &asked, outside)
}

#[test]
fn a_token_is_reported_by_whoever_has_it_and_is_dead() {
    let issuer = corp::issuer();
    let served = Served::start(|folder| corp::trust(folder, &issuer));
    let outside = corp::token(&issuer, "tickets.full", "support", 300);
    assert_eq!(exchanged(&served, &outside).code, 0);

    let dry = narrows(served.path(), &["leak", "report", "--dry-run"], &outside);
    assert!(
        dry.code == 0 && dry.out.contains("a signed token") && dry.out.contains("/v1/leaks"),
        "{dry:?}"
    );
    assert_eq!(exchanged(&served, &outside).code, 0, "nothing was done");

    // From a folder without a configuration: the address is enough.
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("http://{}", served.address);
    let report = ["leak", "report", "--url", &url, "--found-in", "a build log"];
    let reported = narrows(elsewhere.path(), &report, &format!("{outside}\n"));
    assert!(reported.code == 0 && !reported.out.contains(&outside), "{reported:?}");
    let refused = exchanged(&served, &outside);
    assert!(refused.code == 1 && refused.err.contains("subject_token_revoked"), "{refused:?}");

    // What nobody knows is taken alike; what is no report is not.
    let unknown = narrows(served.path(), &["leak", "report"], "nothing");
    assert_eq!((unknown.code, unknown.out), (0, reported.out));
    let empty = narrows(served.path(), &["leak", "report"], "");
    assert!(empty.code == 1 && empty.err.contains("standard input"), "{empty:?}");
    let long = "x".repeat(201);
    let long = narrows(served.path(), &["leak", "report", "--found-in", &long], "nothing");
    assert!(long.code == 1 && long.err.contains("--found-in"), "{long:?}");
    let large = narrows(served.path(), &["leak", "report"], &"x".repeat(20_000));
    assert!(large.code == 1 && large.err.contains("413 (too_large)"), "{large:?}");
}
