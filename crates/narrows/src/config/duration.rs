//! Durations and sizes as the configuration writes them.

use std::time::Duration;

/// `"90s"`, `"150ms"`, `"5m"`, `"1h"`, `"30d"`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let at = text.find(|each: char| !each.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(at)?;
    let number: u64 = digits.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// `"512"`, `"64KiB"`, `"1MiB"`.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let (digits, factor) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 1024),
        (_, Some(digits)) => (digits, 1024 * 1024),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}
