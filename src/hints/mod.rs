//! Caching hints: what may be kept of an answer, by whom and for how long.
//!
//! The origin's fields are read strictly, the route's rule is applied, then the safety rules, and
//! what changed becomes edits of the answer's head. Nothing is written where nothing changed.
//!
//! # Safety rules
//!
//! They hold on every route, with or without a rule of its own:
//!
//! | answer | becomes | why |
//! |---|---|---|
//! | to a verified request, or one with credentials | `private`, unless the route is `shared` and the rule covers the answer | RFC 9111 §3.5 protects only `Authorization`, and `public`, `s-maxage` and `must-revalidate` lift even that; a token in a cookie or another field has no protection, and an answer without any lifetime may be stored by guess (§4.2.2) |
//! | with `Set-Cookie` | `private` | the field does not keep a cache from storing (§7.3) |
//! | `private` or `no-store` at the origin | never less | §5.2.2.5, §5.2.2.7 |
//!
//! A private answer also loses the fields through which an origin speaks to shared caches alone
//! (RFC 9213 §2.2, `Surrogate-Control` and its like), since those outrank Cache-Control there.

pub mod directives;
pub mod field;
pub mod structured;

use directives::{Directives, MAX_SECONDS, Reading};

use crate::head::{Edit, ResponseHead};
use crate::time::UnixTime;
use crate::trace::Trace;

/// What the answer must remember of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// A token was verified for it.
    pub verified: bool,
    /// It carried `Authorization`, or a cookie, query parameter or field in which the policy looks
    /// for a token, whether or not the route asked for one.
    pub credentials: bool,
    /// The method.
    pub method: Vec<u8>,
}

/// A route's caching rule, compiled. The default one adds nothing to the safety rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether answers to verified requests may be shared.
    pub shared: bool,
    /// Field names for `Vary`, in lower case.
    pub vary: Vec<String>,
    /// What the route wants for answers that it expects.
    pub wish: Wish,
}

/// What a route wants of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Who may keep it.
    pub keep: Keep,
    /// Seconds that it is fresh, where the origin does not say.
    pub ttl: Option<u32>,
    /// Seconds that a stale answer may be used while a new one is fetched (RFC 5861 §3); only
    /// beside a lifetime of the route's own.
    pub stale_while_revalidate: Option<u32>,
}

/// Who may keep an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Any cache that the origin and the safety rules allow.
    #[default]
    Any,
    /// The client's own cache only.
    Private,
    /// Nobody.
    Nobody,
}

/// Fields by which origins address shared caches past Cache-Control, beside every
/// `…-Cache-Control` of RFC 9213.
const TARGETED: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];

/// The statuses that a route's lifetime is meant for: successes and lasting redirects that RFC 9110
/// §15.1 lets caches keep, and 304, which renews a kept answer (RFC 9111 §4.3.4).
const EXPECTED: [u16; 8] = [200, 203, 204, 206, 300, 301, 304, 308];

impl Rule {
    /// The edits that make an answer's head say what the rule, the origin and the safety rules
    /// agree on. Applied to the edited answer it gives none.
    pub fn decide(
        &self,
        asked: &Asked,
        answer: &ResponseHead,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Vec<Edit> {
        let origin = Origin::read(answer, now);
        let mut hints = Hints::of(&origin);
        let covered = covers(asked, answer);
        if covered {
            self.wish.apply(&origin, &mut hints, trace);
        }
        self.keep_safe(asked, answer, covered, &mut hints, trace);
        let mut edits = hints.edits(answer, &origin);
        if covered {
            edits.extend(self.vary_edit(answer, trace));
        }
        trace.note("hints", || summary(&edits));
        edits
    }

    fn keep_safe(
        &self,
        asked: &Asked,
        answer: &ResponseHead,
        covered: bool,
        hints: &mut Hints,
        trace: &mut Trace,
    ) {
        if asked.verified || asked.credentials {
            if self.shared && covered {
                hints.share();
            } else {
                trace.note("hints", || {
                    "the request carried credentials, so no shared cache may keep the answer"
                        .to_owned()
                });
                hints.make_private();
            }
        }
        if answer.headers.has("set-cookie") {
            trace.note("hints", || {
                "the answer sets a cookie, so no shared cache may keep it".to_owned()
            });
            hints.make_private();
        }
    }

    fn vary_edit(&self, answer: &ResponseHead, trace: &mut Trace) -> Option<Edit> {
        let held = field::tokens(answer.headers.all("vary"));
        let names = held.as_deref().unwrap_or_default();
        if names.iter().any(|name| name == "*") {
            return None;
        }
        let missing: Vec<_> = self
            .vary
            .iter()
            .filter(|name| !mentions(answer, name))
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return None;
        }
        trace.note("hints", || format!("vary also by {}", missing.join(", ")));
        Some(match held {
            Some(names) => {
                let all: Vec<_> = names.iter().map(String::as_str).chain(missing).collect();
                Edit::Set("vary".to_owned(), all.join(", ").into_bytes())
            }
            // What cannot be read is not rewritten.
            None => Edit::Add("vary".to_owned(), missing.join(", ").into_bytes()),
        })
    }
}

