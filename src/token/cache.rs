//! Tokens whose signature has been verified, so that it need not be again.
//!
//! What is remembered is that a signature was good, never that a token is: times, audience, rules
//! and revocation are checked on each use, and so is that the issuer still has the very key.
//!
//! A token is looked for by the end of its signature and then compared whole. That end is spread by
//! a keyed hash, and only who can make an issuer sign decides what is held at all, so a client can
//! neither find another's entry nor crowd the table. Should two tokens end alike, the later one
//! takes the place.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::claims::Claims;
use super::jws::Header;
use super::key::PublicKey;

/// Longest token that is remembered, in bytes.
pub const MAX_CACHED_TOKEN_BYTES: usize = 4 * 1024;

/// A token as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Its header.
    pub header: Header,
    /// Its claims.
    pub claims: Claims,
}

/// A token whose signature was good.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it says.
    pub parsed: Arc<Parsed>,
    /// The index of the issuer in the policy.
    pub issuer: usize,
    /// The key that verified it.
    pub key: Arc<PublicKey>,
}

/// A bounded memory of verified tokens. The ones used least recently go first: there are two
/// generations, a use brings a token into the younger, and when that is full the older is dropped.
pub struct Cache {
    generation_size: usize,
    generations: RefCell<Generations>,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<End, Entry>,
    old: HashMap<End, Entry>,
}

/// The last characters of a token, which are of its signature; zeros before a shorter one.
type End = [u8; 32];

struct Entry {
    token: Box<[u8]>,
    known: Known,
}

/// Tokens that each VM remembers.
const DEFAULT_ENTRIES: usize = 1000;

impl Default for Cache {
    /// Remembers as many tokens as one VM should.
    fn default() -> Self {
        Self::new(DEFAULT_ENTRIES)
    }
}

