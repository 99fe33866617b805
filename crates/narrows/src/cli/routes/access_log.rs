//! Lines of access logs: whoever could send a request wrote part of each.

use std::io::BufRead;

use serde_json::Value;

/// A longer line is none.
const LONGEST: usize = 64 * 1024;

/// What a line says of a request, without its query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
}

/// Gives each line of `log` to `take`, without keeping more than one; a line that is too long is given as nothing.
pub(super) fn each_line(mut log: impl BufRead, mut take: impl FnMut(&[u8])) -> Result<(), std::io::Error> {
    let (mut line, mut is_long) = (Vec::new(), false);
    loop {
        let buffer = log.fill_buf()?;
        if buffer.is_empty() {
            if !line.is_empty() || is_long {
                take(&line);
            }
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        if is_long || line.len() + part.len() > LONGEST {
            is_long = true;
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        let read = part.len() + usize::from(end.is_some());
        log.consume(read);
        if end.is_some() {
            take(&line);
            line.clear();
            is_long = false;
        }
    }
}

impl Line {
    /// Reads one line of nginx, Apache or Traefik (common and combined), of Envoy's default, or of Caddy's and Traefik's JSON.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
        if line.starts_with('{') {
            Self::of_json(line)
        } else {
            Self::of_text(line)
        }
    }

    fn of_json(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str);
        let status = ["/status", "/DownstreamStatus", "/OriginStatus"];
        let status = status.iter().find_map(|pointer| line.pointer(pointer)?.as_u64());
        let (method, target) = match (text("/request/method"), text("/request/uri")) {
            (Some(method), Some(target)) => (method, target),
            _ => (text("/RequestMethod")?, text("/RequestPath")?),
        };
        Self::of(method, target, status.and_then(|status| u16::try_from(status).ok()))
    }

    /// `… [time] "METHOD TARGET VERSION" STATUS …`; Envoy begins with the time.
    fn of_text(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("] \"")?;
        // A quotation mark of the request is written in another way by all of them.
        let (request, rest) = rest.split_once('"')?;
        let mut words = request.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/") {
            return None;
        }
        let status = rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()?;
        Self::of(method, target, Some(status))
    }

    fn of(method: &str, target: &str, status: Option<u16>) -> Option<Self> {
        let target = match target.split_once("://") {
            // The absolute form: a path stands behind the host.
            Some(("http" | "https", rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            _ => target.strip_prefix('/')?,
        };
        let path = target.split(['?', '#']).next().unwrap_or_default();
        Some(Self {
            method: method.to_owned(),
            path: format!("/{path}"),
            status,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::{LONGEST, Line, each_line};

    #[test]
    fn each_format_is_known_by_its_line() {
        let lines = [
            r#"203.0.113.7 - alice [26/Nov/2026:10:00:00 +0000] "GET /orders/7?token=secret HTTP/1.1" 200 512 "-" "curl/8 \"x\"""#,
            r#"203.0.113.7 - - [26/Nov/2026:10:00:00 +0000] "GET /orders/7 HTTP/2.0" 200 512"#,
            r#"203.0.113.7 - - [26/Nov/2026:10:00:00 +0000] "GET /orders/7 HTTP/1.1" 200 5 "-" "-" 1 "orders@file" "http://10.0.0.1" 3ms"#,
            r#"[2026-11-26T10:00:00.000Z] "GET /orders/7 HTTP/1.1" 200 - 0 12 3 2 "-" "curl/8" "id" "shop.example" "10.0.0.1:80""#,
            r#"{"level":"info","request":{"method":"GET","host":"shop.example","uri":"/orders/7?a=b","headers":{"Cookie":["x"]}},"status":200}"#,
            r#"{"RequestMethod":"GET","RequestPath":"/orders/7?a=b","DownstreamStatus":200}"#,
            r#"203.0.113.7 - - [26/Nov/2026:10:00:00 +0000] "GET http://shop.example/orders/7 HTTP/1.1" 200 512"#,
        ];
        for line in lines {
            let read = Line::parse(line.as_bytes()).unwrap();
            assert_eq!(
                (read.method.as_str(), read.path.as_str(), read.status),
                ("GET", "/orders/7", Some(200)),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_line_is_none() {
        for line in [
            &b""[..],
            b"hello",
            b"\xff\xfe] \"GET / HTTP/1.1\" 200",
            b"x - - [t] \"\\x16\\x03\\x01\" 400 0",
            b"x - - [t] \"GET /a b HTTP/1.1\" 200 0",
            b"x - - [t] \"GET /a\" 200 0",
            b"{\"request\":{\"method\":\"GET\"}}",
            b"{",
        ] {
            assert_eq!(Line::parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let log = [vec![b'x'; 3 * LONGEST], b"\nshort\n".to_vec(), b"last".to_vec()].concat();
        let mut seen = Vec::new();
        each_line(log.as_slice(), |line| seen.push(line.len())).unwrap();
        assert_eq!(seen, [0, 5, 4]);
    }
}