impl Wish {
    fn apply(&self, origin: &Origin, hints: &mut Hints, trace: &mut Trace) {
        match self.keep {
            Keep::Any => {}
            Keep::Private => hints.make_private(),
            Keep::Nobody => return hints.make_no_store(),
        }
        let Some(ttl) = self.ttl else { return };
        if origin.speaks() {
            trace.note("hints", || {
                "the origin says how long its answer lives, so the route's ttl is not used"
                    .to_owned()
            });
            return;
        }
        let said = &mut hints.said;
        said.public = !said.forbids_sharing();
        said.max_age = Some(ttl);
        said.stale_while_revalidate = self.stale_while_revalidate;
        hints.touched = true;
    }
}

/// Whether an answer is of the kind that a route's rule is written for.
fn covers(asked: &Asked, answer: &ResponseHead) -> bool {
    matches!(&*asked.method, b"GET" | b"HEAD")
        && answer
            .status()
            .is_some_and(|status| EXPECTED.contains(&status))
}

/// What the origin said.
struct Origin {
    reading: Reading,
    /// The lifetime that `Expires` gives (RFC 9111 §4.2.1), where Cache-Control gives none.
    expires: Option<u32>,
}

impl Origin {
    fn read(answer: &ResponseHead, now: UnixTime) -> Self {
        let mut reading = directives::read(answer.headers.all("cache-control"));
        let silent = !answer.headers.has("cache-control");
        // `Pragma` has no meaning in an answer (RFC 9111 §5.4), but whoever sends it means this.
        if silent && names(answer, "pragma", "no-cache") {
            reading.directives.no_cache = directives::Scope::Whole;
        }
        let expires = if reading.directives.max_age.is_none() {
            expires(answer, now)
        } else {
            None
        };
        Self { reading, expires }
    }

    fn speaks(&self) -> bool {
        let said = &self.reading.directives;
        said.has_lifetime() || said.forbids_reuse() || self.expires.is_some()
    }
}

/// Seconds from Date to Expires; 0 where Expires is past, repeated or no date (RFC 9111 §5.3).
fn expires(answer: &ResponseHead, now: UnixTime) -> Option<u32> {
    let value = answer.headers.single("expires").transpose()?;
    let sent = answer
        .headers
        .single("date")
        .ok()
        .flatten()
        .and_then(field::http_date)
        .unwrap_or(now);
    let lifetime = value
        .ok()
        .and_then(field::http_date)
        .map_or(0, |until| until.0.saturating_sub(sent.0));
    Some(u32::try_from(lifetime).map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS)))
}

/// The answer's hints while they are made.
struct Hints {
    said: Directives,
    /// Whether any rule wanted something, so that the field may be written anew.
    touched: bool,
}

impl Hints {
    fn of(origin: &Origin) -> Self {
        Self {
            said: origin.reading.directives.clone(),
            touched: false,
        }
    }

    fn make_private(&mut self) {
        self.said.make_private();
        self.touched = true;
    }

    fn make_no_store(&mut self) {
        self.said.make_no_store();
        self.touched = true;
    }

