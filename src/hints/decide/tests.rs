mod fields;
mod lifetimes;
mod safety;

use super::*;
use crate::hints::{Case, MediaRange, Statuses};

/// Tue, 15 Nov 1994 08:12:31 GMT
const NOW: UnixTime = UnixTime(784_887_151);

fn head(fields: &[(&str, &str)]) -> ResponseHead {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    ResponseHead {
        headers: crate::head::Headers::new(fields.collect()),
    }
}

fn asked(method: &str) -> Asked {
    Asked {
        method: method.into(),
        ..Asked::default()
    }
}

fn verified() -> Asked {
    Asked {
        verified: true,
        ..asked("GET")
    }
}

fn ttl(seconds: u32) -> Rule {
    Rule {
        base: Wish {
            mode: Mode::Default,
            ttl: Some(seconds),
            ..Wish::default()
        },
        ..Rule::default()
    }
}

fn wishing(mode: Mode, ttl: u32) -> Rule {
    Rule {
        base: Wish {
            mode,
            ttl: Some(ttl),
            ..Wish::default()
        },
        ..Rule::default()
    }
}

/// The answer after the hints, as `name: value` lines without `:status`; checks that a second
/// round finds nothing to do.
fn after(rule: &Rule, asked: &Asked, status: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let mut fields = fields.to_vec();
    fields.insert(0, (":status", status));
    let mut answer = head(&fields);
    let edits = rule.decide(asked, &answer, NOW, &mut Trace::off());
    answer.headers.apply(&edits);
    let again = rule.decide(asked, &answer, NOW, &mut Trace::off());
    assert_eq!(again, [], "a second round changes nothing: {answer:?}");
    answer
        .headers
        .iter()
        .filter(|(name, _)| *name != b":status")
        .map(|(name, value)| {
            format!(
                "{}: {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )
        })
        .collect()
}

fn cache_control(rule: &Rule, asked: &Asked, status: &str, fields: &[(&str, &str)]) -> String {
    let after = after(rule, asked, status, fields);
    let found: Vec<_> = after
        .iter()
        .filter_map(|line| line.strip_prefix("cache-control: "))
        .collect();
    found.join(" | ")
}
