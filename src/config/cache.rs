//! A route's `cache`: raw form and compilation.

mod advice;
mod raw;

pub use raw::{
    RawCache, RawCase, RawEdge, RawMode, RawNoVarySearch, RawProfile, RawSearchParams, RawStatuses,
    RawStrength, RawTags, RawValidation,
};

use sfv::TokenRef;

use super::problem::{Place, Problems, Warnings, did_you_mean};
use super::types::Span;
use crate::hints::{
    Case, Keep, MediaRange, Mode, Rule, Statuses, Tags, Template, Validation, Wish, field, targeted,
};
use raw::WishKeys;

/// The longest lifetime that a policy may ask for: 366 days, as long as Cloud CDN keeps anything.
pub const LONGEST: Span = Span(31_622_400);

/// The bytes of an answer that are held for its entity tag where the policy does not say.
const HELD_BYTES: u64 = 262_144;
/// The most that a policy may ask for: a Wasm VM never gives memory back.
const MOST_HELD_BYTES: u64 = 4_194_304;

/// What the compilation of a route's `cache` must know of the route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The route is `access: public`.
    pub public: bool,
    /// The service is told who asks, by the token or by claims of it.
    pub told: bool,
    /// Not everybody with a good token may call.
    pub choosy: bool,
    /// The names in its path template.
    pub parameters: &'a [String],
    /// The request fields that its parameters stand in, in lower case.
    pub fields: &'a [String],
}

impl RawCache {
    /// Checks the form and compiles it; the result is harmless where there were problems.
    pub fn compile(
        &self,
        at: &Place,
        around: Around<'_>,
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) -> Rule {
        let base = self.wish().compile(at, problems);
        self.refuse_contradictions(at, problems);
        self.refuse_idle_edge(at, around, problems);
        let mut cases = compile_cases(&self.when, &at.key("when"), problems);
        cases.extend(self.status_cases(&base, &at.key("statusTtl"), problems));
        let rule = Rule {
            shared: self.shared,
            profile: self.profile.into(),
            edge: self.edge.into(),
            base,
            cases,
            vary: vary(&self.vary, &at.key("vary"), problems),
            targeted: self.targeted_field(&at.key("targeted"), problems),
            strip_set_cookie: self.strip_set_cookie,
            no_vary_search: self.no_vary_search(&at.key("noVarySearch"), problems),
            tags: self.tags(&at.key("tags"), around.parameters, problems),
            accept_encoding: self.codings(&at.key("acceptEncoding"), problems),
            validation: self.validation(&at.key("validation"), problems),
            cache_status: self.cache_status(&at.key("cacheStatus"), problems),
        };
        if problems.is_empty() {
            advice::give(self, &rule, at, around, warnings);
        }
        rule
    }

    fn refuse_contradictions(&self, at: &Place, problems: &mut Problems) {
        if self.no_store && self.shared {
            problems.add(
                &at.key("shared"),
                "has no meaning beside `noStore: true`; drop one of the two",
            );
        }
        if self.private && self.shared {
            problems.add(
                &at.key("shared"),
                "contradicts `private: true`; keep `shared` only if every caller may see the \
                 answers of all others",
            );
        }
        if self.profile == RawProfile::Browser {
            self.refuse_beside_browser(at, problems);
        }
    }

    fn refuse_idle_edge(&self, at: &Place, around: Around<'_>, problems: &mut Problems) {
        if self.edge == RawEdge::Bypass {
            return;
        }
        for (there, why) in [
            (around.public, "a public route knows no caller"),
            (
                self.shared,
                "`shared: true` keeps one answer for all of them",
            ),
            (
                self.private,
                "`private: true` keeps answers out of every cache but the client's",
            ),
            (
                self.no_store,
                "`noStore: true` keeps answers out of every cache",
            ),
        ] {
            if there {
                let message = format!(
                    "`perUser` keeps answers for each caller, but {why}; drop one of the two"
                );
                problems.add(&at.key("edge"), message);
            }
        }
    }

    fn refuse_beside_browser(&self, at: &Place, problems: &mut Problems) {
        let for_shared = [
            ("shared", self.shared),
            ("sharedTtl", self.shared_ttl.is_some()),
            ("targeted", self.targeted.is_some()),
            ("stripSetCookie", self.strip_set_cookie),
        ];
        for (key, there) in for_shared {
            if there {
                problems.add(
                    &at.key(key),
                    "is about shared caches, and `profile: browser` keeps every answer out of \
                     them; drop it, or name another profile",
                );
            }
        }
    }

