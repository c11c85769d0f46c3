//! Content codings (RFC 9110 §8.4.1), undone for the check alone: the original bytes go upstream.

use std::io::Read;

use flate2::bufread::{GzDecoder, ZlibDecoder};

/// How many times larger a body may become; a text of one repeated byte reaches 1032.
pub const MAX_RATIO: u64 = 100;

/// Bodies up to this size may have grown by any ratio, in bytes.
const ALWAYS_FINE: u64 = 4096;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, also written `x-gzip`.
    Gzip,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
}

impl Coding {
    /// The coding of that name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
            Some(Self::Gzip)
        } else {
            name.eq_ignore_ascii_case(b"deflate")
                .then_some(Self::Deflate)
        }
    }
}

/// Why a body was not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateError {
    /// Not of the coding, cut short, damaged, or followed by something else.
    Damaged,
    /// It becomes larger than allowed, or grows more than [`MAX_RATIO`] times.
    TooLarge,
}

/// Undoes the coding; never holds more than `most` bytes, nor [`MAX_RATIO`] times the body.
pub fn inflate(coding: Coding, body: &[u8], most: u64) -> Result<Vec<u8>, InflateError> {
    let ratio = MAX_RATIO.saturating_mul(body.len() as u64).max(ALWAYS_FINE);
    let most = most.min(ratio);
    let mut rest = body;
    let inflated = match coding {
        Coding::Gzip => read_up_to(GzDecoder::new(&mut rest), most)?,
        Coding::Deflate => read_up_to(ZlibDecoder::new(&mut rest), most)?,
    };
    // A second member, or anything else behind the first, is read by some and not by others.
    if rest.is_empty() {
        Ok(inflated)
    } else {
        Err(InflateError::Damaged)
    }
}

fn read_up_to(source: impl Read, most: u64) -> Result<Vec<u8>, InflateError> {
    let mut inflated = Vec::new();
    let read = source
        .take(most.saturating_add(1))
        .read_to_end(&mut inflated);
    if inflated.len() as u64 > most {
        return Err(InflateError::TooLarge);
    }
    read.map(|_| inflated).map_err(|_| InflateError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_codings_are_undone() {
        assert_eq!(inflate(Coding::Gzip, &gzip(b"abc"), 3), Ok(b"abc".to_vec()));
        assert_eq!(
            inflate(Coding::Deflate, &deflate(b"abc"), 3),
            Ok(b"abc".to_vec())
        );
        assert_eq!(Coding::parse(b"X-GZIP"), Some(Coding::Gzip));
        assert_eq!(Coding::parse(b"br"), None);
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        for (coding, whole) in [
            (Coding::Gzip, gzip(b"some text, some text")),
            (Coding::Deflate, deflate(b"some text, some text")),
        ] {
            for end in 0..whole.len() {
                let cut = inflate(coding, &whole[..end], 100);
                assert_eq!(cut, Err(InflateError::Damaged), "{coding:?} {end}");
            }
            let mut longer = whole.clone();
            longer.push(0);
            assert_eq!(inflate(coding, &longer, 100), Err(InflateError::Damaged));
            let twice = [whole.clone(), whole.clone()].concat();
            assert_eq!(inflate(coding, &twice, 100), Err(InflateError::Damaged));
            let mut flipped = whole.clone();
            *flipped.last_mut().unwrap() ^= 1;
            assert_eq!(inflate(coding, &flipped, 100), Err(InflateError::Damaged));
        }
        assert_eq!(
            inflate(Coding::Gzip, b"{}", 100),
            Err(InflateError::Damaged)
        );
        assert_eq!(inflate(Coding::Gzip, b"", 100), Err(InflateError::Damaged));
    }

    #[test]
    fn size_and_growth_are_bounded() {
        let text = vec![b'a'; 1 << 22];
        for (coding, bomb) in [
            (Coding::Gzip, gzip(&text)),
            (Coding::Deflate, deflate(&text)),
        ] {
            assert!(bomb.len() < 5000);
            let found = inflate(coding, &bomb, u64::MAX);
            assert_eq!(found, Err(InflateError::TooLarge), "grows a thousandfold");
        }
        let small = gzip(&text[..4096]);
        assert_eq!(inflate(Coding::Gzip, &small, 4096).unwrap().len(), 4096);
        assert_eq!(
            inflate(Coding::Gzip, &small, 4095),
            Err(InflateError::TooLarge)
        );
    }
}
