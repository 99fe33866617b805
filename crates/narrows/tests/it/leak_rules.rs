//! The rules that the documentation gives to scanners find our tokens, and nothing else.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delegation::token::{OpaqueForm, OpaqueKind};
use regex::Regex;
use testkit::FakeIssuer;

use crate::corp;
use crate::run::{narrows, root};
use crate::served::Served;

/// The regular expressions of a scanner's rules, as the documentation spells them.
fn rules(begins: &str, ends: &str) -> Vec<Regex> {
    let text = std::fs::read_to_string(root().join("docs/leaks.md")).unwrap();
    let spelled = text.lines().filter_map(|line| line.trim().strip_prefix(begins)?.strip_suffix(ends));
    let rules: Vec<_> = spelled.map(|rule| Regex::new(rule).unwrap()).collect();
    assert_eq!(rules.len(), 2, "{begins}");
    rules
}

/// Those of gitleaks, and those of trufflehog.
fn scanners() -> [Vec<Regex>; 2] {
    [rules("regex       = '''", "'''"), rules("token: '", "'")]
}

/// Everything that any rule of a scanner finds in `text`.
fn found<'t>(rules: &[Regex], text: &'t str) -> Vec<&'t str> {
    rules.iter().flat_map(|rule| rule.find_iter(text).map(|found| found.as_str())).collect()
}

/// Where tokens turn up.
fn hidden(token: &str) -> [String; 9] {
    [
        format!("curl -sS -H 'Authorization: Bearer {token}' https://tickets.internal/tickets/42"),
        format!(r#"{{"level":"debug","headers":{{"authorization":"Bearer {token}"}},"status":200}}"#),
        format!(r#"{{"message":"request\n{token}\nended"}}"#),
        format!("export NARROWS_TOKEN={token}; make deploy"),
        format!("GET /callback?state=x&token={token}&y=1 HTTP/1.1"),
        format!("GET /callback?next=%2Fa%3Ftoken%3D{token}%26y%3D1 HTTP/1.1"),
        format!("  token: \"{token}\"  # do not commit"),
        format!("<a href='https://x.example/#{token}'>"),
        token.to_owned(),
    ]
}

/// One token of every kind, each as this program and a running broker gave it.
fn tokens(served: &Served, issuer: &FakeIssuer) -> Vec<String> {
    let ran = |arguments: &[&str], input: &str| {
        let ran = narrows(served.path(), arguments, input);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.out
    };
    let alice = corp::token(issuer, "tickets.full", "support", 300);
    let as_edge = |verb: &[&str]| {
        let asked = ["--client", "edge", "--key", "edge.key"];
        ran(&[verb, &asked, &["--details", "ticket:read/42"]].concat(), &alice).trim().to_owned()
    };
    let among = |text: &str, prefix: &str| {
        let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        words
            .into_iter()
            .find(|word| word.starts_with(prefix))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let operator = ran(&["operator", "add", "ann", "--role", "auditor"], "");
    let client = ran(&["client", "add", "scanner", "--method", "client-secret-post"], "");
    vec![
        as_edge(&["exchange", "--audience", "https://tickets.internal"]),
        as_edge(&["exchange", "--audience", "https://chain.internal"]),
        as_edge(&["task", "start", "--audience", "https://tickets.internal"]),
        among(&operator, "nrwo_"),
        among(&client, "nrws_"),
        // None is issued yet.
        OpaqueForm::make(OpaqueKind::Access, &[0xA5; 32]).expose().to_owned(),
    ]
}

/// Every file under `folder`, as text.
fn files(folder: PathBuf) -> Vec<(PathBuf, String)> {
    let (mut texts, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                texts.push((path, text));
            }
        }
    }
    texts
}

#[test]
fn the_documented_rules_find_every_token_of_ours_and_nothing_else() {
    let issuer = corp::issuer();
    let served = Served::start(|folder| {
        corp::trust(folder, &issuer);
        let rules = folder.join("policies/first.cedar");
        let tasks = "\n@id(\"tasks\") permit (principal == Workload::\"edge\", action == Action::\"task\", resource is Audience);\n";
        std::fs::write(&rules, std::fs::read_to_string(&rules).unwrap() + tasks).unwrap();
        let config = folder.join("narrows.toml");
        let chain = "\n[[audiences]]\nid = \"https://chain.internal\"\ndetails = [\"ticket\"]\nmax_lifetime = \"2m\"\ntoken = \"txn\"\n";
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + chain).unwrap();
    });
    let (scanners, tokens) = (scanners(), tokens(&served, &issuer));
    for token in &tokens {
        // Each is taken by the broker that gave it, and ends; its log and its records then tell of it.
        assert_eq!(narrows(served.path(), &["leak", "report"], token).code, 0);
        for rules in &scanners {
            for line in hidden(token) {
                assert_eq!(found(rules, &line), [token], "{line}");
            }
        }
    }

    // 1. What the broker wrote: its log, and its store with every record, in whatever file it lies.
    let log = served.log();
    assert!(log.contains("serving"), "{log}");
    let mut texts = files(served.path().to_owned());
    assert!(
        texts.iter().any(|(_, text)| text.contains("\"kind\":\"leak\"")),
        "records were read"
    );
    // 2. What others sign, and what is kept of it.
    for folder in ["vectors", "docs", "policies"] {
        texts.extend(files(root().join(folder)));
    }
    texts.extend(["Cargo.lock", "CHANGELOG.md"].map(|name| (PathBuf::from(name), std::fs::read_to_string(root().join(name)).unwrap())));
    texts.push((Path::new("corp").to_owned(), corp::token(&issuer, "tickets.full", "support", 300)));
    // 3. What looks random: identifiers, digests, base64.
    let mut noise = String::new();
    for at in 0..20_000_u32 {
        let digest = digest::digest(&digest::SHA384, &at.to_be_bytes());
        let (id, hex) = (
            uuid::Uuid::now_v7(),
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        );
        noise += &format!("{id} {hex} {} nrw-{at:08x} nrwx_{hex}\n", STANDARD.encode(digest));
    }
    texts.push((Path::new("noise").to_owned(), noise));
    for rules in &scanners {
        for (path, text) in &texts {
            assert_eq!(found(rules, text), Vec::<&str>::new(), "{}", path.display());
        }
    }
}
