//! A path as a record may hold it: without what has the form of a token, whoever put it there.

use crate::hygiene::path::Path;
use delegation::token::OpaqueKind;

/// What stands for a segment that is not written down: no character that a path can hold.
const HIDDEN: &str = "…";
/// As many characters of an opaque secret as nobody writes by chance.
const ENOUGH: usize = 16;

/// `path` as it came, each segment that holds a token hidden whole. Segments are looked at decoded: `%65yJ` is `eyJ`.
pub fn path(path: &Path) -> String {
    let raw = path.raw().strip_prefix('/').unwrap_or_default().split('/');
    let shown = raw.zip(path.segments()).map(|(raw, segment)| if holds_token(segment) { HIDDEN } else { raw });
    shown.fold(String::new(), |line, segment| line + "/" + segment)
}

fn holds_token(segment: &str) -> bool {
    let is_of_tokens = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.');
    segment.split(|each| !is_of_tokens(each)).any(|word| is_signed(word) || is_ours(word))
}

/// Three parts at least, of which the first is base64url of a JSON object: signed (RFC 7515 §7.1) or encrypted (RFC 7516 §7.1).
fn is_signed(word: &str) -> bool {
    word.match_indices("eyJ")
        .any(|(at, _)| word.get(at..).is_some_and(|rest| rest.split('.').count() >= 3))
}

/// The beginning of an opaque secret of ours.
fn is_ours(word: &str) -> bool {
    let begins = |rest: &str| rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= ENOUGH;
    let mut kinds = OpaqueKind::ALL.into_iter();
    kinds.any(|(prefix, _)| word.split(prefix).skip(1).any(begins))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::hygiene::path::Path;

    fn shown(path: &str) -> String {
        super::path(&Path::parse(path).unwrap())
    }

    #[test]
    fn what_has_the_form_of_a_token_is_not_in_the_line_of_a_record() {
        let ours = format!("nrwt_{}", "a1".repeat(24));
        let rows = [
            ("/tickets/eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln".to_owned(), "/tickets/…"),
            ("/eyJhbGciOiJkaXIifQ..aXY.Y3Q.dGFn/comments/".to_owned(), "/…/comments/"),
            ("/tickets/token=eyJhbGciOiJFUzI1NiJ9.e30.c2ln,x".to_owned(), "/tickets/…"),
            ("/tickets/%65yJhbGciOiJFUzI1NiJ9.e30.c2ln".to_owned(), "/tickets/…"),
            ("/tickets/x.eyJhbGciOiJFUzI1NiJ9.e30.c2ln".to_owned(), "/tickets/…"),
            (format!("/tickets/{ours}"), "/tickets/…"),
            (format!("/tickets/id-{ours}"), "/tickets/…"),
            (format!("/tickets/{}", ours.replacen("nrwt", "nrws", 1)), "/tickets/…"),
        ];
        for (path, expected) in rows {
            assert_eq!(shown(&path), expected, "{path}");
        }
    }

    #[test]
    fn every_other_path_is_in_the_record_as_it_came() {
        for path in [
            "/",
            "/tickets/42/",
            "/tickets/%65%20yJ",
            "/a.b.c/key.eyJ.1",
            "/nrwt_short/nrw_aaaaaaaaaaaaaaaaaaaa",
            "/eyJhbGciOiJFUzI1NiJ9",
        ] {
            assert_eq!(shown(path), path);
        }
    }
}
