//! `Cache-Status` (RFC 9211): what became of the answer at this hop, added to what earlier hops
//! said.

use sfv::{BareItem, FieldType, Integer, Item, List, ListEntry, Token, key_ref};

use super::Asked;
use super::directives::{Directives, MAX_SECONDS};
use super::origin::Origin;
use super::structured;
use crate::head::{Edit, ResponseHead};

/// The edit that adds this hop's member.
///
/// A member of the same name at the end is this hop's own, from when the answer was stored: it is
/// brought up to date instead.
pub fn edit(
    name: &str,
    asked: &Asked,
    answer: &ResponseHead,
    origin: &Origin,
    said: &Directives,
) -> Option<Edit> {
    let member = member(name, asked, answer, origin, said)?;
    let held = structured::list(answer.headers.all("cache-status"));
    let Some(mut members) = held.filter(|members| is_own(members.last(), &member)) else {
        let line = member.serialize();
        return Some(Edit::Add("cache-status".to_owned(), line.into_bytes()));
    };
    let member = ListEntry::Item(member);
    if members.last() == Some(&member) {
        return None;
    }
    members.pop();
    members.push(member);
    print(&members)
}

fn print(members: &List) -> Option<Edit> {
    let value = members.serialize()?;
    Some(Edit::Set("cache-status".to_owned(), value.into_bytes()))
}

fn is_own(last: Option<&ListEntry>, member: &Item) -> bool {
    matches!(last, Some(ListEntry::Item(item)) if item.bare_item == member.bare_item)
}

fn member(
    name: &str,
    asked: &Asked,
    answer: &ResponseHead,
    origin: &Origin,
    said: &Directives,
) -> Option<Item> {
    let mut item = Item::new(BareItem::Token(token(name)?));
    let mut add = |key: &sfv::KeyRef, value: BareItem| {
        item.params.insert(key.to_owned(), value);
    };
    match asked.from_cache {
        Some(true) => {
            add(key_ref("hit"), BareItem::Boolean(true));
            if let Some(seconds) = remaining(origin, said) {
                add(key_ref("ttl"), BareItem::Integer(seconds));
            }
        }
        Some(false) => {
            add(
                key_ref("fwd"),
                BareItem::Token(token(why_forwarded(asked))?),
            );
            if let Some(status) = answer.status() {
                add(key_ref("fwd-status"), BareItem::Integer(status.into()));
            }
        }
        None => {}
    }
    add(
        key_ref("detail"),
        BareItem::Token(token(reach(origin, said))?),
    );
    Some(item)
}

/// RFC 9211 §2.2: the most specific reason that is known here.
fn why_forwarded(asked: &Asked) -> &'static str {
    if asked.bypasses_cache {
        "bypass"
    } else if asked.is_retrieval() {
        "miss"
    } else {
        "method"
    }
}

/// Who may keep the answer, in one word.
fn reach(origin: &Origin, said: &Directives) -> &'static str {
    if said.no_store {
        "no-store"
    } else if said.private.is_set() {
        "private"
    } else if said.has_lifetime() || origin.expires.is_some() {
        "shared"
    } else {
        "unsaid"
    }
}

/// RFC 9211 §2.4: what is left of the lifetime in the cache that answered; below 0 when stale.
fn remaining(origin: &Origin, said: &Directives) -> Option<Integer> {
    let lifetime = said.s_maxage.or(said.max_age).or(origin.expires);
    let lifetime = lifetime.filter(|_| !said.no_store)?;
    let seconds = |count: u32| i32::try_from(count.min(MAX_SECONDS - 1)).unwrap_or(i32::MAX);
    Some(Integer::from(
        seconds(lifetime).saturating_sub(seconds(origin.age)),
    ))
}

fn token(text: &str) -> Option<Token> {
    Token::from_string(text.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    use crate::time::UnixTime;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn after(from_cache: Option<bool>, fields: &[(&str, &str)]) -> Vec<String> {
        let asked = Asked {
            from_cache,
            method: b"GET".to_vec(),
            ..Asked::default()
        };
        after_asking(&asked, fields)
    }

    fn after_asking(asked: &Asked, fields: &[(&str, &str)]) -> Vec<String> {
        let fields = fields
            .iter()
            .chain(&[(":status", "200")])
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let mut answer = ResponseHead {
            headers: Headers::new(fields.collect()),
        };
        let make = |answer: &ResponseHead| {
            let origin = Origin::read(answer, UnixTime(0));
            edit(
                "forecourt",
                asked,
                answer,
                &origin,
                &origin.reading.directives,
            )
        };
        answer.headers.apply(make(&answer).as_slice());
        assert_eq!(make(&answer), None, "a second round changes nothing");
        let values = answer.headers.all("cache-status");
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    #[test]
    fn hits_misses_and_the_unknown() {
        let fresh = [("cache-control", "max-age=60"), ("age", "70")];
        assert_eq!(
            after(Some(true), &fresh),
            ["forecourt;hit;ttl=-10;detail=shared"]
        );
        assert_eq!(
            after(Some(false), &fresh),
            ["forecourt;fwd=miss;fwd-status=200;detail=shared"]
        );
        assert_eq!(
            after(None, &[("cache-control", "private")]),
            ["forecourt;detail=private"]
        );
        assert_eq!(
            after(None, &[("cache-control", "no-store")]),
            ["forecourt;detail=no-store"]
        );
        assert_eq!(after(Some(true), &[]), ["forecourt;hit;detail=unsaid"]);
        let long = [("cache-control", "max-age=99999999999")];
        assert_eq!(
            after(Some(true), &long),
            ["forecourt;hit;ttl=2147483647;detail=shared"]
        );
    }

    #[test]
    fn why_a_request_went_on() {
        for (method, bypasses_cache, why) in [
            ("GET", false, "miss"),
            ("HEAD", false, "miss"),
            ("POST", false, "method"),
            ("GET", true, "bypass"),
            ("POST", true, "bypass"),
        ] {
            let asked = Asked {
                method: method.into(),
                from_cache: Some(false),
                bypasses_cache,
                ..Asked::default()
            };
            assert_eq!(
                after_asking(&asked, &[]),
                [format!("forecourt;fwd={why};fwd-status=200;detail=unsaid")]
            );
        }
    }

    #[test]
    fn earlier_hops_keep_their_word() {
        let held = [("cache-status", "origin; hit, forecourt-b")];
        assert_eq!(
            after(None, &held),
            ["origin; hit, forecourt-b", "forecourt;detail=unsaid"]
        );
        let unreadable = [("cache-status", "origin hit")];
        assert_eq!(
            after_once(&unreadable),
            ["origin hit", "forecourt;detail=unsaid"]
        );
    }

    /// Without the second round: behind a field that nobody can read there is no telling.
    fn after_once(fields: &[(&str, &str)]) -> Vec<String> {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let mut answer = ResponseHead {
            headers: Headers::new(fields.collect()),
        };
        let origin = Origin::read(&answer, UnixTime(0));
        let asked = Asked::default();
        let made = edit(
            "forecourt",
            &asked,
            &answer,
            &origin,
            &origin.reading.directives,
        );
        answer.headers.apply(made.as_slice());
        let values = answer.headers.all("cache-status");
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    #[test]
    fn a_stored_member_of_our_own_is_brought_up_to_date() {
        let stored = [
            (
                "cache-status",
                "origin;hit, forecourt;fwd=miss;detail=shared",
            ),
            ("cache-control", "max-age=60"),
        ];
        assert_eq!(
            after(Some(true), &stored),
            ["origin;hit, forecourt;hit;ttl=60;detail=shared"]
        );
    }
}
