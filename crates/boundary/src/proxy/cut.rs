//! Cuts a secret out of bytes that come in pieces, wherever the pieces end.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use zeroize::{Zeroize as _, Zeroizing};

use super::spelt::{escapes, said};

/// What of a secret is written in its place: one of these that is in none of its spellings. A space is in none, but of a secret that
/// is base64 of one.
const FILLERS: [u8; 5] = [b'*', b'~', b' ', b'#', b'^'];

/// The spellings of a secret that are looked for.
///
/// Each is written over with as many fillers, so that lengths stay what they were said to be. Since no spelling holds a filler,
/// what is written makes none of them anew.
pub(super) struct Spellings {
    /// As it is and in base64; the longest first.
    words: Vec<Zeroizing<Vec<u8>>>,
    /// Of it, and of what it says, how each byte may be written, in any mixture: programs differ in what they escape.
    escaped: Vec<Vec<Vec<Zeroizing<Vec<u8>>>>>,
    begins: [bool; 256],
    filler: u8,
}

/// Without a word of them.
impl std::fmt::Debug for Spellings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Spellings(..)")
    }
}

impl Spellings {
    /// Those of `secret`: as it is, percent-encoded or escaped for JSON, scripts or HTML, byte by byte as somebody may, and in base64,
    /// also in the middle of other bytes. One that is base64 of a text, such as user and password for `Basic`, is also what it says.
    pub(super) fn of(secret: &str) -> Self {
        let mut texts = vec![Zeroizing::new(secret.to_owned())];
        texts.extend(said(secret));
        let mut words = Vec::new();
        for (text, before) in texts.iter().flat_map(|text| (0..3).map(move |before| (text, before))) {
            words.push(Zeroizing::new(text.as_bytes().to_vec()));
            let bytes = Zeroizing::new([vec![0; before], text.as_bytes().to_vec()].concat());
            for mut coded in [STANDARD_NO_PAD.encode(&*bytes), URL_SAFE_NO_PAD.encode(&*bytes)] {
                // Characters at either end that are of a neighbour's bits too are not known.
                let from = [0, 2, 3].get(before).copied().unwrap_or_default();
                let until = coded.len() - usize::from(!bytes.len().is_multiple_of(3));
                words.push(Zeroizing::new(coded.as_bytes().get(from..until).unwrap_or_default().to_vec()));
                coded.zeroize();
            }
        }
        // One would be found everywhere, and cut without end.
        words.retain(|word| !word.is_empty());
        words.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        words.dedup();
        let escaped: Vec<Vec<_>> = texts.iter().map(|text| text.bytes().map(escapes).collect()).collect();
        let mut begins = [false; 256];
        let escaped_first = escaped.iter().filter_map(|text| text.first()).flatten();
        for first in words.iter().chain(escaped_first).filter_map(|word| word.first()) {
            if let Some(begins) = begins.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        let is_free = |filler: &u8| !words.iter().any(|word| word.contains(filler));
        let filler = FILLERS.into_iter().find(is_free).unwrap_or(b' ');
        Self {
            words,
            escaped,
            begins,
            filler,
        }
    }

    /// What `rest` begins with. While more may come, a longer word that it could become goes before a shorter one that it is.
    fn at(&self, rest: &[u8], is_end: bool) -> Found {
        let begins = rest.first().and_then(|first| self.begins.get(usize::from(*first)));
        if begins != Some(&true) {
            return Found::Nothing;
        }
        match self.escaped_at(rest, is_end) {
            Found::Nothing => {}
            found => return found,
        }
        for word in &self.words {
            if rest.starts_with(word) {
                return Found::Word(word.len());
            }
            if !is_end && word.starts_with(rest) {
                return Found::Beginning;
            }
        }
        Found::Nothing
    }

    /// The same for what is escaped.
    fn escaped_at(&self, rest: &[u8], is_end: bool) -> Found {
        let mut longest = Found::Nothing;
        for text in &self.escaped {
            match (spelt_at(text, rest, is_end), &longest) {
                (Found::Beginning, _) => return Found::Beginning,
                (Found::Word(length), Found::Word(other)) if length <= *other => {}
                (found @ Found::Word(_), _) => longest = found,
                (Found::Nothing, _) => {}
            }
        }
        longest
    }

    /// Whether a word of them stands in `text`, whatever the case of its letters.
    pub(super) fn are_named_in(&self, text: &[u8]) -> bool {
        let is = |word: &&Zeroizing<Vec<u8>>| text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        let is_spelt = |at| matches!(self.escaped_at(text.get(at..).unwrap_or_default(), true), Found::Word(_));
        self.words.iter().any(|word| is(&word)) || (0..text.len()).any(is_spelt)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// More must come before it is known.
    Beginning,
    /// A word of this length.
    Word(usize),
}

/// What `rest` begins with of one text's bytes, each in any of its spellings: all places are followed where the next byte may begin.
fn spelt_at(text: &[Vec<Zeroizing<Vec<u8>>>], rest: &[u8], is_end: bool) -> Found {
    let mut places = BTreeSet::from([0]);
    let mut may_become = false;
    for spellings in text {
        let mut next = BTreeSet::new();
        for (place, spelling) in places.iter().flat_map(|place| spellings.iter().map(move |spelling| (*place, spelling))) {
            let here = rest.get(place..).unwrap_or_default();
            let common = here.len().min(spelling.len());
            // The digits of an escape may be of either case; a byte as it is has one.
            let is_same = match (here.get(..common), spelling.get(..common)) {
                (Some(here), Some(spelt)) if spelling.len() > 1 => here.eq_ignore_ascii_case(spelt),
                (here, spelt) => here == spelt,
            };
            if is_same && common == spelling.len() {
                next.insert(place + common);
            } else if is_same {
                may_become = true;
            }
        }
        places = next;
    }
    match places.last() {
        _ if may_become && !is_end => Found::Beginning,
        Some(length) => Found::Word(*length),
        None => Found::Nothing,
    }
}

/// Bytes that come in pieces. What may be the beginning of a spelling is held back until it is known; no spelling has a line
/// feed in it, so an event that has ended is never held.
#[derive(Debug)]
pub(super) struct Cutter {
    spellings: Arc<Spellings>,
    held: Vec<u8>,
}

impl Cutter {
    pub(super) fn new(spellings: Arc<Spellings>) -> Self {
        Self {
            spellings,
            held: Vec::new(),
        }
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// What of the bytes until now may go on, and whether anything was cut out of it.
    pub(super) fn push(&mut self, piece: Bytes) -> (Bytes, bool) {
        let is_plain = |at| self.spellings.at(piece.get(at..).unwrap_or_default(), false) == Found::Nothing;
        if self.held.is_empty() && (0..piece.len()).all(is_plain) {
            return (piece, false);
        }
        self.held.extend_from_slice(&piece);
        self.go_on(false)
    }

    /// The rest, behind which nothing comes.
    pub(super) fn end(&mut self) -> (Bytes, bool) {
        self.go_on(true)
    }

    fn go_on(&mut self, is_end: bool) -> (Bytes, bool) {
        let (mut at, mut is_cut) = (0, false);
        let mut held = std::mem::take(&mut self.held);
        while at < held.len() {
            match self.spellings.at(held.get(at..).unwrap_or_default(), is_end) {
                Found::Nothing => at += 1,
                Found::Beginning => break,
                Found::Word(length) => {
                    held.get_mut(at..at + length).unwrap_or_default().fill(self.spellings.filler);
                    (at, is_cut) = (at + length, true);
                }
            }
        }
        self.held = held.split_off(at);
        (Bytes::from(held), is_cut)
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Cutter, Spellings};

    /// What comes out of `pieces`, and whether anything was cut.
    fn cut(secret: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut cutter = Cutter::new(Arc::new(Spellings::of(secret)));
        let (mut out, mut is_cut) = (Vec::new(), false);
        let pieces = pieces.iter().map(|piece| Some(Bytes::copy_from_slice(piece)));
        for piece in pieces.chain([None]) {
            let (bytes, cut) = match piece {
                Some(piece) => cutter.push(piece),
                None => cutter.end(),
            };
            out.extend_from_slice(&bytes);
            is_cut |= cut;
        }
        assert_eq!(cutter.held(), 0);
        (out, is_cut)
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|each| each == part)
    }

    #[test]
    fn every_spelling_is_cut_and_the_rest_stays() {
        let secret = "sk/a\"b&c+0123<'\\>";
        let spelt = [
            secret.to_owned(),
            "sk%2Fa%22b%26c%2B0123%3C%27%5C%3E".to_owned(),
            "sk%2fa%22b%26c%2b0123%3c%27%5c%3e".to_owned(),
            "sk/a\\\"b&c+0123<'\\\\>".to_owned(),
            "sk\\/a\\\"b&c+0123<'\\\\>".to_owned(),
            "sk/a&quot;b&amp;c+0123&lt;&#39;\\&gt;".to_owned(),
            // What Python's `quote` and a browser's `encodeURIComponent` leave alone, what Gson and Go escape beside it, and all of it.
            "sk/a%22b%26c%2B0123%3C%27%5C%3E".to_owned(),
            "sk%2Fa%22b%26c%2B0123%3C'%5C%3E".to_owned(),
            "sk/a\\\"b\\u0026c+0123\\u003c\\u0027\\\\\\u003E".to_owned(),
            "\\x73k/a\"b&#038;c&#x2B;0123<&apos;\\>".to_owned(),
            secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        ];
        for text in spelt {
            let (out, is_cut) = cut(secret, &[format!("before {text} behind").as_bytes()]);
            assert_eq!(
                (out, is_cut),
                (format!("before {} behind", "*".repeat(text.len())).into_bytes(), true),
                "{text}"
            );
        }
        for before in ["", "u", "us", "user:"] {
            let coded = STANDARD.encode(format!("{before}{secret}!"));
            let (out, is_cut) = cut(secret, &[coded.as_bytes()]);
            assert!(is_cut && out.len() == coded.len(), "{coded}");
            assert!(out.iter().filter(|byte| **byte == b'*').count() >= secret.len(), "{coded}");
        }
    }

    #[test]
    fn what_a_secret_in_base64_says_is_cut_too() {
        let secret = STANDARD.encode("reports:correct horse/9");
        for (text, expected) in [
            ("a reports:correct horse/9 b", "a *********************** b"),
            ("{\"password\":\"correct horse\\/9\"}", "{\"password\":\"****************\"}"),
            ("p=correct%20horse%2f9&x", "p=*******************&x"),
            ("p=correct+horse%2F9&x", "p=*****************&x"),
            ("reports:correct horse", "reports:correct horse"),
            ("reports", "reports"),
        ] {
            let pieces: Vec<_> = text.as_bytes().chunks(1).collect();
            for pieces in [vec![text.as_bytes()], pieces] {
                let (out, is_cut) = cut(&secret, &pieces);
                assert_eq!((&*String::from_utf8_lossy(&out), is_cut), (expected, text != expected));
            }
        }
        let coded = STANDARD.encode("password=correct horse/9");
        assert!(cut(&secret, &[coded.as_bytes()]).1, "in base64 again, beside another word");
        // A key as the user of no password; a password that would be found everywhere; what is no text.
        let key = super::URL_SAFE_NO_PAD.encode("sk-0123456789:");
        assert!(cut(&key, &[b"sk-0123456789"]).1);
        assert!(!cut(&STANDARD.encode("somebody:secret"), &[b"a secret"]).1);
        assert!(!cut(&STANDARD.encode(b"\xff\x00longer:than that"), &[b"than that"]).1);
    }

    #[test]
    fn a_secret_that_is_full_of_fillers_is_written_over_with_another() {
        for secret in ["*********", "*#~*#~*#~*"] {
            let text = format!("a{secret}b");
            let (out, is_cut) = cut(secret, &[text.as_bytes()]);
            assert!(is_cut && !holds(&out, secret.as_bytes()), "{secret}");
        }
    }

    #[test]
    fn an_event_that_has_ended_is_not_held_back() {
        let mut cutter = Cutter::new(Arc::new(Spellings::of("sk-0123456789")));
        let (out, _) = cutter.push(Bytes::from_static(b"data: sk-0\n\n"));
        assert_eq!(&out[..], b"data: sk-0\n\n");
        let (out, _) = cutter.push(Bytes::from_static(b"data: sk-0"));
        assert_eq!(&out[..], b"data: ", "until it is known what this becomes");
        let (out, is_cut) = cutter.push(Bytes::from_static(b"123456789\n"));
        assert_eq!((&out[..], is_cut), (&b"*************\n"[..], true));
    }

    proptest! {
        /// However the bytes are cut into pieces the same comes out: as long as what went in, without the secret, and otherwise equal.
        #[test]
        fn no_secret_comes_out_however_the_pieces_fall(
            secret in "[ab*/]{8,12}",
            parts in prop::collection::vec(prop_oneof![Just(None), "[ab*/ \n]{0,12}".prop_map(Some)], 0..8),
            sizes in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let text: String = parts.iter().map(|part| part.clone().unwrap_or_else(|| secret.clone())).collect();
            let (whole, is_cut) = cut(&secret, &[text.as_bytes()]);
            prop_assert_eq!(is_cut, whole != text.as_bytes());
            prop_assert!(!holds(&whole, secret.as_bytes()));
            prop_assert_eq!(whole.len(), text.len());
            let filler = Spellings::of(&secret).filler;
            for (at, (out, came)) in whole.iter().zip(text.as_bytes()).enumerate() {
                let from = at.saturating_sub(3 * secret.len());
                let until = (at + 3 * secret.len()).min(text.len());
                let near = &text.as_bytes()[from..until];
                let may_be_cut = Spellings::of(&secret).words.iter().any(|word| holds(near, word));
                prop_assert!(out == came || (*out == filler && may_be_cut));
            }
            let mut pieces = Vec::new();
            let (mut rest, mut next) = (text.as_bytes(), sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*next.next().unwrap_or(&1)));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert!(cut(&secret, &pieces).0 == whole);
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            prop_assert!(cut(&secret, &bytes).0 == whole);
        }
    }
}
