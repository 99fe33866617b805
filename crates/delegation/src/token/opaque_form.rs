//! The form of the opaque secrets that this broker makes: a prefix to find them by, and a checksum to tell them from noise.

use std::fmt;

use super::digest::sha256;

/// The digits of base62, in their order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// As many digits as 256 bits need.
const BODY: usize = 43;
/// As many digits as 32 bits need.
const CHECKSUM: usize = 6;

/// What an opaque secret of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpaqueKind {
    /// An access token, `nrwa_`.
    Access,
    /// A task token, `nrwt_`.
    Task,
    /// An operator token, `nrwo_`.
    Operator,
    /// A client secret, `nrws_`.
    ClientSecret,
}

impl OpaqueKind {
    /// Every kind, with its prefix.
    pub const ALL: [(&'static str, Self); 4] = [
        ("nrwa_", Self::Access),
        ("nrwt_", Self::Task),
        ("nrwo_", Self::Operator),
        ("nrws_", Self::ClientSecret),
    ];

    /// What every secret of this kind begins with.
    pub fn prefix(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(prefix, _)| prefix)
    }
}

/// An opaque secret of ours: prefix, 43 digits of base62 that hold 256 random bits, 6 digits that check all before them.
///
/// Whoever holds the text holds what it stands for, so it has no `Debug` that shows it and nothing keeps it:
/// a store keeps its [`digest`](Self::digest), for which a fast hash is right, since 256 random bits cannot be guessed.
#[derive(Clone)]
pub struct OpaqueForm {
    kind: OpaqueKind,
    text: String,
}

/// Why a text is not an opaque secret of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpaqueFormError {
    /// It begins like nothing that is made here.
    #[error("none of our opaque forms")]
    Unknown,
    /// It begins like one, and has another length, other characters or another checksum: cut off, mistyped or made up.
    #[error("begins like one of our opaque forms and is none: its length, its characters or its checksum are wrong")]
    Malformed,
}

impl OpaqueForm {
    /// The secret of this kind that these 256 random bits make; equal bits make the same one.
    pub fn make(kind: OpaqueKind, randomness: &[u8; 32]) -> Self {
        let mut text = format!("{}{}", kind.prefix(), base62::<BODY>(randomness));
        let checksum = base62::<CHECKSUM>(&crc32(text.as_bytes()).to_be_bytes());
        text.push_str(&checksum);
        Self { kind, text }
    }

    /// Reads a secret. That it has the form says nothing about whether it was ever made: that is the store's to say.
    pub fn parse(text: &str) -> Result<Self, OpaqueFormError> {
        let known = OpaqueKind::ALL.into_iter().find(|(prefix, _)| text.starts_with(prefix));
        let (prefix, kind) = known.ok_or(OpaqueFormError::Unknown)?;
        if text.len() != prefix.len() + BODY + CHECKSUM || !text.bytes().skip(prefix.len()).all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(OpaqueFormError::Malformed);
        }
        let (checked, checksum) = text.split_at(prefix.len() + BODY);
        if base62::<CHECKSUM>(&crc32(checked.as_bytes()).to_be_bytes()) != checksum {
            return Err(OpaqueFormError::Malformed);
        }
        Ok(Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// What it is.
    pub fn kind(&self) -> OpaqueKind {
        self.kind
    }

    /// The text itself, for the one reply that shows it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the text: what is kept of it.
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

impl fmt::Debug for OpaqueForm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}…", self.kind.prefix())
    }
}

/// The number that `bytes` are, most significant first, in `LENGTH` digits with `0` in front.
fn base62<const LENGTH: usize>(bytes: &[u8]) -> String {
    let mut number = bytes.to_vec();
    let mut digits = [b'0'; LENGTH];
    for digit in digits.iter_mut().rev() {
        // Long division by 62: what remains is the last digit that is still missing.
        let mut rest = 0_usize;
        for byte in &mut number {
            let whole = rest * 256 + usize::from(*byte);
            *byte = u8::try_from(whole / 62).unwrap_or(u8::MAX);
            rest = whole % 62;
        }
        *digit = DIGITS.get(rest).copied().unwrap_or(b'0');
    }
    digits.into_iter().map(char::from).collect()
}

