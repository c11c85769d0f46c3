//! From what the origin said and what the route wants to what the answer says.

use super::directives::{Directives, Scope};
use super::origin::Origin;
use super::rule::{Keep, Mode, Profile, Rule, Wish};
use super::{Asked, field, targeted, vary};
use crate::head::{Edit, ResponseHead};
use crate::time::UnixTime;
use crate::trace::Trace;

/// The longest that Cloud CDN serves a stale answer, in seconds.
pub const CLOUD_CDN_STALE: u32 = 604_800;

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
        let wish = self.wish(asked, answer);
        let mut hints = Hints::new(answer, now);
        if let Some(wish) = wish {
            hints.touched = true;
            self.fulfil(wish, asked, &mut hints, trace);
        }
        self.keep_safe(wish.is_some(), asked, &mut hints, trace);
        if wish.is_some() {
            self.suit_the_cache_in_front(&mut hints, trace);
        }
        let mut edits = hints.into_edits(wish);
        if asked.is_retrieval() {
            edits.extend(vary::merge(answer, &self.vary));
        }
        if wish.is_some() {
            edits.extend(self.no_vary_search_edit(answer));
        }
        trace.note("hints", || summary(&edits));
        edits
    }

    fn fulfil(&self, wish: &Wish, asked: &Asked, hints: &mut Hints<'_>, trace: &mut Trace) {
        let keep = match (wish.keep, self.profile) {
            (Keep::Any, Profile::Browser) => Keep::Private,
            (keep, _) => keep,
        };
        match keep {
            Keep::Any => {}
            Keep::Private => hints.said.make_private(),
            Keep::Nobody => return hints.said.make_no_store(),
        }
        if about_the_asker(hints.answer) || !asked.is_retrieval() {
            return;
        }
        match wish.mode {
            Mode::Off | Mode::Respect => {}
            Mode::Default => self.fill(wish, hints, trace),
            Mode::Cap => hints.cap(wish, trace),
            Mode::Override => self.override_origin(wish, keep, hints, trace),
        }
        if wish.must_revalidate {
            hints.said.must_revalidate = true;
            hints.said.stale_while_revalidate = None;
            hints.said.stale_if_error = None;
        }
    }

    fn fill(&self, wish: &Wish, hints: &mut Hints<'_>, trace: &mut Trace) {
        if hints.origin.speaks() {
            trace.note("hints", || {
                "the origin says how long its answer lives, so the route's ttl is not used".into()
            });
            return;
        }
        let own = self.targeted.as_deref();
        let taken = own.is_some_and(|name| hints.answer.headers.has(name));
        hints.write(wish, own.filter(|_| !taken));
    }

    fn override_origin(&self, wish: &Wish, keep: Keep, hints: &mut Hints<'_>, trace: &mut Trace) {
        if wish.force {
            trace.note("hints", || {
                "forced: the origin's limits on keeping the answer are gone".into()
            });
            hints.said.lift_limits(keep);
        } else if hints.said.forbids_reuse() {
            trace.note("hints", || {
                "the origin forbids using the answer again, so the route's ttl is not used".into()
            });
            return;
        }
        let own = self.targeted.as_deref();
        let stands = own.is_some_and(|name| !wish.force && targeted::forbids(hints.answer, name));
        hints.write(wish, own.filter(|_| !stands));
    }

    /// The safety rules.
    fn keep_safe(&self, covered: bool, asked: &Asked, hints: &mut Hints<'_>, trace: &mut Trace) {
        if asked.has_credentials() {
            if self.shared && covered && !about_the_asker(hints.answer) {
                hints.share();
            } else {
                trace.note("hints", || {
                    "the request carried credentials, so no shared cache may keep the answer".into()
                });
                hints.make_private();
            }
        }
        if !hints.answer.headers.has("set-cookie") {
            return;
        }
        if self.strip_set_cookie && covered && hints.is_for_shared_caches() {
            trace.note("hints", || {
                "the answer is for shared caches, so its cookies are dropped".into()
            });
            hints.strip_cookies = true;
        } else {
            trace.note("hints", || {
                "the answer sets a cookie, so no shared cache may keep it".into()
            });
            hints.make_private();
        }
    }

    fn suit_the_cache_in_front(&self, hints: &mut Hints<'_>, trace: &mut Trace) {
        match self.profile {
            Profile::Generic | Profile::Browser => {}
            Profile::CloudCdn => hints.suit_cloud_cdn(),
            Profile::EnvoyCache => hints.suit_envoy_cache(trace),
        }
    }

    fn no_vary_search_edit(&self, answer: &ResponseHead) -> Option<Edit> {
        let value = self.no_vary_search.as_deref()?;
        (!answer.headers.has("no-vary-search")).then(|| set("no-vary-search", value.to_owned()))
    }
}