impl Cache {
    /// A memory of at most that many tokens; with 0 nothing is remembered.
    pub fn new(entries: usize) -> Self {
        Self {
            generation_size: entries.div_ceil(2),
            generations: RefCell::default(),
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// What is known of this token, compared octet by octet.
    pub fn get(&self, token: &[u8]) -> Option<Known> {
        let found = self.find(token);
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.set(counter.get().saturating_add(1));
        found
    }

    fn find(&self, token: &[u8]) -> Option<Known> {
        let mut generations = self.generations.try_borrow_mut().ok()?;
        let end = end(token);
        let same = |entry: &&Entry| is_same(&entry.token, token);
        if let Some(entry) = generations.young.get(&end).filter(same) {
            return Some(entry.known.clone());
        }
        generations.old.get(&end).filter(same)?;
        let entry = generations.old.remove(&end)?;
        let known = entry.known.clone();
        generations.insert(end, entry, self.generation_size);
        Some(known)
    }

    /// Remembers a token whose signature has been verified with `known.key`.
    pub fn insert(&self, token: &[u8], known: Known) {
        if token.len() > MAX_CACHED_TOKEN_BYTES || self.generation_size == 0 {
            return;
        }
        if let Ok(mut generations) = self.generations.try_borrow_mut() {
            let end = end(token);
            generations.old.remove(&end);
            let token = token.into();
            let entry = Entry { token, known };
            generations.insert(end, entry, self.generation_size);
        }
    }

    /// Forgets everything, as when a policy is replaced: indexes of issuers would mean others.
    pub fn clear(&self) {
        self.generations.take();
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        let generations = self.generations.borrow();
        generations.young.len() + generations.old.len()
    }

    /// Whether no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a token was known so far.
    pub fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// How often a token was not known so far.
    pub fn misses(&self) -> u64 {
        self.misses.get()
    }
}

impl Generations {
    fn insert(&mut self, end: End, entry: Entry, size: usize) {
        if self.young.len() >= size && !self.young.contains_key(&end) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(end, entry);
    }
}

fn end(token: &[u8]) -> End {
    let mut end = End::default();
    for (to, from) in end.iter_mut().rev().zip(token.iter().rev()) {
        *to = *from;
    }
    end
}

/// Whether two tokens are one. Eight octets at a time, since `memcmp` in Wasm takes them one by one.
/// It ends at the first difference, which tells something only to who knows how the token ends.
fn is_same(held: &[u8], token: &[u8]) -> bool {
    let (held, held_rest) = held.as_chunks();
    let (token, token_rest) = token.as_chunks();
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    held.len() == token.len()
        && held_rest == token_rest
        && held.iter().map(word).eq(token.iter().map(word))
}

impl fmt::Debug for Cache {
    // Tokens stay out of every log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("hits", &self.hits)
            .field("misses", &self.misses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::algorithm::Algorithm;
    use crate::token::key::Secrets;
    use crate::token::mint::SigningKey;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn known() -> Known {
        let jwk = SigningKey::generate(Algorithm::EdDsa)
            .unwrap()
            .public_jwk("k");
        let key = PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Refused).unwrap();
        let parsed = Parsed {
            header: Header::default(),
            claims: Claims::default(),
        };
        Known {
            parsed: Arc::new(parsed),
            issuer: 0,
            key: Arc::new(key),
        }
    }

    #[test]
    fn only_the_very_token_is_known() {
        let cache = Cache::new(10);
        cache.insert(b"token", known());
        assert!(cache.get(b"token").is_some());
        for other in [&b"toke"[..], b"token ", b"tokem", b""] {
            assert!(cache.get(other).is_none());
        }
        assert_eq!((cache.hits(), cache.misses()), (1, 4));
        cache.clear();
        assert!(cache.get(b"token").is_none() && cache.is_empty());
    }

    #[test]
    fn tokens_that_end_alike_are_told_apart() {
        let ends = [b'e'; 32];
        let [one, other] = ["header.one.", "header.two."].map(|begins| {
            let begins = begins.as_bytes();
            [begins, &ends].concat()
        });
        let cache = Cache::new(10);
        cache.insert(&one, known());
        assert!(cache.get(&one).is_some());
        assert!(cache.get(&other).is_none());
        assert!(cache.get(&ends).is_none());
        cache.insert(&other, known());
        assert!(cache.get(&other).is_some());
        assert!(cache.get(&one).is_none());
        assert_eq!(cache.len(), 1);
        // The same of short ones, which are filled up.
        cache.insert(b"s", known());
        assert!(cache.get(b"\0s").is_none());
    }

    #[test]
    fn every_octet_counts() {
        let token: Vec<u8> = (0..100).collect();
        for length in [0, 1, 7, 8, 9, 16, 100] {
            let token = &token[..length];
            assert!(is_same(token, token));
            for at in 0..length {
                let mut other = token.to_vec();
                other[at] ^= 1;
                assert!(!is_same(token, &other), "{at} of {length}");
            }
        }
        assert!(!is_same(&token[..8], &token[..16]));
    }

    #[test]
    fn size_is_bounded_and_what_is_in_use_stays() {
        let cache = Cache::new(20);
        let known = known();
        cache.insert(b"hot", known.clone());
        for number in 0..1_000u32 {
            cache.insert(&number.to_be_bytes(), known.clone());
            assert!(cache.len() <= 20);
            assert!(cache.get(b"hot").is_some(), "{number}");
        }
        assert!(cache.get(&0u32.to_be_bytes()).is_none());
        assert!(cache.get(&999u32.to_be_bytes()).is_some());
    }

    #[test]
    fn long_tokens_and_a_size_of_zero_are_not_remembered() {
        let cache = Cache::new(10);
        cache.insert(&[b'a'; MAX_CACHED_TOKEN_BYTES + 1], known());
        assert!(cache.is_empty());
        assert_eq!(Cache::default().generation_size, DEFAULT_ENTRIES / 2);
        let none = Cache::new(0);
        none.insert(b"a", known());
        assert!(none.is_empty());
    }
}
