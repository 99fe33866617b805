//! The token in a second place under another signature: ECDSA takes `s` and `n - s`, so whoever has what is signed and one signature has two.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::{Broker, Row};

/// The order of P-256 (SEC 2 §2.4.2), big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
    0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    let right = broker.token(&json!({}));
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let payload = signed.split_once('.').unwrap().1;
    let twin = format!("{signed}.{}", twin(signature));
    let encoded: String = signed.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let read = |name: &str| Row::new(name, "GET", "/tickets/7");
    let to = |name: &str, target: &str| Row::new(name, "GET", target).bearer(&right);
    let sent = |name: &str, method: &'static str, target: &str, kind: &str, body: &str| {
        Row::new(name, method, target).sending(kind, body).bearer(&right)
    };
    let long = "a".repeat(20);
    vec![
        read("the token's twin").bearer(&twin),
        read("the token's twin in another header").bearer(&right).with("x-token", &twin),
        read("the token in another header, of its twin").bearer(&twin).with("x-token", &right),
        read("what is signed in another header").bearer(&right).with("x-token", signed),
        read("the payload in another header").bearer(&right).with("x-token", payload),
        read("what is signed in a cookie, encoded").bearer(&right).with("cookie", &format!("s={encoded}")),
        to("the token's twin in the query", &format!("/tickets/7?s={twin}")),
        to("what is signed in the query, encoded", &format!("/tickets/7?s={encoded}")),
        to("the token's twin on a public route", &format!("/healthz?s={twin}")),
        sent(
            "a form that repeats the token's twin",
            "GET",
            "/tickets/7",
            "application/x-www-form-urlencoded",
            &format!("a={twin}"),
        ),
        sent(
            "JSON that repeats the token's twin",
            "PATCH",
            "/tickets/7",
            "application/json",
            &format!("{{\"a\":\"{twin}\"}}"),
        ),
        // What is no token of ours has something signed only where that has two parts, and is looked for only where it is long.
        read("two parts, and the first again").bearer(&format!("{long}.b")).with("x-token", &long),
        read("three parts, and the first two again")
            .bearer(&format!("{long}.b.c"))
            .with("x-token", &format!("{long}.b")),
        read("three short parts, and the first two again").bearer("a.b.c").with("x-token", "a.b"),
        read("one part, and again").bearer(&long).with("x-token", &long),
    ]
}

/// The other signature of the same: `(r, n - s)`.
fn twin(signature: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = false;
    for (byte, of_order) in bytes.iter_mut().skip(32).zip(ORDER).rev() {
        let (less, first) = of_order.overflowing_sub(*byte);
        let (less, second) = less.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (less, first || second);
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
