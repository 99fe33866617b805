//! A request shows one credential, in one place, or none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::hygiene::credential::{Credential, CredentialError, Scheme};
use narrows_guard::{Body, Call};

use crate::guarded::{at, bearer, call, claims, reader, token, word};

fn shown(lines: &[&[u8]], target: &str) -> Result<Option<Credential>, CredentialError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
    }
    let call = Call::parse("GET", b"tickets.internal", target.as_bytes(), &headers, Body::Absent).unwrap();
    Credential::of(&headers, &call)
}

fn posted(kinds: &[&'static str], coding: Option<&'static str>, body: &str) -> Result<Option<Credential>, CredentialError> {
    let mut headers = HeaderMap::new();
    for kind in kinds {
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    let body = Body::Whole(Bytes::copy_from_slice(body.as_bytes()));
    let call = Call::parse("POST", b"tickets.internal", b"/a", &headers, body).unwrap();
    Credential::of(&headers, &call)
}

/// GWY-011.
#[test]
fn a_scheme_is_followed_by_one_space_and_a_token() {
    for (line, scheme) in [
        ("Bearer a.b-c_~+/==", Scheme::Bearer),
        ("bearer a.b-c_~+/==", Scheme::Bearer),
        ("dPoP a.b-c_~+/==", Scheme::Dpop),
    ] {
        let credential = shown(&[line.as_bytes()], "/a").unwrap().unwrap();
        assert_eq!((credential.scheme(), credential.token()), (scheme, "a.b-c_~+/=="));
    }
    assert!(shown(&[], "/a").unwrap().is_none());
    for (line, why) in [
        (&b""[..], CredentialError::Grammar),
        (b"Bearer", CredentialError::Grammar),
        (b"Bearer ", CredentialError::Grammar),
        (b"Bearer  a", CredentialError::Grammar),
        (b"Bearer a ", CredentialError::Grammar),
        (b"Bearer a b", CredentialError::Grammar),
        (b"Bearer\ta", CredentialError::Grammar),
        (b"Bearer a\tb", CredentialError::Grammar),
        (b"Bearer \xc2\xa0a", CredentialError::Grammar),
        (b"Bearer\xa0a", CredentialError::Grammar),
        (b"Bearer \"a\"", CredentialError::Grammar),
        (b"Bearer =", CredentialError::Grammar),
        (b"Bearer a=b", CredentialError::Grammar),
        (b" Bearer a", CredentialError::Scheme),
        (b"Basic YTpi", CredentialError::Scheme),
        (b"Token a", CredentialError::Scheme),
        (b"Bearer: a", CredentialError::Scheme),
        (b"Bearer a,", CredentialError::Several),
        (b"Bearer a,Bearer b", CredentialError::Several),
        (b"Bearer a, DPoP b", CredentialError::Several),
    ] {
        assert_eq!(shown(&[line], "/a").err(), Some(why), "{}", String::from_utf8_lossy(line));
    }
}

/// GWY-011.
#[test]
fn a_token_is_at_most_16_kib() {
    let line = |length: usize| format!("Bearer {}", "a".repeat(length));
    assert!(shown(&[line(16 * 1024).as_bytes()], "/a").is_ok());
    assert_eq!(shown(&[line(16 * 1024 + 1).as_bytes()], "/a").err(), Some(CredentialError::Long));
}

/// GWY-011.
#[test]
fn two_lines_are_two_credentials_even_if_they_are_equal() {
    assert_eq!(shown(&[b"Bearer a", b"Bearer a"], "/a").err(), Some(CredentialError::Several));
    assert_eq!(shown(&[b"Bearer a", b""], "/a").err(), Some(CredentialError::Several));
}

/// GWY-014.
#[test]
fn a_token_in_the_query_is_refused_in_every_spelling() {
    for query in [
        "access_token=a",
        "access_token",
        "x=1&access_token=a",
        "x=1;access_token=a",
        "%61ccess_token=a",
        "access%5ftoken=a",
        "access%5Ftoken=a",
        "Access_Token=a",
        "+access_token=a",
        "access.token=a",
        "access+token=a",
        "access_token[]=a",
        "access_token%5B0%5D=a",
        "[access_token]=a",
        "access%5Btoken=a",
        "access_token%00=a",
    ] {
        assert_eq!(
            shown(&[], &format!("/a?{query}")).err(),
            Some(CredentialError::Elsewhere),
            "{query}"
        );
    }
    for query in [
        "token=a",
        "x=access_token",
        "my_access_token=a",
        "access_tokens=a",
        "a[access_token]=a",
        "",
    ] {
        assert!(shown(&[], &format!("/a?{query}")).unwrap().is_none(), "{query}");
    }
}

/// GWY-013.
#[test]
fn a_token_that_is_shown_in_two_ways_is_refused() {
    assert_eq!(shown(&[b"Bearer a"], "/a?access_token=a").err(), Some(CredentialError::Elsewhere));
    let form = "application/x-www-form-urlencoded";
    for body in ["access_token=a", "x=1&access%5Ftoken=a", "x=1&Access_Token"] {
        assert_eq!(posted(&[form], None, body).err(), Some(CredentialError::Elsewhere), "{body}");
    }
    for kinds in [&["Application/X-WWW-Form-Urlencoded; charset=UTF-8"][..], &["text/plain", form]] {
        assert_eq!(
            posted(kinds, None, "access_token=a").err(),
            Some(CredentialError::Elsewhere),
            "{kinds:?}"
        );
    }
    assert!(posted(&[form], None, "x=access_token").unwrap().is_none());
    assert!(posted(&["text/plain"], None, "access_token=a").unwrap().is_none(), "no form");
}

/// GWY-013, GWY-046.
#[test]
fn a_form_that_cannot_be_looked_into_is_refused() {
    let form = "application/x-www-form-urlencoded";
    assert_eq!(posted(&[form], Some("gzip"), "\u{1f}").err(), Some(CredentialError::Elsewhere));
    assert!(posted(&["application/json"], Some("gzip"), "\u{1f}").unwrap().is_none());
}

#[test]
fn nothing_that_is_printed_shows_the_token() {
    let credential = shown(&[b"Bearer sesame"], "/a").unwrap().unwrap();
    assert!(!format!("{credential:?}").contains("sesame"));
    let error = shown(&[b"Sesame sesame,"], "/a").err().unwrap();
    assert!(!format!("{error} {error:?}").contains("esame"));
}

/// GWY-013, GWY-014: as it is, and as a backend reads it after one decoding.
#[test]
fn a_token_is_found_in_every_other_place_and_however_it_is_encoded() {
    let secret = "abcdefghijklmnopqrstuvwxyz";
    let authorization = HeaderValue::try_from(format!("Bearer a.b.{secret}")).unwrap();
    let repeated = |name: &'static str, value: &str, target: &str, body: &str| {
        let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, authorization.clone())]);
        headers.append(name, HeaderValue::from_str(value).unwrap());
        let body = Body::Whole(Bytes::copy_from_slice(body.as_bytes()));
        let call = Call::parse("POST", b"tickets.internal", target.as_bytes(), &headers, body).unwrap();
        Credential::of(&headers, &call).unwrap().unwrap().is_repeated(&headers, &call)
    };
    let encoded = secret.replace('m', "%6d");
    for said in [secret, &encoded] {
        assert!(repeated("cookie", said, "/a", ""), "{said}");
        assert!(repeated("x", "y", &format!("/a?q={said}"), ""), "{said}");
        assert!(repeated("x", "y", "/a", &format!("x={said}")), "{said}");
    }
    assert!(!repeated("cookie", "abcdefghijkl%6nopqrstuvwxyz", "/a?q=%20b", "x=%"));
}

