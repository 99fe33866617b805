//! How a secret may be written in what an upstream says back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::credential::SHORTEST;

/// What `secret` says, where it is base64 of a text: all of it, and of user and password that which is the secret.
pub(super) fn said(secret: &str) -> Vec<Zeroizing<String>> {
    let bare = secret.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).map(Zeroizing::new);
    let text = bytes.as_deref().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(text) = text.filter(|text| !text.contains(char::is_control)) else {
        return Vec::new();
    };
    let part = match text.split_once(':') {
        // Some take a key for the user, and no password.
        Some((key, "")) => key,
        Some((_, password)) => password,
        None => "",
    };
    // A shorter one would be found everywhere.
    let is_long = |text: &&str| text.len() >= SHORTEST;
    [text, part].into_iter().filter(is_long).map(|text| Zeroizing::new(text.to_owned())).collect()
}

/// How one byte may be written: as it is, in a URL or a form, in JSON or a script, in HTML.
pub(super) fn escapes(byte: u8) -> Vec<Zeroizing<Vec<u8>>> {
    let mut spelt = vec![
        format!("%{byte:02x}"),
        format!("\\u00{byte:02x}"),
        format!("\\x{byte:02x}"),
        format!("&#{byte};"),
        format!("&#{byte:03};"),
        format!("&#x{byte:x};"),
    ];
    let named = match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&apos;"),
        b' ' => Some("+"),
        _ => None,
    };
    spelt.extend(named.map(str::to_owned));
    if byte.is_ascii_punctuation() {
        spelt.push(format!("\\{}", char::from(byte)));
    }
    let spelt = spelt.into_iter().map(String::into_bytes);
    spelt.chain([vec![byte]]).map(Zeroizing::new).collect()
}