/// Whether the status is about whoever asked, so that no lifetime of a route is meant for it.
fn about_the_asker(answer: &ResponseHead) -> bool {
    matches!(answer.status(), Some(401 | 403 | 407))
}

/// The answer's hints while they are made.
struct Hints<'a> {
    answer: &'a ResponseHead,
    origin: Origin,
    now: UnixTime,
    said: Directives,
    /// Whether any rule wanted something, so that the fields may be written anew.
    touched: bool,
    /// What the route's own targeted field is to say.
    targeted: Option<(String, String)>,
    strip_cookies: bool,
    set_date: bool,
}

impl<'a> Hints<'a> {
    fn new(answer: &'a ResponseHead, now: UnixTime) -> Self {
        let origin = Origin::read(answer, now);
        Self {
            answer,
            said: origin.reading.directives.clone(),
            origin,
            now,
            touched: false,
            targeted: None,
            strip_cookies: false,
            set_date: false,
        }
    }

    fn make_private(&mut self) {
        self.said.make_private();
        self.touched = true;
    }

    /// Writes the route's lifetimes. Those of shared caches go into `field`, if there is one.
    fn write(&mut self, wish: &Wish, field: Option<&str>) {
        let said = &mut self.said;
        let sharable = !said.forbids_sharing();
        let apart = wish.shared_ttl.filter(|seconds| Some(*seconds) != wish.ttl);
        said.public = sharable;
        said.max_age = wish.ttl;
        said.s_maxage = apart.filter(|_| sharable && field.is_none());
        said.immutable = wish.immutable;
        let may_be_stale = !said.must_revalidate;
        said.stale_while_revalidate = wish.stale_while_revalidate.filter(|_| may_be_stale);
        said.stale_if_error = wish.stale_if_error.filter(|_| may_be_stale);
        self.targeted = field
            .zip(wish.for_shared())
            .map(|(field, seconds)| (field.to_owned(), said.targeted_twin(seconds)));
    }

    fn cap(&mut self, wish: &Wish, trace: &mut Trace) {
        let said = &mut self.said;
        let lifetime = self.origin.lifetime();
        if let (Some(held), Some(limit)) = (lifetime, wish.ttl)
            && held > limit
        {
            trace.note("hints", || {
                format!("max-age is capped from {held} to {limit}")
            });
            said.max_age = Some(limit);
        }
        if let Some(limit) = wish.for_shared() {
            said.s_maxage = match said.s_maxage {
                Some(held) => Some(held.min(limit)),
                // The shared lifetime was the other one: it is capped apart where that differs.
                None => lifetime
                    .map(|held| held.min(limit))
                    .filter(|seconds| !said.forbids_sharing() && Some(*seconds) != said.max_age)
                    .filter(|_| wish.shared_ttl.is_some()),
            };
        }
        let within = |held: &mut Option<u32>, limit: Option<u32>| {
            if let (Some(held), Some(limit)) = (held, limit) {
                *held = limit.min(*held);
            }
        };
        within(
            &mut said.stale_while_revalidate,
            wish.stale_while_revalidate,
        );
        within(&mut said.stale_if_error, wish.stale_if_error);
    }

    /// Lifts RFC 9111 §3.5, which keeps shared caches from answers to requests with
    /// `Authorization`, where there is a lifetime to share.
    fn share(&mut self) {
        if self.is_for_shared_caches() {
            self.said.public = true;
        }
    }