/// The same token under its other signature: of ES256 there are two, `s` and `n - s`, and both verify.
fn twin(token: &str) -> String {
    const N: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84,
        0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrowed = 0;
    for at in (0..32).rev() {
        let left = i16::from(N[at]) - i16::from(bytes[32 + at]) - borrowed;
        borrowed = i16::from(left < 0);
        bytes[32 + at] = u8::try_from(left.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// GWY-013, GWY-014.
#[test]
fn a_token_is_found_under_its_other_signature_too() {
    let right = token(&claims());
    let other = twin(&right);
    assert!(right != other && twin(&other) == right);
    let guard = reader();
    let check = |headers: &HeaderMap| word(&guard.check(&call(), headers, &at()));
    for (shown, copy) in [(&right, &other), (&other, &right)] {
        let mut headers = bearer(shown);
        assert_eq!(check(&headers), "allowed", "both are tokens");
        let mut secret = Credential::of(&headers, &call()).unwrap().unwrap().secret().unwrap();
        let (begins, ends) = copy.as_bytes().split_at(copy.len() / 2);
        assert!(!secret.comes_with(begins) && secret.comes_with(ends), "in a body that goes by");
        headers.insert("x-copy", HeaderValue::from_str(copy).unwrap());
        assert_eq!(check(&headers), "malformed_request");
    }
}
