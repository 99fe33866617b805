//! What a request costs a guard, beside the bare check of one signature.
//!
//! One thread asks, and its processor time is what is counted. A request is its line and its headers: they are read, the token is
//! found, and everything that a guard asks is asked. The bare check is of the same signatures by the same library, with a key that was
//! read before.

use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use narrows_guard::live::{Decision, Live};

use super::quiet::{self, Quiet};
use crate::figures::{for_each, median};
use crate::server::processor_time_of_thread;
use crate::{Arguments, aims, floor};

pub(crate) const HEAD: [&str; 4] = ["a request at a guard", "µs", "spread", "beside the bare check"];

/// How often each known token is shown in a round: one showing of all would be too short to measure.
const TURNS: usize = 20;

/// Measures all three in every round; gives the rows of the table, and what became of the aims.
pub(super) async fn measure(arguments: &Arguments) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let issuer = quiet::issuer();
    let (key, guard) = (floor::parsed(&issuer.jwks()), super::live(&issuer.issuer, Quiet::of(&issuer)));
    let [mut bare, mut new, mut known] = [const { Vec::new() }; 3];
    // A round before the rounds warms up, and is not counted.
    for round in 0..=arguments.rounds {
        let tokens: Vec<_> = (0..arguments.exchanges).map(|_| quiet::token(&issuer)).collect();
        let shown: Vec<_> = tokens.iter().map(|token| super::shown(token)).collect();
        let before = processor_time_of_thread();
        for token in &tokens {
            verify(token, &key);
        }
        let verified = processor_time_of_thread();
        allow(&guard, &shown).await;
        let allowed = processor_time_of_thread();
        for _ in 0..TURNS {
            allow(&guard, &shown).await;
        }
        let again = processor_time_of_thread();
        if round > 0 {
            bare.push(for_each(verified - before, tokens.len()));
            new.push(for_each(allowed - verified, tokens.len()));
            known.push(for_each(again - allowed, tokens.len() * TURNS));
        }
    }
    let all = [
        ("the bare check of a signature", bare),
        ("a token that is new to it", new),
        ("a token that it knows", known),
    ];
    let all = all.map(|(title, mut times)| (title, median(&mut times), times));
    let [(_, bare, _), (_, new, _), (_, known, _)] = &all;
    let rows = all.iter().map(|(title, time, times)| {
        vec![
            (*title).to_owned(),
            format!("{time:.1}"),
            // They are in order, since their median was asked for.
            format!("{:.1}–{:.1}", times[0], times[times.len() - 1]),
            format!("{:.2}×", time / bare),
        ]
    });
    let aims = vec![
        aims::row("a new token at a guard beside the bare check", new / bare, true, 1.15, "×"),
        aims::row("a known token at a guard", *known, true, 3.0, " µs"),
    ];
    (rows.collect(), aims)
}

async fn allow(guard: &Live<Quiet>, shown: &[HeaderMap]) {
    for headers in shown {
        let decision = super::decide(guard, headers).await;
        assert!(matches!(decision, Decision::Allowed(_)), "what is refused is not measured");
    }
}

fn verify(token: &str, key: &ParsedPublicKey) {
    let (input, signature) = token.rsplit_once('.').unwrap();
    key.verify_sig(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}
