//! What a policy may say, but should not without a second thought: every combination that could
//! show one caller's answer to another, or that the cache in front will not honour.

use super::{Around, RawCache};
use crate::config::problem::{Place, Warnings};
use crate::hints::{Edge, Keep, Mode, Profile, Rule, Statuses, Wish, decide::CLOUD_CDN_STALE};

/// The request fields by which Cloud CDN tells answers apart; it keeps no answer that varies by
/// another.
const CLOUD_CDN_VARY: [&str; 10] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "x-goog-allowed-resources",
    "x-origin",
];

const CLOUD_CDN_STATUSES: [u16; 16] = [
    200, 203, 204, 206, 300, 301, 302, 307, 308, 404, 405, 410, 414, 421, 451, 501,
];

const ENVOY_CACHE_STATUSES: [u16; 13] = [
    200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501,
];

/// Says what is dangerous or idle in a rule that compiled.
pub fn give(raw: &RawCache, rule: &Rule, at: &Place, around: Around<'_>, warnings: &mut Warnings) {
    sharing(rule, at, around, warnings);
    stripping(rule, at, warnings);
    keeping_apart(rule, at, warnings);
    opening(raw, rule, at, warnings);
    for (place, wish) in wishes(raw, rule, at) {
        forcing(wish, &place, warnings);
        lifetimes(rule.profile, wish, &place, warnings);
    }
    kept_failures(raw, rule, at, warnings);
    varying(rule, at, warnings);
    depending(rule, at, around, warnings);
    searching(raw, at, warnings);
}

/// The rule's wishes with the places where they are written; `statusTtl` has none of its own.
fn wishes<'a>(raw: &RawCache, rule: &'a Rule, at: &Place) -> Vec<(Place, &'a Wish)> {
    let cases = rule.cases.iter().take(raw.when.len()).enumerate();
    let cases = cases.map(|(index, case)| (at.key("when").index(index), &case.wish));
    std::iter::once((at.clone(), &rule.base))
        .chain(cases)
        .collect()
}

/// `shared` is a word of its own, so by itself nothing is said of it; only where what stands beside
/// it does not fit an answer that is the same for all.
fn sharing(rule: &Rule, at: &Place, around: Around<'_>, warnings: &mut Warnings) {
    if !rule.shared {
        return;
    }
    for (leaks, message) in [
        (
            around.public,
            "answers to requests that carry credentials may be shared too; on a public route this \
             is right only if the service never looks at them",
        ),
        (
            around.told,
            "the service is told who asks, by the token or by claims, so its answer may be one \
             caller's alone and reach the others; right only if it is the same for all. With \
             `forward: { token: strip }` and no claims handed on it has to be",
        ),
        (
            around.choosy,
            "a shared cache asks for no claims: callers whom `claims` or `maxAge` refuse get what \
             it keeps, where it stands before the token check",
        ),
        (
            rule.profile == Profile::CloudCdn,
            "Cloud CDN stands before the token check: whoever asks gets what it keeps, without a \
             token; right only if the answer may be seen by everybody",
        ),
    ] {
        if leaks {
            warnings.add(&at.key("shared"), message);
        }
    }
}

fn stripping(rule: &Rule, at: &Place, warnings: &mut Warnings) {
    if rule.strip_set_cookie {
        warnings.add(
            &at.key("stripSetCookie"),
            "what the service wrote beside the cookie for one caller, such as a form's token, is \
             shared all the same",
        );
    }
}

fn keeping_apart(rule: &Rule, at: &Place, warnings: &mut Warnings) {
    if rule.edge == Edge::PerUser {
        warnings.add(
            &at.key("edge"),
            "Envoy's cache keeps each caller's answers, for each query, in memory without a limit; \
             right only for few callers, or short lives of Envoy",
        );
    }
}

/// A case takes nothing over, so one without a word of its own is open where its route is not.
fn opening(raw: &RawCache, rule: &Rule, at: &Place, warnings: &mut Warnings) {
    if rule.base.keep == Keep::Any {
        return;
    }
    for (index, case) in rule.cases.iter().take(raw.when.len()).enumerate() {
        if case.wish.keep == Keep::Any {
            warnings.add(
                &at.key("when").index(index),
                "is open to shared caches where the route is not; write `private: true` or \
                 `noStore: true` here too, if that is meant",
            );
        }
    }
}

fn forcing(wish: &Wish, at: &Place, warnings: &mut Warnings) {
    if wish.force {
        warnings.add(
            &at.key("force"),
            "goes over `private`, `no-store` and `no-cache` of the service: what it meant for one \
             caller may reach another",
        );
    }
}

