//! RSA keys of a flawed generator, which can be factored from the public key alone (CVE-2017-15361, ROCA).

/// The primes whose product divides the generator's own modulus for every size of key.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137,
    139, 149, 151, 157, 163, 167,
];

/// Whether `modulus`, big-endian, bears the mark of that generator: modulo every small prime it is a power of 65,537.
///
/// An honest modulus does so with probability 2⁻¹⁵⁴.
pub(super) fn fits(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        // The powers repeat after `prime` − 1 steps at the latest.
        let mut power = 1;
        (1..prime).any(|_| {
            power = power * 65_537 % prime;
            power == rest
        })
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::fits;
    use crate::token::{Algorithm, KeySet};

    /// 65,537 to the power of `exponent`, big-endian.
    fn power(exponent: usize) -> Vec<u8> {
        let mut little = vec![1_u8];
        for _ in 0..exponent {
            // times 2¹⁶ + 1
            let shifted = [&[0, 0], little.as_slice()].concat();
            little.resize(shifted.len(), 0);
            let mut carry = 0;
            for (digit, other) in little.iter_mut().zip(&shifted) {
                let sum = u16::from(*digit) + u16::from(*other) + carry;
                let [low, _] = sum.to_le_bytes();
                *digit = low;
                carry = sum >> 8;
            }
            assert_eq!(carry, 0);
        }
        little.reverse();
        little
    }

    fn loads(modulus: &[u8]) -> bool {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = serde_json::json!({ "kty": "RSA", "alg": "RS256", "n": text(modulus), "e": "AQAB" });
        let set = serde_json::json!({ "keys": [key] });
        KeySet::parse("corp", set.to_string().as_bytes(), &[Algorithm::Rs256]).is_ok()
    }

    #[test]
    fn a_set_with_such_a_key_alone_is_refused_and_its_neighbour_loads() {
        let flawed = power(128);
        let neighbour: Vec<_> = flawed.iter().map(|digit| digit ^ 2).collect();
        assert!(!loads(&flawed) && loads(&neighbour));
    }

    #[test]
    fn the_mark_of_the_flawed_generator_is_seen() {
        assert_eq!(power(2), [1, 0, 2, 0, 1]);
        assert!(fits(&power(128)));
        let other: Vec<_> = power(128).into_iter().map(|digit| digit ^ 2).collect();
        assert!(!fits(&other), "another modulus has no such mark");
    }
}