    /// Lifts RFC 9111 §3.5, which keeps shared caches from answers to requests with
    /// `Authorization`, where there is a lifetime to share.
    fn share(&mut self) {
        if self.said.has_lifetime() && !self.said.forbids_sharing() {
            self.said.public = true;
            self.touched = true;
        }
    }

    fn edits(mut self, answer: &ResponseHead, origin: &Origin) -> Vec<Edit> {
        let mut edits = Vec::new();
        if !self.touched {
            return edits;
        }
        let doubtful = origin.reading.doubtful;
        if doubtful || self.said != origin.reading.directives {
            self.take_over_expires(origin);
            edits.push(set("cache-control", self.said.to_string()));
            edits.extend(remove_if_there(answer, "expires"));
        }
        if self.said.forbids_sharing() {
            edits.extend(targeted(answer).map(Edit::Remove));
        }
        edits
    }

    /// A cache of HTTP/1.0 reads Expires and no Cache-Control: where that field is rewritten, the
    /// lifetime moves into it.
    fn take_over_expires(&mut self, origin: &Origin) {
        if self.said.max_age.is_none() && !self.said.no_store {
            self.said.max_age = origin.expires;
        }
    }
}

/// The targeted fields that the answer has, each once.
fn targeted(answer: &ResponseHead) -> impl Iterator<Item = String> {
    let mut found: Vec<String> = answer
        .headers
        .iter()
        .filter_map(|(name, _)| std::str::from_utf8(name).ok())
        .filter(|name| name.ends_with("-cache-control") || TARGETED.contains(name))
        .map(str::to_owned)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter()
}

/// Whether a list field names a token, however sloppy the rest of it is.
fn names(answer: &ResponseHead, field: &str, token: &str) -> bool {
    answer
        .headers
        .all(field)
        .any(|line| field::words(line).any(|word| word == token.as_bytes()))
}

fn mentions(answer: &ResponseHead, name: &str) -> bool {
    names(answer, "vary", name)
}

fn set(name: &str, value: String) -> Edit {
    Edit::Set(name.to_owned(), value.into_bytes())
}

fn remove_if_there(answer: &ResponseHead, name: &str) -> Option<Edit> {
    answer
        .headers
        .has(name)
        .then(|| Edit::Remove(name.to_owned()))
}

