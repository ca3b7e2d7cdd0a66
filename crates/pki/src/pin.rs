//! PINs by which a school's staff ask for an alarm to be cancelled: only their salted hashes stand in a configuration.
//!
//! A hash is one line, `pbkdf2-sha256$ITERATIONS$SALT$HASH`: PBKDF2 with HMAC-SHA-256 (RFC 8018), salt and hash as hexadecimal digits. A PIN is
//! short, so the hash is made slow and the one who asks is made to wait after a few wrong ones; whoever holds the file and has time finds it.
//!
//! Invariant: a [`PinHash`] that exists costs no more than [`ITERATIONS_MOST`] rounds to be held against a PIN.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};

/// Rounds of a new hash: a tenth of a second or so on a gatehouse's box.
const ITERATIONS: u32 = 100_000;
/// Rounds that a hash must have at the least.
const ITERATIONS_LEAST: u32 = 10_000;
/// Rounds that a hash may have at the most.
pub const ITERATIONS_MOST: u32 = 1_000_000;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const SCHEME: &str = "pbkdf2-sha256";
/// Digits of a PIN.
const DIGITS: std::ops::RangeInclusive<usize> = 4..=12;

/// The salted hash of a PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct PinHash {
    iterations: NonZeroU32,
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
}

/// Why something is no PIN, or no hash of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Choose another one.
    #[error("a PIN has {} to {} digits and nothing else", DIGITS.start(), DIGITS.end())]
    Pin,
    /// Make it with `huxiao pin hash`.
    #[error("this is no hash of a PIN: it must be {SCHEME}$ITERATIONS$SALT$HASH, as `huxiao pin hash` prints it")]
    Hash,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Whether a text can be a PIN at all.
#[must_use]
pub fn is_pin(text: &str) -> bool {
    DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl PinHash {
    /// The hash of `pin` with a new salt.
    ///
    /// # Errors
    /// [`PinError::Pin`], [`PinError::Random`].
    pub fn of(pin: &str) -> Result<Self, PinError> {
        if !is_pin(pin) {
            return Err(PinError::Pin);
        }
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| PinError::Random)?;
        let iterations = NonZeroU32::new(ITERATIONS).ok_or(PinError::Hash)?;
        let mut hash = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, pin.as_bytes(), &mut hash);
        Ok(Self { iterations, salt, hash })
    }

    /// Whether it is that of `pin`. Takes its time, the same for a right and a wrong one.
    #[must_use]
    pub fn is_of(&self, pin: &str) -> bool {
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, self.iterations, &self.salt, pin.as_bytes(), &self.hash).is_ok()
    }
}

impl fmt::Display for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}${}$", self.iterations)?;
        self.salt.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("$")?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinHash(…)")
    }
}

impl FromStr for PinHash {
    type Err = PinError;
    fn from_str(text: &str) -> Result<Self, PinError> {
        let parts: Vec<&str> = text.split('$').collect();
        let [SCHEME, iterations, salt, hash] = parts[..] else { return Err(PinError::Hash) };
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| PinError::Hash)?;
        if !(ITERATIONS_LEAST..=ITERATIONS_MOST).contains(&iterations.get()) {
            return Err(PinError::Hash);
        }
        Ok(Self { iterations, salt: unhex(salt)?, hash: unhex(hash)? })
    }
}

fn unhex<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], PinError> {
    if text.len() != BYTES * 2 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(PinError::Hash);
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| PinError::Hash)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_pin_and_of_no_other() {
        let (hash, again) = (PinHash::of("2580").unwrap(), PinHash::of("2580").unwrap());
        assert!(hash.is_of("2580") && !hash.is_of("2581") && !hash.is_of(""));
        assert_ne!(hash, again, "each has a salt of its own");
        let back: PinHash = hash.to_string().parse().unwrap();
        assert_eq!(back, hash);
        assert_eq!(format!("{hash:?}"), "PinHash(…)", "it is not for logs");
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in ["123", "1234567890123", "12a4", "", "12 34"] {
            assert_eq!(PinHash::of(wrong), Err(PinError::Pin), "{wrong}");
        }
        let good = PinHash::of("0000").unwrap().to_string();
        for wrong in [
            String::new(),
            good.replace("sha256", "md5"),
            good.replace("100000", "1"),
            good.replace("100000", "99000000"),
            good[..good.len() - 1].to_owned(),
            format!("{good}$"),
        ] {
            assert_eq!(wrong.parse::<PinHash>(), Err(PinError::Hash), "{wrong}");
        }
    }

    #[test]
    fn a_hash_of_another_program_is_read() {
        // python3: hashlib.pbkdf2_hmac('sha256', b'2580', bytes(range(16)), 10000).hex()
        let text = concat!(
            "pbkdf2-sha256$10000$000102030405060708090a0b0c0d0e0f$",
            "52576863bb0debc88cfe84f175dea655a23a78e8a3c025b5bdcf625112c0243e"
        );
        assert!(text.parse::<PinHash>().unwrap().is_of("2580"));
    }
}