    fn status_cases(&self, base: &Wish, at: &Place, problems: &mut Problems) -> Vec<Case> {
        let mut cases = Vec::new();
        for (text, span) in &self.status_ttl {
            let place = at.key(text);
            let Some(statuses) = statuses(text, &place, problems) else {
                continue;
            };
            if *span > Span(0) {
                refuse_personal_status(statuses, &place, problems);
            }
            let mode = match base.mode {
                Mode::Off | Mode::Respect => Mode::Default,
                mode => mode,
            };
            let wish = Wish {
                mode,
                keep: base.keep,
                ttl: seconds(Some(*span), &place, problems),
                force: base.force,
                ..Wish::default()
            };
            cases.push((
                statuses,
                Case {
                    statuses: vec![statuses],
                    wish,
                    ..Case::default()
                },
            ));
        }
        // A single status before the class that holds it, whatever their order as text.
        cases.sort_by_key(|(statuses, _)| matches!(statuses, Statuses::Class(_)));
        cases.into_iter().map(|(_, case)| case).collect()
    }

    fn targeted_field(&self, at: &Place, problems: &mut Problems) -> Option<String> {
        let name = self.targeted.as_ref()?.to_ascii_lowercase();
        if !field::is_token(name.as_bytes()) || !targeted::is_targeted(&name) {
            problems.add(
                at,
                format!(
                    "`{name}` is no targeted field (RFC 9213); write one that ends in \
                     `-Cache-Control`, such as `CDN-Cache-Control`"
                ),
            );
        }
        if !matches!(self.profile, RawProfile::Generic) {
            problems.add(
                at,
                "is read by no cache of this profile; use it with `profile: generic`",
            );
        }
        Some(name)
    }

    fn no_vary_search(&self, at: &Place, problems: &mut Problems) -> Option<String> {
        let raw = self.no_vary_search.as_ref()?;
        let value = raw.print();
        if value.is_none() {
            problems.add(
                at,
                "says nothing: write `keyOrder: true`, or `params: true` or a list of names in \
                 printable ASCII; `except` needs `params: true`",
            );
        }
        value
    }
}

impl RawCache {
    fn tags(&self, at: &Place, known: &[String], problems: &mut Problems) -> Tags {
        let Some(raw) = &self.tags else {
            return Tags::default();
        };
        let mut compile = |key: &str, texts: &[String]| {
            let at = at.key(key);
            let texts = texts.iter().enumerate();
            texts
                .filter_map(|(index, text)| template(text, &at.index(index), known, problems))
                .collect()
        };
        Tags {
            surrogate_key: compile("surrogateKey", &raw.surrogate_key),
            cache_tag: compile("cacheTag", &raw.cache_tag),
            cache_groups: compile("cacheGroups", &raw.cache_groups),
        }
    }

    fn codings(&self, at: &Place, problems: &mut Problems) -> Vec<String> {
        let mut codings = Vec::new();
        for (index, text) in self.accept_encoding.iter().enumerate() {
            let coding = text.to_ascii_lowercase();
            let plain = matches!(coding.as_str(), "identity" | "*");
            if plain || !field::is_token(coding.as_bytes()) || codings.contains(&coding) {
                problems.add(
                    &at.index(index),
                    format!(
                        "`{text}` is no content coding, or named before; write each such as \
                         `gzip` once, without `identity` and `*`"
                    ),
                );
            }
            codings.push(coding);
        }
        codings
    }

    fn validation(&self, at: &Place, problems: &mut Problems) -> Option<Validation> {
        let raw = self.validation.as_ref()?;
        let max_bytes = raw.max_bytes.unwrap_or(HELD_BYTES);
        if raw.max_bytes.is_some() && raw.etag.is_none() {
            problems.add(
                &at.key("maxBytes"),
                "limits what is held for `etag`, which is not asked for; drop it",
            );
        }
        if !(1..=MOST_HELD_BYTES).contains(&max_bytes) {
            problems.add(
                &at.key("maxBytes"),
                format!("must be from 1 to {MOST_HELD_BYTES} bytes; write such a number"),
            );
        }
        Some(Validation {
            etag: raw.etag.map(Into::into),
            max_bytes,
        })
    }

    fn cache_status(&self, at: &Place, problems: &mut Problems) -> Option<String> {
        let name = self.cache_status.as_ref()?;
        if TokenRef::from_str(name).is_err() {
            problems.add(
                at,
                format!("`{name}` is no token (RFC 9651 §3.3.4); write a name such as `edge`"),
            );
        }
        Some(name.clone())
    }
}

fn template(text: &str, at: &Place, known: &[String], problems: &mut Problems) -> Option<Template> {
    let Some(template) = Template::parse(text) else {
        problems.add(
            at,
            format!(
                "`{text}` is no tag; write printable ASCII without space, comma, quote or \
                 backslash, and path parameters in braces: `product-{{id}}`"
            ),
        );
        return None;
    };
    for name in template.parameters() {
        if !known.iter().any(|held| held == name) {
            let near = did_you_mean(name, known.iter().map(String::as_str));
            problems.add(
                at,
                format!("the route's path has no `{{{name}}}`{near}; write a name that it has"),
            );
        }
    }
    Some(template)
}