fn lifetimes(profile: Profile, wish: &Wish, at: &Place, warnings: &mut Warnings) {
    if profile != Profile::CloudCdn || wish.keep != Keep::Any {
        return;
    }
    let apart = wish.shared_ttl.is_some() && wish.shared_ttl != wish.ttl;
    if apart && wish.stale_while_revalidate.is_some() {
        warnings.add(
            &at.key("staleWhileRevalidate"),
            "Cloud CDN serves no answer stale that has a lifetime for shared caches apart; drop \
             one of the two",
        );
    }
    if wish.stale_while_revalidate > Some(CLOUD_CDN_STALE) {
        warnings.add(
            &at.key("staleWhileRevalidate"),
            "Cloud CDN serves stale answers for `7d` at most, and so this is cut to that",
        );
    }
    if wish.stale_if_error.is_some() {
        warnings.add(
            &at.key("staleIfError"),
            "Cloud CDN does not know it; only caches behind it do",
        );
    }
}

fn kept_failures(raw: &RawCache, rule: &Rule, at: &Place, warnings: &mut Warnings) {
    for (index, case) in rule.cases.iter().take(raw.when.len()).enumerate() {
        let lives = case.wish.ttl.is_some_and(|seconds| seconds > 0);
        if lives && matches!(case.wish.mode, Mode::Default | Mode::Override) {
            let place = at.key("when").index(index).key("statuses");
            for statuses in &case.statuses {
                kept_status(*statuses, rule.profile, &place, warnings);
            }
        }
    }
    for (text, span) in &raw.status_ttl {
        if let Some(statuses) = Statuses::parse(text).filter(|_| span.0 > 0) {
            let place = at.key("statusTtl").key(text);
            kept_status(statuses, rule.profile, &place, warnings);
        }
    }
}

fn kept_status(statuses: Statuses, profile: Profile, at: &Place, warnings: &mut Warnings) {
    if matches!(statuses, Statuses::Class(5) | Statuses::One(500..=599)) {
        warnings.add(
            at,
            "a kept failure outlives its cause: callers see it until this time is over",
        );
    }
    let Statuses::One(status) = statuses else {
        return;
    };
    let (name, kept) = match profile {
        Profile::CloudCdn => ("Cloud CDN", &CLOUD_CDN_STATUSES[..]),
        Profile::EnvoyCache => ("Envoy's cache", &ENVOY_CACHE_STATUSES[..]),
        Profile::Generic | Profile::Browser => return,
    };
    if !kept.contains(&status) {
        warnings.add(
            at,
            format!("{name} never keeps {status}; only caches behind it do"),
        );
    }
}

fn varying(rule: &Rule, at: &Place, warnings: &mut Warnings) {
    for (index, name) in rule.vary.iter().enumerate() {
        let message = match rule.profile {
            Profile::CloudCdn if !CLOUD_CDN_VARY.contains(&name.as_str()) => {
                "Cloud CDN keeps no answer that varies by this field"
            }
            Profile::EnvoyCache => {
                "Envoy's cache_v2 keeps no answer with `Vary`, and its older cache fails on one \
                 once `allowed_vary_headers` is set"
            }
            _ => continue,
        };
        warnings.add(&at.key("vary").index(index), message);
    }
}

/// A cache gives what it keeps whatever a field says that it was not told of.
fn depending(rule: &Rule, at: &Place, around: Around<'_>, warnings: &mut Warnings) {
    let cases = rule.cases.iter().map(|case| &case.wish);
    let mut wishes = std::iter::once(&rule.base).chain(cases);
    let for_all = (around.public || rule.shared) && rule.profile != Profile::Browser;
    if !for_all || !wishes.any(|wish| wish.keep == Keep::Any) {
        return;
    }
    for name in around.fields {
        if !rule.vary.contains(name) {
            warnings.add(
                &at.key("vary"),
                format!(
                    "does not name `{name}`, which holds a parameter of the route: unless the \
                     service does, the answer for one value is given for every other; add it"
                ),
            );
        }
    }
}

fn searching(raw: &RawCache, at: &Place, warnings: &mut Warnings) {
    let Some(search) = &raw.no_vary_search else {
        return;
    };
    let all = search.params == Some(super::RawSearchParams::All);
    if all && search.except.is_empty() {
        warnings.add(
            &at.key("noVarySearch").key("params"),
            "an answer kept for one query is given for every other; name those that matter in \
             `except`",
        );
    }
}
