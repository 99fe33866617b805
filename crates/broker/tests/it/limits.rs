//! How many requests in a second, and who pays for a flood.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::installation::{ASSERTION_TYPE, Installation, RULES, Reply};

fn rates(per_client: u32, per_address: u32) -> broker::Rates {
    broker::Rates {
        per_client: NonZeroU32::new(per_client).unwrap(),
        per_address: NonZeroU32::new(per_address).unwrap(),
    }
}

fn assert_limited(reply: &Reply) {
    assert_eq!((reply.status, reply.text("reason")), (429, "rate_limited"), "{:?}", reply.body);
    assert!(reply.headers.contains_key("retry-after"));
    assert!(!reply.text("decision_id").is_empty());
}

#[tokio::test]
async fn a_flood_of_strangers_is_cut_off_and_an_honest_client_at_the_same_address_is_not() {
    // DOS-016: bad secrets, as fast as they come.
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(10_000, 5), narrows.entries()).await;
    let (mut refused, mut limited) = (0, 0);
    for round in 0..200 {
        let name = format!("nobody-{round}");
        let reply = narrows.exchange(&[("client_id", &name), ("client_secret", "wrong")]).await;
        match reply.status {
            401 => refused += 1,
            _ => {
                assert_limited(&reply);
                limited += 1;
            }
        }
        assert_eq!(
            narrows.exchange(&[]).await.status,
            200,
            "the edge shows its secret, and is no stranger"
        );
    }
    assert!(limited > 0 && refused >= 5, "{refused} {limited}");
    // The flood that knows the name of a client is counted as well, and still keeps nobody out.
    let mut last = narrows.exchange(&[("client_secret", "wrong")]).await;
    while last.status != 429 {
        last = narrows.exchange(&[("client_secret", "wrong")]).await;
    }
    assert_limited(&last);
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    narrows.count_up().await;
    let records = narrows.records().await;
    let sum = |reason: &str| -> u64 {
        let of = records.iter().filter(|record| record["reason"] == reason);
        of.map(|record| record.get("count").and_then(Value::as_u64).unwrap_or(1)).sum()
    };
    assert!(sum("rate_limited") > limited, "every refusal is on record");
    let (_, _, metrics) = narrows.get("/metrics").await;
    assert!(metrics.contains(r#"narrows_refusals_total{reason="rate_limited"}"#), "{metrics}");
    narrows.stop().await;
}

#[tokio::test]
async fn guesses_of_a_secret_without_number_find_nothing_and_lock_nobody_out() {
    // CLI-016: ten thousand with the long run; by every method that takes a secret, so that none is a way around the count of the other.
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(10_000, 5), narrows.entries()).await;
    let (mut refused, mut limited) = (0, 0);
    let guesses = std::env::var("NARROWS_GUESSES").map_or(2_000, |text| text.parse().unwrap());
    for guess in 0..guesses {
        let reply = if guess % 2 == 0 {
            let body = format!("grant_type=client_credentials&client_id=edge&client_secret=edge-secre{guess}");
            narrows.post(&body, &[]).await
        } else {
            let basic = STANDARD.encode(format!("edge:edge-secre{guess}"));
            let header = format!("Basic {basic}");
            narrows.post("grant_type=client_credentials", &[("authorization", &header)]).await
        };
        match reply.status {
            401 => refused += 1,
            _ => {
                assert_limited(&reply);
                limited += 1;
            }
        }
        if guess % 500 == 0 {
            assert_eq!(
                narrows.exchange(&[]).await.status,
                200,
                "the one who knows it, from the same address"
            );
        }
    }
    assert_eq!(refused + limited, guesses);
    assert!(refused < limited, "{refused} were looked at and {limited} cut off");
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_over_its_limit_is_told_so_and_nobody_else_is() {
    // DOS-017: one client far over its limit, another steady.
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(3, 1000), narrows.entries()).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&429) && seen.len() < 300 {
        let reply = narrows.exchange(&[]).await;
        if reply.status == 429 {
            assert_limited(&reply);
        }
        seen.push(reply.status);
    }
    assert!(seen.len() > 3 && seen.iter().all(|status| matches!(status, 200 | 429)), "{seen:?}");
    assert_eq!(seen.last(), Some(&429));
    let others = narrows.exchange(&[("client_id", "stranger"), ("client_secret", "stranger-secret")]).await;
    assert_ne!(others.status, 429, "{:?}", others.body);
    narrows.swap(RULES, rates(10_000, 1000), narrows.entries()).await;
    assert_eq!(
        narrows.exchange(&[]).await.status,
        200,
        "a change of limits is in force with the next request"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_over_its_limit_asks_of_no_token_and_still_ends_one() {
    let narrows = Installation::start().await;
    let issued = narrows.exchange(&[("audience", "https://orders.internal")]).await;
    let token = issued.text("access_token");
    narrows.swap(RULES, rates(3, 1000), narrows.entries()).await;
    let mut asked = narrows.about("/oauth2/introspect", "edge", token).await;
    for _ in 0..300 {
        if asked.status != 200 {
            break;
        }
        asked = narrows.about("/oauth2/introspect", "edge", token).await;
    }
    assert_limited(&asked);
    for _ in 0..20 {
        assert_eq!(narrows.about("/oauth2/revoke", "edge", token).await.status, 200);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_that_met_the_limit_may_come_again() {
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(1, 1000), narrows.entries()).await;
    let ask = async |assertion: &str| {
        let changes = [
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", assertion),
            ("client_assertion_type", ASSERTION_TYPE),
        ];
        narrows.exchange(&changes).await
    };
    let mut assertion = narrows.assertion(&[("exp", json!(crate::installation::seconds() + 250))]);
    while ask(&assertion).await.status != 429 {
        assertion = narrows.assertion(&[("exp", json!(crate::installation::seconds() + 250))]);
    }
    let mut again = ask(&assertion).await;
    while again.status == 429 {
        again = ask(&assertion).await;
    }
    assert_eq!(again.status, 200, "nothing of it was used up: {:?}", again.body);
    narrows.stop().await;
}

#[tokio::test]
async fn health_and_metrics_answer_past_every_limit() {
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(1, 1), narrows.entries()).await;
    while narrows.exchange(&[("client_id", "nobody")]).await.status != 429 {}
    for path in ["/healthz", "/readyz", "/metrics", "/oauth2/jwks"] {
        for _ in 0..20 {
            assert_eq!(narrows.get(path).await.0, 200, "{path}");
        }
    }
    narrows.stop().await;
}