fn compile_cases(raw: &[RawCase], at: &Place, problems: &mut Problems) -> Vec<Case> {
    let compile = |(index, case): (usize, &RawCase)| case.compile(&at.index(index), problems);
    raw.iter().enumerate().map(compile).collect()
}

impl RawCase {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Case {
        if self.statuses.is_empty() && self.content_types.is_empty() && self.methods.is_empty() {
            problems.add(
                at,
                "holds for every answer; name `statuses`, `contentTypes` or `methods`, or write \
                 its keys one level up",
            );
        }
        let wish = self.wish().compile(at, problems);
        let case = Case {
            statuses: self.statuses(&at.key("statuses"), problems),
            content_types: self.content_types(&at.key("contentTypes"), problems),
            methods: self.methods(&at.key("methods"), problems),
            wish,
        };
        if case.wish.ttl.is_some_and(|seconds| seconds > 0) {
            for (index, statuses) in case.statuses.iter().enumerate() {
                refuse_personal_status(*statuses, &at.key("statuses").index(index), problems);
            }
            self.refuse_lifetimes_of_changes(at, problems);
        }
        case
    }

    fn statuses(&self, at: &Place, problems: &mut Problems) -> Vec<Statuses> {
        let each = self.statuses.iter().enumerate();
        each.filter_map(|(index, raw)| statuses(&raw.to_string(), &at.index(index), problems))
            .collect()
    }

    fn content_types(&self, at: &Place, problems: &mut Problems) -> Vec<MediaRange> {
        let mut ranges = Vec::new();
        for (index, text) in self.content_types.iter().enumerate() {
            match MediaRange::parse(text) {
                Some(range) => ranges.push(range),
                None => problems.add(
                    &at.index(index),
                    format!(
                        "`{text}` is no media range; write `text/html`, `image/*` or \
                         `application/*+json`, without parameters"
                    ),
                ),
            }
        }
        ranges
    }

    fn methods(&self, at: &Place, problems: &mut Problems) -> Vec<String> {
        for (index, method) in self.methods.iter().enumerate() {
            let upper = method.bytes().all(|byte| !byte.is_ascii_lowercase());
            if !upper || !field::is_token(method.as_bytes()) {
                problems.add(
                    &at.index(index),
                    format!("`{method}` is no method; write one such as `GET`, in capitals"),
                );
            }
        }
        self.methods.clone()
    }

    fn refuse_lifetimes_of_changes(&self, at: &Place, problems: &mut Problems) {
        for (index, method) in self.methods.iter().enumerate() {
            if !matches!(method.as_str(), "GET" | "HEAD") {
                problems.add(
                    &at.key("methods").index(index),
                    format!("caches keep no answers to {method}; a lifetime needs GET or HEAD"),
                );
            }
        }
    }
}

impl WishKeys {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Wish {
        let has_ttl = self.ttl.or(self.browser_ttl).is_some();
        let mode = match self.mode {
            Some(mode) => mode.into(),
            None if has_ttl => Mode::Default,
            None => Mode::Respect,
        };
        let found = problems.0.len();
        self.refuse_contradictions(mode, at, problems);
        if problems.0.len() == found {
            self.refuse_without_ttl(mode, at, problems);
        }
        let mut seconds = |key: &str, span: Option<Span>| seconds(span, &at.key(key), problems);
        let both = seconds("ttl", self.ttl);
        Wish {
            mode,
            keep: self.keep(),
            ttl: seconds("browserTtl", self.browser_ttl).or(both),
            shared_ttl: seconds("sharedTtl", self.shared_ttl)
                .or_else(|| both.filter(|_| self.browser_ttl.is_some())),
            stale_while_revalidate: seconds("staleWhileRevalidate", self.stale_while_revalidate),
            stale_if_error: seconds("staleIfError", self.stale_if_error),
            immutable: self.immutable,
            must_revalidate: self.must_revalidate,
            force: self.force,
        }
    }

    fn keep(&self) -> Keep {
        match (self.no_store, self.private) {
            (true, _) => Keep::Nobody,
            (false, true) => Keep::Private,
            (false, false) => Keep::Any,
        }
    }

