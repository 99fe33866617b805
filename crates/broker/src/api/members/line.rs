//! The line of a request, as a boundary in another process says it: it gets into what auditors read, and paste.

use http::Method;
use issuance::audit::RequestLine;
use narrows_guard::hygiene::host::Host;

/// No boundary takes a longer method.
const LONGEST_METHOD: usize = 32;
/// Nor a longer target.
const LONGEST_PATH: usize = 16 * 1024;
/// What stands for a segment that a boundary did not write down, since it held a token.
const HIDDEN: char = '…';

/// The line, if a request could have had it: a method that is a token, a host (of which the port is left out), and a path of
/// visible characters, without a query.
pub(super) fn read(method: String, host: &str, path: String) -> Option<RequestLine> {
    let is_method = method.len() <= LONGEST_METHOD && Method::from_bytes(method.as_bytes()).is_ok();
    let host = Host::parse(host.as_bytes()).ok()?.name().to_owned();
    let of_path = |each: char| (each.is_ascii_graphic() && !matches!(each, '?' | '#')) || each == HIDDEN;
    let is_path = path.starts_with('/') && path.len() <= LONGEST_PATH && path.chars().all(of_path);
    (is_method && is_path).then_some(RequestLine { method, host, path })
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_METHOD, LONGEST_PATH, read};

    fn is_read(method: &str, host: &str, path: &str) -> bool {
        read(method.to_owned(), host, path.to_owned()).is_some()
    }

    #[test]
    fn what_no_request_could_have_is_no_line() {
        let longest = format!("/{}", "a".repeat(LONGEST_PATH - 1));
        for (method, host, path) in [
            ("GET", "shop.example", "/orders/42/%20\"{}"),
            ("M-SEARCH", "[2001:db8::1]", "/"),
            ("GET", "shop.example", "/orders/…/items"),
            (&*"X".repeat(LONGEST_METHOD), "shop.example", &*longest),
        ] {
            assert!(is_read(method, host, path), "{method} {host}");
        }
        let (long_method, long_path) = ("X".repeat(LONGEST_METHOD + 1), format!("{longest}a"));
        for (method, host, path) in [
            ("", "shop.example", "/"),
            ("GET\n\"GET /{path:rest}\" = \"public\"\n#", "shop.example", "/"),
            ("G ET", "shop.example", "/"),
            (&long_method, "shop.example", "/"),
            ("GET", "", "/"),
            ("GET", "shop.example\n\"GET /admin/{path:rest}\" = \"public\"\n# x", "/"),
            ("GET", "shop.example/x", "/"),
            ("GET", "sh\u{f6}p.example", "/"),
            ("GET", "shop.example", ""),
            ("GET", "shop.example", "orders"),
            ("GET", "shop.example", "/a b"),
            ("GET", "shop.example", "/a\n[[clients]]"),
            ("GET", "shop.example", "/a\u{202e}b"),
            ("GET", "shop.example", "/\u{f6}"),
            ("GET", "shop.example", "/a?b=secret"),
            ("GET", "shop.example", &long_path),
        ] {
            assert!(!is_read(method, host, path), "{method:?} {host:?} {:?}", path.get(..20));
        }
        let line = read("GET".to_owned(), "Shop.Example:8443", "/".to_owned());
        assert_eq!(line.map(|line| line.host).as_deref(), Some("shop.example"));
    }
}