/// CRC-32 of IEEE 802.3, as zlib and PNG compute it. It finds mistakes; it protects nothing.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::{BODY, OpaqueForm, OpaqueFormError, OpaqueKind, base62, crc32};

    #[test]
    fn the_checksum_is_the_one_that_everybody_computes() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926, "the check value of the catalogue of CRCs");
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn digits_are_those_of_the_number_and_zeros_fill_the_front() {
        assert_eq!(base62::<6>(&0_u32.to_be_bytes()), "000000");
        assert_eq!(base62::<6>(&61_u32.to_be_bytes()), "00000z");
        assert_eq!(base62::<6>(&62_u32.to_be_bytes()), "000010");
        assert_eq!(base62::<6>(&u32::MAX.to_be_bytes()), "4gfFC3");
        assert_eq!(
            base62::<BODY>(&[0xFF; 32]),
            "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1",
            "the largest number fills all 43"
        );
    }

    #[test]
    fn a_secret_is_spelled_as_others_would_spell_it() {
        let mut bits = [0; 32];
        for (at, byte) in (0..).zip(&mut bits) {
            *byte = at;
        }
        // Computed apart, with zlib's CRC.
        let spelled = "nrwo_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3n2sMZ";
        assert_eq!(OpaqueForm::make(OpaqueKind::Operator, &bits).expose(), spelled);
    }

    #[test]
    fn what_is_made_is_read_again_and_has_the_length_and_prefix_of_its_kind() {
        for (prefix, kind) in OpaqueKind::ALL {
            let made = OpaqueForm::make(kind, &[7; 32]);
            assert!(
                made.expose().starts_with(prefix) && made.expose().len() == 5 + 43 + 6,
                "{}",
                made.expose()
            );
            let read = OpaqueForm::parse(made.expose()).unwrap();
            assert_eq!((read.kind(), read.digest()), (kind, made.digest()));
            assert_eq!(format!("{read:?}"), format!("{prefix}…"), "nothing of the secret is shown");
        }
        assert_ne!(
            OpaqueForm::make(OpaqueKind::Task, &[0; 32]).digest(),
            OpaqueForm::make(OpaqueKind::Task, &[1; 32]).digest()
        );
    }

    #[test]
    fn a_text_with_one_character_changed_cut_off_or_added_is_none() {
        let made = OpaqueForm::make(OpaqueKind::Operator, &[0xA5; 32]).expose().to_owned();
        for at in 5..made.len() {
            let other = if made.as_bytes().get(at) == Some(&b'x') { "y" } else { "x" };
            let mut changed = made.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(OpaqueForm::parse(&changed).err(), Some(OpaqueFormError::Malformed), "{at}");
        }
        let swapped = made.replacen("nrwo_", "nrwa_", 1);
        let others = [
            &made.get(..53).unwrap().to_owned(),
            &format!("{made}0"),
            &format!("{made} "),
            &swapped,
            &"nrwo_".to_owned(),
        ];
        for other in others {
            assert_eq!(OpaqueForm::parse(other).err(), Some(OpaqueFormError::Malformed), "{other}");
        }
        // Other characters, though the checksum is right, and one of two bytes where the checksum begins.
        let odd = format!("nrwo_{}", "-".repeat(BODY));
        let odd = format!("{odd}{}", base62::<6>(&crc32(odd.as_bytes()).to_be_bytes()));
        let wide = format!("nrwo_{}ü{}", "0".repeat(42), "0".repeat(5));
        for other in [odd, wide] {
            assert_eq!(
                (other.len(), OpaqueForm::parse(&other).err()),
                (54, Some(OpaqueFormError::Malformed))
            );
        }
    }

    #[test]
    fn what_begins_otherwise_is_none_of_ours() {
        for other in ["", "nrwx_", "NRWO_", " nrwo_", "eyJhbGciOi", "ghp_0"] {
            assert_eq!(OpaqueForm::parse(other).err(), Some(OpaqueFormError::Unknown), "{other}");
        }
    }
}