    /// The keys that say how long, and whether they are there.
    fn lifetimes(&self) -> [(&'static str, bool); 6] {
        [
            ("ttl", self.ttl.is_some()),
            ("browserTtl", self.browser_ttl.is_some()),
            ("sharedTtl", self.shared_ttl.is_some()),
            (
                "staleWhileRevalidate",
                self.stale_while_revalidate.is_some(),
            ),
            ("staleIfError", self.stale_if_error.is_some()),
            ("immutable", self.immutable),
        ]
    }

    fn refuse_contradictions(&self, mode: Mode, at: &Place, problems: &mut Problems) {
        let mut refuse = |keys: &[(&'static str, bool)], why: &str| {
            for (key, _) in keys.iter().filter(|(_, there)| *there) {
                problems.add(&at.key(key), why);
            }
        };
        let others = [
            ("private", self.private),
            ("mustRevalidate", self.must_revalidate),
        ];
        if self.no_store {
            let why = "has no meaning beside `noStore: true`; drop one of the two";
            refuse(&self.lifetimes(), why);
            refuse(&others, why);
        }
        if mode == Mode::Off {
            let why = "has no effect under `mode: off`; drop one of the two";
            refuse(&self.lifetimes(), why);
            refuse(&others, why);
            refuse(&[("noStore", self.no_store)], why);
        }
        if mode == Mode::Respect && !self.no_store {
            let why = "has no effect under `mode: respect`, which lets the origin's lifetimes \
                       stand; write `mode: default`, `cap` or `override`";
            refuse(&self.lifetimes(), why);
        }
        if self.private {
            let why = "is about shared caches, and `private: true` keeps the answer out of them; \
                       drop one of the two";
            refuse(&[("sharedTtl", self.shared_ttl.is_some())], why);
        }
        if self.must_revalidate {
            let why = "lets stale answers be used, and `mustRevalidate: true` forbids it; drop \
                       one of the two";
            let stale = [
                (
                    "staleWhileRevalidate",
                    self.stale_while_revalidate.is_some(),
                ),
                ("staleIfError", self.stale_if_error.is_some()),
            ];
            refuse(&stale, why);
        }
        if mode == Mode::Cap {
            let why = "makes an answer live longer, and `mode: cap` only shortens; drop it";
            refuse(&[("immutable", self.immutable)], why);
        }
        if mode != Mode::Override {
            let why = "goes over the origin's limits, which only `mode: override` does; write \
                       that too, or drop it";
            refuse(&[("force", self.force)], why);
        }
        if self.ttl.is_some() && self.browser_ttl.is_some() && self.shared_ttl.is_some() {
            refuse(
                &[("ttl", true)],
                "is not used beside both `browserTtl` and `sharedTtl`; drop it",
            );
        }
    }

    fn refuse_without_ttl(&self, mode: Mode, at: &Place, problems: &mut Problems) {
        if self.ttl.or(self.browser_ttl).is_some() || mode == Mode::Off || self.no_store {
            return;
        }
        if self.mode.is_some() && mode != Mode::Respect {
            problems.add(
                &at.key("mode"),
                "needs `ttl` beside it: the time it is about",
            );
        }
        if self.shared_ttl.is_some() {
            problems.add(
                &at.key("sharedTtl"),
                "needs `ttl` or `browserTtl` beside it: without one, browsers guess",
            );
        }
    }
}

/// 401, 403 and 407 are about whoever asked, so an answer kept for one caller misleads the next.
fn refuse_personal_status(statuses: Statuses, at: &Place, problems: &mut Problems) {
    if let Statuses::One(status @ (401 | 403 | 407)) = statuses {
        problems.add(
            at,
            format!("{status} is about whoever asked and must not be kept for others; drop it"),
        );
    }
}

fn statuses(text: &str, at: &Place, problems: &mut Problems) -> Option<Statuses> {
    let found = Statuses::parse(text);
    match found {
        None => problems.add(
            at,
            format!("`{text}` is no final status; write one such as 404, or a class such as `4xx`"),
        ),
        Some(Statuses::One(304)) => {
            problems.add(
                at,
                "304 renews the answer that was kept, under the rule for 200; name 200 instead",
            );
            return None;
        }
        Some(_) => {}
    }
    found
}

fn seconds(span: Option<Span>, at: &Place, problems: &mut Problems) -> Option<u32> {
    let span = span?;
    if span > LONGEST {
        problems.add(
            at,
            format!("`{span}` is longer than a year; write `366d` or less"),
        );
    }
    Some(u32::try_from(span.0.min(LONGEST.0)).unwrap_or_default())
}

fn vary(names: &[String], at: &Place, problems: &mut Problems) -> Vec<String> {
    let mut compiled = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        if name == "*" {
            problems.add(
                &at.index(index),
                "`*` keeps every cache from using the answer again; write `noStore: true` if that \
                 is meant, or name the fields",
            );
        } else if !field::is_token(name.as_bytes()) {
            problems.add(
                &at.index(index),
                format!(
                    "`{name}` is no field name (RFC 9110 §5.1); write one such as \
                     `accept-encoding`"
                ),
            );
        } else if compiled.contains(&lower) {
            problems.add(
                &at.index(index),
                format!("`{name}` is named twice; drop one"),
            );
        } else {
            compiled.push(lower);
        }
    }
    compiled
}

#[cfg(test)]
mod tests;