fn summary(edits: &[Edit]) -> String {
    if edits.is_empty() {
        return "the answer's caching fields stay as they are".to_owned();
    }
    let each = edits.iter().map(|edit| match edit {
        Edit::Set(name, value) => format!("{name}: {}", value.escape_ascii()),
        Edit::Add(name, value) => format!("one more {name}: {}", value.escape_ascii()),
        Edit::Remove(name) => format!("{name} removed"),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            wish: Wish {
                ttl: Some(seconds),
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

    #[test]
    fn without_a_rule_a_public_answer_stays_as_it_is() {
        for fields in [
            &[][..],
            &[("cache-control", "public; max-age=60, max-age=9")],
            &[("expires", "0"), ("surrogate-control", "max-age=9")],
        ] {
            let answer = head(fields);
            let edits = Rule::default().decide(&asked("GET"), &answer, NOW, &mut Trace::off());
            assert_eq!(edits, [], "{fields:?}");
        }
    }

    #[test]
    fn answers_to_verified_requests_are_private() {
        let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
        let soon = ("expires", "Tue, 15 Nov 1994 08:13:31 GMT");
        for (fields, wanted) in [
            (vec![], "private"),
            (
                vec![("cache-control", "public, max-age=60, s-maxage=99")],
                "private, max-age=60",
            ),
            (vec![("cache-control", "s-maxage=99")], "private"),
            (
                vec![("cache-control", "max-age=60, must-revalidate")],
                "private, max-age=60, must-revalidate",
            ),
            (
                vec![("cache-control", "private=\"x\", max-age=5")],
                "private, max-age=5",
            ),
            (
                vec![("cache-control", "private; max-age=5")],
                "private, max-age=0",
            ),
            (vec![("cache-control", "no-store")], "no-store"),
            (
                vec![("cache-control", "must-understand, no-store, max-age=5")],
                "no-store, max-age=5",
            ),
            (
                vec![("cache-control", "public"), ("cache-control", "max-age=5")],
                "private, max-age=5",
            ),
            (vec![date, soon], "private, max-age=60"),
            (vec![("pragma", "no-cache")], "private, no-cache"),
        ] {
            assert_eq!(
                cache_control(&Rule::default(), &verified(), "200", &fields),
                wanted,
                "{fields:?}"
            );
            let with_credentials = Asked {
                credentials: true,
                ..asked("POST")
            };
            assert_eq!(
                cache_control(&Rule::default(), &with_credentials, "200", &fields),
                wanted,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn a_private_answer_says_nothing_else_to_shared_caches() {
        let fields = [
            ("cache-control", "private, max-age=5"),
            ("CDN-Cache-Control", "max-age=600"),
            ("cdn-cache-control", "max-age=60"),
            ("x-cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("edge-control", "!no-store"),
        ];
        assert_eq!(
            after(&Rule::default(), &verified(), "200", &fields),
            ["cache-control: private, max-age=5"]
        );
    }

    #[test]
    fn only_a_shared_route_shares_answers_to_verified_requests() {
        let shared = Rule {
            shared: true,
            ..ttl(300)
        };
        assert_eq!(
            cache_control(&ttl(300), &verified(), "200", &[]),
            "private, max-age=300"
        );
        assert_eq!(
            cache_control(&shared, &verified(), "200", &[]),
            "public, max-age=300"
        );
        let origin = |text| [("cache-control", text)];
        assert_eq!(
            cache_control(&shared, &verified(), "200", &origin("max-age=60")),
            "public, max-age=60"
        );
        assert_eq!(
            cache_control(&shared, &verified(), "200", &origin("private, max-age=60")),
            "private, max-age=60"
        );
        assert_eq!(
            cache_control(&shared, &verified(), "200", &origin("no-store")),
            "no-store"
        );
        // Errors and answers to other methods are not what the route meant.
        assert_eq!(
            cache_control(&shared, &verified(), "404", &origin("max-age=60")),
            "private, max-age=60"
        );
        let post = Asked {
            method: b"POST".into(),
            ..verified()
        };
        assert_eq!(cache_control(&shared, &post, "200", &[]), "private");
    }

    #[test]
    fn a_cookie_keeps_the_answer_out_of_shared_caches() {
        let cookie = ("set-cookie", "a=b");
        assert_eq!(
            cache_control(&Rule::default(), &asked("GET"), "200", &[cookie]),
            "private"
        );
        assert_eq!(
            cache_control(&ttl(60), &asked("GET"), "200", &[cookie]),
            "private, max-age=60"
        );
        let shared = Rule {
            shared: true,
            ..ttl(60)
        };
        assert_eq!(
            cache_control(&shared, &verified(), "200", &[cookie]),
            "private, max-age=60"
        );
    }

    #[test]
    fn a_ttl_speaks_only_where_the_origin_does_not() {
        for (origin, wanted) in [
            ("", "public, max-age=300"),
            ("public", "public, max-age=300"),
            (
                "no-transform, x=1",
                "public, max-age=300, no-transform, x=1",
            ),
            ("private", "private, max-age=300"),
            ("max-age=0", "max-age=0"),
            ("s-maxage=9", "s-maxage=9"),
            ("no-store", "no-store"),
            ("no-cache", "no-cache"),
            ("no-cache=\"x\"", "no-cache=\"x\""),
        ] {
            let fields = [("cache-control", origin)];
            assert_eq!(
                cache_control(&ttl(300), &asked("GET"), "200", &fields),
                wanted,
                "{origin}"
            );
            assert_eq!(
                cache_control(&ttl(300), &asked("HEAD"), "200", &fields),
                wanted,
                "{origin}"
            );
        }
        assert_eq!(
            cache_control(&ttl(300), &asked("GET"), "200", &[("expires", "0")]),
            ""
        );
        assert_eq!(
            cache_control(&ttl(300), &asked("GET"), "200", &[("pragma", "no-cache")]),
            ""
        );
    }

    #[test]
    fn errors_and_other_methods_do_not_get_the_routes_ttl() {
        for status in [
            "302", "401", "403", "404", "410", "429", "500", "503", "", "2xx",
        ] {
            assert_eq!(
                cache_control(&ttl(300), &asked("GET"), status, &[]),
                "",
                "{status}"
            );
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
            assert_eq!(
                cache_control(&ttl(300), &asked(method), "200", &[]),
                "",
                "{method}"
            );
        }
        for status in ["204", "301", "304", "308"] {
            assert_eq!(
                cache_control(&ttl(300), &asked("GET"), status, &[]),
                "public, max-age=300"
            );
        }
    }

    #[test]
    fn private_and_no_store_only_ever_tighten() {
        let keep = |keep| Rule {
            wish: Wish {
                keep,
                ..Wish::default()
            },
            ..Rule::default()
        };
        let origin = [
            ("cache-control", "public, max-age=60, immutable"),
            ("expires", "0"),
        ];
        assert_eq!(
            after(&keep(Keep::Private), &asked("GET"), "200", &origin),
            ["cache-control: private, max-age=60, immutable"]
        );
        assert_eq!(
            after(&keep(Keep::Nobody), &asked("GET"), "200", &origin),
            ["cache-control: no-store"]
        );
        assert_eq!(
            cache_control(
                &keep(Keep::Private),
                &asked("GET"),
                "200",
                &[("cache-control", "no-store")]
            ),
            "no-store"
        );
        assert_eq!(
            cache_control(&keep(Keep::Nobody), &verified(), "200", &[]),
            "no-store"
        );
    }

    #[test]
    fn staleness_goes_with_the_routes_own_ttl() {
        let mut rule = ttl(300);
        rule.wish.stale_while_revalidate = Some(60);
        assert_eq!(
            cache_control(&rule, &asked("GET"), "200", &[]),
            "public, max-age=300, stale-while-revalidate=60"
        );
        assert_eq!(
            cache_control(
                &rule,
                &asked("GET"),
                "200",
                &[("cache-control", "max-age=9")]
            ),
            "max-age=9"
        );
    }

    #[test]
    fn vary_is_merged_and_never_dropped() {
        let rule = Rule {
            vary: vec!["accept-encoding".into(), "origin".into()],
            ..Rule::default()
        };
        for (held, wanted) in [
            (vec![], vec!["vary: accept-encoding, origin"]),
            (
                vec![("vary", "Accept")],
                vec!["vary: accept, accept-encoding, origin"],
            ),
            (
                vec![("vary", "Origin"), ("vary", "ACCEPT-ENCODING")],
                vec!["vary: Origin", "vary: ACCEPT-ENCODING"],
            ),
            (vec![("vary", "*")], vec!["vary: *"]),
            (
                vec![("vary", "a b, origin")],
                vec!["vary: a b, origin", "vary: accept-encoding"],
            ),
        ] {
            assert_eq!(
                after(&rule, &asked("GET"), "200", &held),
                wanted,
                "{held:?}"
            );
        }
        assert_eq!(
            after(&rule, &asked("POST"), "200", &[]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn expires_is_read_as_rfc_9111_says() {
        let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
        let later = ("expires", "Tue, 15 Nov 1994 08:13:01 GMT");
        for (fields, wanted) in [
            (vec![date, later], Some(30)),
            (vec![later], Some(30)),
            (vec![date, ("expires", "0")], Some(0)),
            (vec![later, date, later], Some(0)),
            (
                vec![("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
                Some(MAX_SECONDS),
            ),
            (vec![date], None),
        ] {
            assert_eq!(expires(&head(&fields), NOW), wanted, "{fields:?}");
        }
    }

    #[test]
    fn the_trace_says_why() {
        let mut trace = Trace::on(false);
        ttl(300).decide(&verified(), &head(&[(":status", "200")]), NOW, &mut trace);
        let notes: Vec<_> = trace
            .steps()
            .iter()
            .map(|step| step.note.as_str())
            .collect();
        assert_eq!(
            notes,
            [
                "the request carried credentials, so no shared cache may keep the answer",
                "cache-control: private, max-age=300",
            ]
        );
    }
}
