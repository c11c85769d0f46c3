//! Every safety rule under every mode and profile, as one table; and the table of the docs.
//!
//! `tests/hints/decisions.txt` says what becomes of `Cache-Control`: situation, mode, then one
//! column for each profile. A model of a cache that knows nothing of the program goes over each
//! answer too.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "hints/model.rs"]
mod model;

use std::fmt::Write;

use forecourt::head::ResponseHead;
use forecourt::hints::{Asked, Keep, Mode, Profile, Rule, Wish};
use forecourt::time::UnixTime;
use forecourt::trace::Trace;

const PROFILES: [Profile; 4] = [
    Profile::Generic,
    Profile::Browser,
    Profile::CloudCdn,
    Profile::EnvoyCache,
];

/// Modes with `force` as one more.
const MODES: [(&str, Mode, bool); 6] = [
    ("off", Mode::Off, false),
    ("respect", Mode::Respect, false),
    ("default", Mode::Default, false),
    ("cap", Mode::Cap, false),
    ("override", Mode::Override, false),
    ("force", Mode::Override, true),
];

/// One question: what was asked, and what the origin answered.
struct Situation {
    name: &'static str,
    verified: bool,
    credentials: bool,
    method: &'static str,
    status: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// The route says `shared: true`.
    shared: bool,
    /// The route says `stripSetCookie: true`.
    strips: bool,
    /// Whether a shared cache must never keep the answer, and whether `force` changes that.
    unsharable: Option<EvenForced>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EvenForced {
    Yes,
    No,
}

const PLAIN: Situation = Situation {
    name: "",
    verified: false,
    credentials: false,
    method: "GET",
    status: "200",
    fields: &[],
    shared: false,
    strips: false,
    unsharable: None,
};

const SITUATIONS: &[Situation] = &[
    Situation {
        name: "silent origin",
        ..PLAIN
    },
    Situation {
        name: "origin max-age",
        fields: &[("cache-control", "max-age=600")],
        ..PLAIN
    },
    Situation {
        name: "verified, silent",
        verified: true,
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "verified, public",
        verified: true,
        fields: &[
            ("cache-control", "public, max-age=600, s-maxage=900"),
            ("cdn-cache-control", "max-age=900"),
        ],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "verified, must-revalidate",
        verified: true,
        fields: &[("cache-control", "max-age=600, must-revalidate")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "credentials, s-maxage",
        credentials: true,
        fields: &[("cache-control", "s-maxage=900")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "cookie, silent",
        fields: &[("set-cookie", "a=b")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "cookie, public",
        fields: &[
            ("set-cookie", "a=b"),
            ("cache-control", "public, max-age=600"),
        ],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "origin private",
        fields: &[("cache-control", "private, max-age=600")],
        unsharable: Some(EvenForced::No),
        ..PLAIN
    },
    Situation {
        name: "origin private of fields",
        fields: &[("cache-control", "private=\"x\", max-age=600")],
        unsharable: Some(EvenForced::No),
        ..PLAIN
    },
    Situation {
        name: "origin no-store",
        fields: &[("cache-control", "no-store")],
        unsharable: Some(EvenForced::No),
        ..PLAIN
    },
    Situation {
        name: "origin no-cache",
        fields: &[("cache-control", "no-cache")],
        ..PLAIN
    },
    Situation {
        name: "sloppy private",
        fields: &[("cache-control", "private; max-age=600")],
        unsharable: Some(EvenForced::No),
        ..PLAIN
    },
    Situation {
        name: "206",
        status: "206",
        ..PLAIN
    },
    Situation {
        name: "401",
        status: "401",
        ..PLAIN
    },
    Situation {
        name: "403, verified",
        status: "403",
        verified: true,
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "404",
        status: "404",
        ..PLAIN
    },
    Situation {
        name: "503",
        status: "503",
        ..PLAIN
    },
    Situation {
        name: "POST",
        method: "POST",
        ..PLAIN
    },
    Situation {
        name: "POST, verified",
        method: "POST",
        verified: true,
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "HEAD, verified",
        method: "HEAD",
        verified: true,
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "304, verified",
        status: "304",
        verified: true,
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "407, max-age",
        status: "407",
        fields: &[("cache-control", "max-age=600")],
        ..PLAIN
    },
    Situation {
        name: "verified, no-store",
        verified: true,
        fields: &[("cache-control", "no-store")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "verified, Expires",
        verified: true,
        fields: &[
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("expires", "Thu, 01 Jan 1970 00:10:00 GMT"),
        ],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "verified, Pragma",
        verified: true,
        fields: &[("pragma", "no-cache")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "credentials, Surrogate-Control",
        credentials: true,
        fields: &[
            ("surrogate-control", "max-age=900"),
            ("x-accel-expires", "900"),
        ],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "shared, verified",
        verified: true,
        shared: true,
        ..PLAIN
    },
    Situation {
        name: "shared, verified, private",
        verified: true,
        shared: true,
        fields: &[("cache-control", "private, max-age=600")],
        unsharable: Some(EvenForced::No),
        ..PLAIN
    },
    Situation {
        name: "shared, verified, 403",
        verified: true,
        shared: true,
        status: "403",
        fields: &[("cache-control", "public, max-age=600")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "shared, verified, 404",
        verified: true,
        shared: true,
        status: "404",
        fields: &[("cache-control", "public, max-age=600")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "shared, verified, cookie",
        verified: true,
        shared: true,
        fields: &[("set-cookie", "a=b")],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
    Situation {
        name: "stripped cookie",
        strips: true,
        fields: &[
            ("set-cookie", "a=b"),
            ("cache-control", "public, max-age=600"),
        ],
        ..PLAIN
    },
    Situation {
        name: "stripped cookie, verified",
        verified: true,
        strips: true,
        fields: &[
            ("set-cookie", "a=b"),
            ("cache-control", "public, max-age=600"),
        ],
        unsharable: Some(EvenForced::Yes),
        ..PLAIN
    },
];

#[test]
fn the_table_of_decisions() {
    let mut table = String::new();
    for situation in SITUATIONS {
        for mode in MODES {
            let found = PROFILES.map(|profile| {
                let rule = Rule {
                    shared: situation.shared,
                    strip_set_cookie: situation.strips,
                    ..rule(profile, mode.1, mode.2)
                };
                let answer = situation.after(&rule);
                situation.check(mode.0, profile, &answer);
                model::field(&answer, "cache-control")
            });
            writeln!(
                table,
                "{} | {} | {}",
                situation.name,
                mode.0,
                found.join(" | ")
            )
            .unwrap();
        }
    }
    let held = include_str!("hints/decisions.txt");
    let differing: Vec<_> = table
        .lines()
        .zip(held.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert_eq!(differing, [], "left is what the program does");
    assert_eq!(table.lines().count(), held.lines().count(), "{table}");
}

/// A route that would share everything for a minute, were it not for the safety rules.
fn rule(profile: Profile, mode: Mode, force: bool) -> Rule {
    let ttl = !matches!(mode, Mode::Off | Mode::Respect);
    Rule {
        profile,
        base: Wish {
            mode,
            force,
            ttl: ttl.then_some(60),
            ..Wish::default()
        },
        ..Rule::default()
    }
}

impl Situation {
    fn after(&self, rule: &Rule) -> ResponseHead {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut answer = model::answer(self.status, &fields);
        let asked = Asked {
            verified: self.verified,
            credentials: self.credentials,
            method: self.method.into(),
            ..Asked::default()
        };
        let edits = rule.decide(&asked, &answer, UnixTime(0), &mut Trace::off());
        answer.headers.apply(&edits);
        let again = rule.decide(&asked, &answer, UnixTime(0), &mut Trace::off());
        assert_eq!(again, [], "{}: a second round changes nothing", self.name);
        answer
    }

    fn check(&self, mode: &str, profile: Profile, answer: &ResponseHead) {
        let place = format!("{} under {mode}, {profile:?}: {answer:?}", self.name);
        let guarded = match self.unsharable {
            None => false,
            Some(EvenForced::No) => mode != "force",
            Some(EvenForced::Yes) => true,
        };
        if guarded {
            assert!(!model::may_be_shared(answer), "{place}");
        }
        if answer.headers.has("set-cookie") {
            assert!(!model::may_be_shared(answer), "{place}");
        }
        let was_no_store = self.fields.contains(&("cache-control", "no-store"));
        if was_no_store && mode != "force" {
            assert!(!model::may_be_kept(answer), "{place}");
        }
        let covered = matches!(self.status, "200" | "206" | "304") && self.method != "POST";
        if !covered {
            let held = self
                .fields
                .iter()
                .any(|(_, value)| value.contains("max-age"));
            let wanted = held.then_some(600);
            assert_eq!(model::seconds(answer, "max-age"), wanted, "{place}");
        }
    }
}

/// Each row of the docs' safety rules, by how it begins, with the situations above that show it.
const SHOWN: [(&str, &[&str]); 10] = [
    (
        "to a verified request",
        &["verified, silent", "verified, public", "shared, verified"],
    ),
    (
        "to a request with `Authorization`",
        &["credentials, s-maxage"],
    ),
    ("with `Set-Cookie`", &["cookie, public", "stripped cookie"]),
    (
        "`private`, `no-store` or `no-cache`",
        &["origin private", "origin no-store", "origin no-cache"],
    ),
    (
        "private for one of these reasons",
        &["verified, public", "credentials, Surrogate-Control"],
    ),
    ("401, 403, 407", &["401", "403, verified", "407, max-age"]),
    ("404, 5xx", &["404", "503", "shared, verified, 404"]),
    // Replies are made by another part, which has tests of its own.
    ("a refusal of Forecourt's own", &[]),
    ("to another method", &["POST", "POST, verified"]),
    ("206", &["206"]),
];

#[test]
fn every_safety_rule_of_the_docs_is_in_the_table() {
    let docs = include_str!("../src/hints/safety.md");
    let rows: Vec<_> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .skip(1)
        .collect();
    assert_eq!(rows.len(), SHOWN.len());
    for (row, (begins, situations)) in rows.iter().zip(SHOWN) {
        assert!(row.starts_with(begins), "{row}");
        for name in situations {
            let there = SITUATIONS.iter().any(|situation| situation.name == *name);
            assert!(there, "no situation is called {name}");
        }
    }
}

#[test]
fn the_table_is_not_empty_handed() {
    let shared = SITUATIONS
        .iter()
        .filter(|situation| {
            situation.unsharable.is_none() && !situation.shared && !situation.strips
        })
        .map(|situation| situation.after(&rule(Profile::Generic, Mode::Override, false)))
        .filter(|answer| model::says(answer, "public"))
        .count();
    assert_eq!(shared, 3, "silent, max-age and 206");
}

/// The rows of the docs: what the policy says, what is asked and answered, and the rule.
fn rows() -> Vec<(&'static str, &'static str, Rule, Situation)> {
    let ttl = |seconds| Rule {
        base: Wish {
            mode: Mode::Default,
            ttl: Some(seconds),
            ..Wish::default()
        },
        ..Rule::default()
    };
    let wish = |base: Wish| Rule {
        base,
        ..Rule::default()
    };
    let dated: &[_] = &[("date", "Thu, 01 Jan 1970 00:00:00 GMT")];
    let plain = Situation {
        fields: dated,
        ..PLAIN
    };
    let shared = Rule {
        shared: true,
        ..ttl(300)
    };
    let verified = Situation {
        verified: true,
        fields: dated,
        ..PLAIN
    };
    let apart = wish(Wish {
        shared_ttl: Some(3_600),
        ..ttl(300).base
    });
    let stale = wish(Wish {
        stale_while_revalidate: Some(1_209_600),
        ..ttl(300).base
    });
    let respect = wish(Wish {
        mode: Mode::Respect,
        ..Wish::default()
    });
    let nobody = wish(Wish {
        keep: Keep::Nobody,
        ..respect.base.clone()
    });
    vec![
        ("`ttl: 5m`", "silent", ttl(300), plain),
        ("`ttl: 5m`", "silent, without Date", ttl(300), PLAIN),
        (
            "`ttl: 0s`",
            "silent",
            ttl(0),
            Situation {
                fields: dated,
                ..PLAIN
            },
        ),
        (
            "`ttl: 5m`, `sharedTtl: 1h`",
            "silent",
            apart,
            Situation {
                fields: dated,
                ..PLAIN
            },
        ),
        (
            "`ttl: 5m`, `staleWhileRevalidate: 14d`",
            "silent",
            stale,
            Situation {
                fields: dated,
                ..PLAIN
            },
        ),
        (
            "`ttl: 5m`",
            "silent, verified request",
            ttl(300),
            Situation {
                fields: dated,
                ..verified
            },
        ),
        (
            "`ttl: 5m`, `shared: true`",
            "silent, verified request",
            shared,
            verified,
        ),
        (
            "`ttl: 5m`",
            "Set-Cookie",
            ttl(300),
            Situation {
                fields: &[("date", ""), ("set-cookie", "a=b")],
                ..PLAIN
            },
        ),
        (
            "`mode: respect`",
            "`max-age=60`",
            respect.clone(),
            Situation {
                fields: &[("date", ""), ("cache-control", "max-age=60")],
                ..PLAIN
            },
        ),
        (
            "`mode: respect`",
            "`private, max-age=60`",
            respect,
            Situation {
                fields: &[("cache-control", "private, max-age=60")],
                ..PLAIN
            },
        ),
        (
            "`ttl: 5m`",
            "206, silent",
            ttl(300),
            Situation {
                status: "206",
                fields: dated,
                ..PLAIN
            },
        ),
        (
            "`ttl: 5m`",
            "404, silent",
            ttl(300),
            Situation {
                status: "404",
                fields: dated,
                ..PLAIN
            },
        ),
        (
            "`noStore: true`",
            "`max-age=60`",
            nobody,
            Situation {
                fields: &[("cache-control", "max-age=60")],
                ..PLAIN
            },
        ),
    ]
}

#[test]
fn the_table_of_the_docs() {
    let mut table = String::from(
        "| route | answer | `generic` | `browser` | `cloud-cdn` | `envoy-cache` |\n\
         |---|---|---|---|---|---|\n",
    );
    for (route, origin, rule, situation) in rows() {
        let cells = PROFILES.map(|profile| {
            let rule = Rule {
                profile,
                ..rule.clone()
            };
            cell(&situation, &situation.after(&rule))
        });
        writeln!(table, "| {route} | {origin} | {} |", cells.join(" | ")).unwrap();
    }
    let docs = include_str!("../src/hints/profiles.md");
    assert!(docs.contains(&table), "the docs should have\n{table}");
}

fn cell(situation: &Situation, answer: &ResponseHead) -> String {
    let value = model::field(answer, "cache-control");
    let dated = situation.fields.iter().any(|(name, _)| *name == "date");
    let date = if answer.headers.has("date") && !dated {
        ", and `Date`"
    } else {
        ""
    };
    match value.as_str() {
        "" => "–".to_owned(),
        value => format!("`{value}`{date}"),
    }
}
