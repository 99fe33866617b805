//! A running broker follows its files, and refuses a bad change whole.

use std::process::Command;

use serde_json::Value;

use crate::served::Served;

fn version(ready: &Value, name: &str) -> String {
    ready.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn a_good_change_is_in_force_and_a_bad_one_is_refused_whole_and_told_three_times() {
    let served = Served::start(|_| ());
    let before = served.ready();

    // A new policy, of a file that was not there.
    let extra = served.path().join("policies/extra.cedar");
    std::fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource) when { context.hour < 6 };",
    )
    .unwrap();
    let old = version(&before, "policy_version");
    let changed = served.until("the new policy is in force", |ready| version(ready, "policy_version") != old);
    assert_eq!(changed.get("refused_change"), Some(&Value::Null));

    // Good configuration with a bad policy: neither is taken.
    let config = served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource) when { context.our < 6 };",
    )
    .unwrap();
    std::fs::write(&config, text.replace("max_lifetime = \"2m\"", "max_lifetime = \"1m\"")).unwrap();
    let refused = served.until("the bad change is refused", |ready| {
        ready.get("refused_change").is_some_and(Value::is_string)
    });
    for name in ["policy_version", "config_version"] {
        assert_eq!(version(&refused, name), version(&changed, name), "{name} stays");
    }
    assert!(version(&refused, "refused_change").contains("extra.cedar:1"), "{refused}");
    assert!(served.get("/metrics").lines().any(|line| line == "narrows_change_refused 1"));
    assert!(
        served.log().contains("the change is refused and the old state stays"),
        "{}",
        served.log()
    );

    // Mended, and told by SIGHUP: both are taken, and nothing is refused any more.
    std::fs::remove_file(&extra).unwrap();
    let pid = served.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let old = version(&changed, "config_version");
    let mended = served.until("the mended change is in force", |ready| version(ready, "config_version") != old);
    assert_eq!(version(&mended, "policy_version"), version(&before, "policy_version"));
    assert_eq!(mended.get("refused_change"), Some(&Value::Null));
    assert!(served.get("/metrics").lines().any(|line| line == "narrows_change_refused 0"));
}
