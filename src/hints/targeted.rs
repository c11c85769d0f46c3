//! Fields through which an origin speaks to shared caches past Cache-Control: the targeted fields
//! of RFC 9213 (`CDN-Cache-Control` and whatever else ends in `-Cache-Control`), the older
//! `Surrogate-Control`, and two vendors' own.
//!
//! The end of a name is a convention and makes no field a targeted one (RFC 9213 §2.4). It is gone
//! by all the same, since what is found here is only ever cut short or taken away: to miss a field
//! that some cache obeys would be the worse mistake.

use sfv::{BareItem, FieldType, Integer, Item, ListEntry};

use super::directives::delta_seconds;
use super::field::{self, Member};
use super::structured;
use crate::head::{Edit, ResponseHead};

/// The names of those that the answer has, in lower case, each once.
pub fn present(answer: &ResponseHead) -> Vec<String> {
    let mut found: Vec<String> = answer
        .headers
        .iter()
        // All of them end so, and few others do.
        .filter(|(name, _)| name.ends_with(b"-control") || name.ends_with(b"-expires"))
        .filter_map(|(name, _)| std::str::from_utf8(name).ok())
        .filter(|name| form(name).is_some())
        .map(str::to_owned)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a field is one of them, and may be named as one.
pub fn is_targeted(name: &str) -> bool {
    form(name) == Some(Form::Dictionary)
}

/// Whether the field keeps the caches that it is for from storing or using the answer.
pub fn forbids(answer: &ResponseHead, name: &str) -> bool {
    let mut values = answer.headers.all(name);
    match form(name) {
        Some(Form::Seconds) => values.any(|value| matches!(value.trim_ascii(), b"0" | b"off")),
        _ => values.any(|line| {
            field::words(line).any(|word| {
                let word = word.strip_prefix(b"!").unwrap_or(&word);
                matches!(word, b"no-store" | b"private" | b"no-cache")
            })
        }),
    }
}

/// The edit that keeps the field's lifetimes at or below `seconds`. A field that cannot be read is
/// dropped: RFC 9213 §2.1 has caches ignore it, but not every one of them parses strictly.
pub fn cap(answer: &ResponseHead, name: &str, seconds: u32) -> Option<Edit> {
    if !answer.headers.has(name) {
        return None;
    }
    let lines = || answer.headers.all(name);
    let capped = match form(name)? {
        Form::Dictionary => cap_dictionary(lines(), seconds),
        Form::Surrogate => cap_surrogate(lines(), seconds),
        Form::Edge | Form::Seconds => Capped::Unreadable,
    };
    match capped {
        Capped::Within => None,
        Capped::To(value) => Some(Edit::Set(name.to_owned(), value.into_bytes())),
        Capped::Unreadable => Some(Edit::Remove(name.to_owned())),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A Dictionary of cache directives (RFC 9213 §2.1).
    Dictionary,
    /// `Surrogate-Control: max-age=60+30, content="…"`.
    Surrogate,
    /// Akamai's directives.
    Edge,
    /// nginx's `X-Accel-Expires`.
    Seconds,
}

fn form(name: &str) -> Option<Form> {
    match name {
        "surrogate-control" => Some(Form::Surrogate),
        "edge-control" => Some(Form::Edge),
        "x-accel-expires" => Some(Form::Seconds),
        _ => name.ends_with("-cache-control").then_some(Form::Dictionary),
    }
}

enum Capped {
    Within,
    To(String),
    Unreadable,
}

fn cap_dictionary<'a>(lines: impl Iterator<Item = &'a [u8]>, seconds: u32) -> Capped {
    let Some(mut members) = structured::dictionary(lines) else {
        return Capped::Unreadable;
    };
    let mut changed = false;
    for key in ["max-age", "s-maxage"] {
        let Some(entry) = members.get_mut(key) else {
            continue;
        };
        let wanted = BareItem::Integer(capped_integer(entry, seconds));
        let within = matches!(entry, ListEntry::Item(item) if item.bare_item == wanted);
        if !within {
            *entry = Item::new(wanted).into();
            changed = true;
        }
    }
    match members.serialize() {
        Some(text) if changed => Capped::To(text),
        _ => Capped::Within,
    }
}

/// The lifetime or the limit; a value that is no lifetime is 0, as in Cache-Control.
fn capped_integer(entry: &ListEntry, seconds: u32) -> Integer {
    let held = match entry {
        ListEntry::Item(item) => item.bare_item.as_integer().map(i64::from),
        ListEntry::InnerList(_) => None,
    };
    let capped = held.unwrap_or(0).clamp(0, i64::from(seconds));
    Integer::from(u32::try_from(capped).unwrap_or(0))
}

fn cap_surrogate<'a>(lines: impl Iterator<Item = &'a [u8]>, seconds: u32) -> Capped {
    let mut changed = false;
    let mut members = Vec::new();
    for member in field::members(lines) {
        let Member::Directive(name, value) = member else {
            return Capped::Unreadable;
        };
        let mut value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name == "max-age" {
            let capped = capped_surrogate_age(value.as_deref().unwrap_or_default(), seconds);
            changed |= value.as_deref() != Some(&*capped);
            value = Some(capped);
        }
        members.push(field::print_member(&name, value.as_deref()));
    }
    if changed {
        Capped::To(members.join(", "))
    } else {
        Capped::Within
    }
}

