//! What was aimed at, beside what was measured.

use crate::contest::{Contestant, Name};

pub(crate) const HEAD: [&str; 4] = ["aim", "", "measured", ""];

/// A row of the aims: at most, or at least, `bound` of `unit`.
pub(crate) fn row(what: &str, measured: f64, at_most: bool, bound: f64, unit: &str) -> Vec<String> {
    let met = if at_most { measured <= bound } else { measured >= bound };
    let digits = match unit {
        "×" => 2,
        _ if bound < 10.0 => 1,
        _ => 0,
    };
    vec![
        what.to_owned(),
        format!("{} {bound}{unit}", if at_most { "≤" } else { "≥" }),
        format!("{measured:.digits$}{unit}"),
        if met { "met" } else { "not met" }.to_owned(),
    ]
}

/// The aims that speak of two series, as far as both took part.
pub(crate) fn rows(contestants: &[Contestant]) -> Vec<Vec<String>> {
    let time = |name| contestants.iter().find(|each| each.name == name).map(|each| each.series.processor_time());
    [
        ("an exchange beside the floor", Name::Policies10, Name::Floor, true, 1.6),
        ("10 → 10,000 policies", Name::Policies10000, Name::Policies10, true, 1.3),
        (
            "an exchange, 10³ → 10⁷ revocations",
            Name::Revoked10000000,
            Name::Revoked1000,
            true,
            1.05,
        ),
        (
            "a repeated subject beside a first one",
            Name::SameSubject,
            Name::Policies10,
            true,
            0.6,
        ),
        ("oidc-provider beside an exchange", Name::OidcProvider, Name::Policies10, false, 3.0),
        ("oauth-as beside an exchange", Name::OauthAs, Name::Policies10, false, 1.5),
    ]
    .into_iter()
    .filter_map(|(what, one, other, at_most, bound)| Some(row(what, time(one)? / time(other)?, at_most, bound, "×")))
    .collect()
}