    fn is_for_shared_caches(&self) -> bool {
        let lives = self.said.has_lifetime() || self.origin.expires.is_some();
        lives && !self.said.forbids_sharing()
    }

    /// It asks for `public`, and stale answers only within a week.
    fn suit_cloud_cdn(&mut self) {
        if self.is_for_shared_caches() {
            self.said.public = true;
        }
        if let Some(seconds) = &mut self.said.stale_while_revalidate {
            *seconds = CLOUD_CDN_STALE.min(*seconds);
        }
    }

    /// It answers whole requests with a stored 206, takes `max-age=0` as fresh for up to a second,
    /// and asks again each time where there is no Date.
    fn suit_envoy_cache(&mut self, trace: &mut Trace) {
        if self.answer.status() == Some(206) {
            trace.note("hints", || {
                "Envoy's cache would answer whole requests with this part".into()
            });
            self.said.make_no_store();
            return;
        }
        if !self.is_for_shared_caches() {
            return;
        }
        let lifetime = self.said.s_maxage.or(self.said.max_age);
        if lifetime.or(self.origin.expires) == Some(0) {
            self.said.no_cache = Scope::Whole;
        }
        self.set_date = !self.answer.headers.has("date");
    }

    fn into_edits(mut self, wish: Option<&Wish>) -> Vec<Edit> {
        let mut edits = Vec::new();
        if !self.touched {
            return edits;
        }
        let reading = &self.origin.reading;
        if reading.doubtful || self.said != reading.directives {
            self.take_over_expires();
            edits.push(set("cache-control", self.said.to_string()));
            edits.extend(self.remove("expires"));
        }
        if wish.is_some_and(|wish| wish.force) && !self.said.forbids_reuse() {
            edits.extend(self.remove("pragma"));
        }
        if self.strip_cookies {
            edits.extend(self.remove("set-cookie"));
        }
        if self.set_date {
            edits.push(set("date", field::print_http_date(self.now)));
        }
        edits.extend(self.targeted_edits(wish));
        edits
    }

    /// A cache of HTTP/1.0 reads Expires and no Cache-Control: where that field is rewritten, the
    /// lifetime moves into it.
    fn take_over_expires(&mut self) {
        if self.said.max_age.is_none() && !self.said.no_store {
            self.said.max_age = self.origin.expires;
        }
    }

    fn targeted_edits(&self, wish: Option<&Wish>) -> Vec<Edit> {
        let present = targeted::present(self.answer);
        if self.said.forbids_sharing() {
            return present.into_iter().map(Edit::Remove).collect();
        }
        let own = self.targeted.as_ref().map(|(name, _)| name);
        let mut edits: Vec<_> = present
            .iter()
            .filter(|name| own != Some(*name))
            .filter_map(|name| self.targeted_edit(name, wish?))
            .collect();
        if let Some((name, value)) = &self.targeted {
            let mut held = self.answer.headers.all(name);
            if held.next() != Some(value.as_bytes()) || held.next().is_some() {
                edits.push(set(name, value.clone()));
            }
        }
        edits
    }

    /// What becomes of one of the origin's targeted fields.
    fn targeted_edit(&self, name: &str, wish: &Wish) -> Option<Edit> {
        match wish.mode {
            Mode::Off | Mode::Respect | Mode::Default => None,
            Mode::Cap => targeted::cap(self.answer, name, wish.for_shared()?),
            Mode::Override if wish.force || !targeted::forbids(self.answer, name) => {
                Some(Edit::Remove(name.to_owned()))
            }
            Mode::Override => None,
        }
    }

    fn remove(&self, name: &str) -> Option<Edit> {
        let there = self.answer.headers.has(name);
        there.then(|| Edit::Remove(name.to_owned()))
    }
}

fn set(name: &str, value: String) -> Edit {
    Edit::Set(name.to_owned(), value.into_bytes())
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
            base: Wish {
                mode: Mode::Default,
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
            base: Wish {
                mode: Mode::Respect,
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
        rule.base.stale_while_revalidate = Some(60);
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