/// `fresh` or `fresh+stale` seconds, the first within the limit.
fn capped_surrogate_age(value: &str, seconds: u32) -> String {
    let (fresh, stale) = match value.split_once('+') {
        Some((fresh, stale)) => (fresh, Some(stale)),
        None => (value, None),
    };
    let read = |text: &str| delta_seconds(text.as_bytes());
    let fresh = read(fresh).unwrap_or(0).min(seconds);
    match stale.map(read) {
        Some(Some(stale)) => format!("{fresh}+{stale}"),
        Some(None) | None => fresh.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn answer(name: &str, values: &[&str]) -> ResponseHead {
        let fields = values
            .iter()
            .map(|value| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        ResponseHead {
            headers: Headers::new(fields.collect()),
        }
    }

    fn capped(name: &str, values: &[&str]) -> Option<String> {
        let mut answer = answer(name, values);
        let edit = cap(&answer, name, 60)?;
        answer.headers.apply(std::slice::from_ref(&edit));
        assert_eq!(
            cap(&answer, name, 60),
            None,
            "a second round changes nothing"
        );
        match edit {
            Edit::Set(_, value) => Some(String::from_utf8(value).unwrap()),
            Edit::Remove(_) => Some("removed".into()),
            Edit::Add(..) => panic!("{edit:?}"),
        }
    }

    #[test]
    fn which_fields_speak_past_cache_control() {
        for name in [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "surrogate-control",
            "x-accel-expires",
            "edge-control",
        ] {
            assert_eq!(present(&answer(name, &["a", "b"])), [name]);
        }
        for name in ["cache-control", "surrogate-key", "control", "expires"] {
            assert_eq!(
                present(&answer(name, &["a"])),
                Vec::<String>::new(),
                "{name}"
            );
        }
    }

    #[test]
    fn dictionaries_are_capped() {
        let cap = |values: &[&str]| capped("cdn-cache-control", values);
        assert_eq!(cap(&["max-age=60, must-revalidate"]), None);
        assert_eq!(
            cap(&["max-age=61;x=1, must-revalidate"]).as_deref(),
            Some("max-age=60, must-revalidate")
        );
        assert_eq!(
            cap(&["max-age=5", "s-maxage=600"]).as_deref(),
            Some("max-age=5, s-maxage=60")
        );
        // The last of a repeated member counts (RFC 9651 §4.2.2).
        assert_eq!(
            cap(&["max-age=5, max-age=600"]).as_deref(),
            Some("max-age=60")
        );
        for invalid in [
            "max-age=\"5\"",
            "max-age=1.5",
            "max-age",
            "max-age=(1)",
            "max-age=-1",
        ] {
            assert_eq!(cap(&[invalid]).as_deref(), Some("max-age=0"), "{invalid}");
        }
        for unreadable in [
            "Max-Age=5",
            "max-age=5,",
            "max-age = 5",
            "private; max-age=\u{e9}",
        ] {
            assert_eq!(
                cap(&[unreadable]).as_deref(),
                Some("removed"),
                "{unreadable}"
            );
        }
    }

    #[test]
    fn surrogate_control_is_capped() {
        let cap = |values: &[&str]| capped("surrogate-control", values);
        assert_eq!(cap(&["max-age=60+600, content=\"ESI/1.0\""]), None);
        assert_eq!(
            cap(&["Max-Age=600+30, content=\"ESI/1.0\", no-store"]).as_deref(),
            Some("max-age=60+30, content=\"ESI/1.0\", no-store")
        );
        assert_eq!(cap(&["max-age=x+y"]).as_deref(), Some("max-age=0"));
        assert_eq!(cap(&["max-age=600;abc"]).as_deref(), Some("removed"));
    }

    #[test]
    fn vendors_own_fields_do_not_survive_a_cap() {
        assert_eq!(
            capped("x-accel-expires", &["600"]).as_deref(),
            Some("removed")
        );
        assert_eq!(
            capped("edge-control", &["max-age=5m"]).as_deref(),
            Some("removed")
        );
        assert_eq!(
            cap(
                &answer("cache-control", &["max-age=600"]),
                "cache-control",
                60
            ),
            None
        );
    }

    #[test]
    fn what_forbids() {
        for (name, value) in [
            ("cdn-cache-control", "max-age=5, no-store"),
            ("cdn-cache-control", "PRIVATE; x"),
            ("surrogate-control", "no-store"),
            ("edge-control", "!no-store"),
            ("x-accel-expires", "0"),
            ("x-accel-expires", "off"),
        ] {
            assert!(
                forbids(&answer(name, &["x", value]), name),
                "{name}: {value}"
            );
        }
        for (name, value) in [
            ("cdn-cache-control", "max-age=0"),
            ("x-accel-expires", "10"),
        ] {
            assert!(!forbids(&answer(name, &[value]), name), "{name}: {value}");
        }
    }
}
