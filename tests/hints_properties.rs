//! What holds for every rule, request and answer: a second round changes nothing, the output means
//! what was decided, and nothing that was forbidden is allowed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "hints/model.rs"]
mod model;

use forecourt::head::ResponseHead;
use forecourt::hints::{
    Asked, Case, Keep, MediaRange, Mode, Profile, Rule, Statuses, Tags, Template, Wish, directives,
};
use forecourt::time::UnixTime;
use forecourt::trace::Trace;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW: UnixTime = UnixTime(784_111_777);

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2_000,
        max_global_rejects: 100_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(9_111),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_second_round_changes_nothing(rule in rules(), asked in requests(), answer in answers()) {
        let after = decided(&rule, &asked, &answer);
        let again = rule.decide(&asked, &after, NOW, &mut Trace::off());
        prop_assert_eq!(again, vec![], "{:?}", after);
    }

    #[test]
    fn an_answer_that_needs_no_time_is_decided_alike_at_any(
        rule in rules(), asked in requests(), answer in answers(), now in any::<u64>()
    ) {
        prop_assume!(!rule.needs_time(&answer));
        let at_once = rule.decide(&asked, &answer, NOW, &mut Trace::off());
        let later = rule.decide(&asked, &answer, UnixTime(now), &mut Trace::off());
        prop_assert_eq!(at_once, later);
    }

    #[test]
    fn without_a_rule_credentials_and_cookies_nothing_changes(asked in requests(), answer in answers()) {
        prop_assume!(!asked.has_credentials() && !answer.headers.has("set-cookie"));
        let rule = Rule::default();
        prop_assert_eq!(rule.decide(&asked, &answer, NOW, &mut Trace::off()), vec![]);
        prop_assert_eq!(rule.wants_body(&asked, &answer), None);
        prop_assert_eq!(rule.not_modified(&asked, &answer), None);
    }

    #[test]
    fn what_was_written_reads_without_doubt(rule in rules(), asked in requests(), answer in answers()) {
        let after = decided(&rule, &asked, &answer);
        let read = |answer: &ResponseHead| directives::read(answer.headers.all("cache-control"));
        let before = model::field(&answer, "cache-control");
        if model::field(&after, "cache-control") != before {
            let reading = read(&after);
            prop_assert!(!reading.doubtful, "{after:?}");
            prop_assert_eq!(reading.directives.to_string(), model::field(&after, "cache-control"));
        }
    }

    #[test]
    fn credentials_are_never_shared_without_the_routes_word(
        rule in rules(), asked in requests(), answer in answers()
    ) {
        prop_assume!(asked.verified || asked.credentials);
        prop_assume!(!rule.shared || rule.wish(&asked, &answer).is_none());
        let after = decided(&rule, &asked, &answer);
        prop_assert!(!model::may_be_shared(&after), "{after:?}");
    }

    #[test]
    fn a_key_of_the_callers_own_opens_nothing_to_others(
        rule in rules(), asked in requests(), answer in answers()
    ) {
        prop_assume!(!rule.shared);
        let edge = Asked { verified: true, own_key: true, ..asked.clone() };
        let kept = decided(&rule, &edge, &answer);
        prop_assert!(!kept.headers.has("set-cookie") || !model::may_be_shared(&kept), "{kept:?}");
        let forced = rule.wish(&edge, &answer).is_some_and(|wish| wish.force);
        let limited = |answer, word| model::says(answer, "no-store") || model::says(answer, word);
        for word in ["no-store", "no-cache"] {
            prop_assert!(forced || !model::says(&answer, word) || limited(&kept, word), "{kept:?}");
        }
        // What leaves the instance before the cache is as private as without the cache.
        let plain = Asked { verified: true, own_key: false, ..asked };
        let told = decided(&rule, &plain, &kept);
        prop_assert!(!model::may_be_shared(&told), "{told:?}");
    }

    #[test]
    fn no_cookie_reaches_a_shared_cache(rule in rules(), asked in requests(), answer in answers()) {
        let after = decided(&rule, &asked, &answer);
        if after.headers.has("set-cookie") {
            prop_assert!(!model::may_be_shared(&after), "{after:?}");
        }
    }

    #[test]
    fn what_the_origin_forbade_stays_forbidden(rule in rules(), asked in requests(), answer in answers()) {
        let forced = rule.wish(&asked, &answer).is_some_and(|wish| wish.force);
        prop_assume!(!forced);
        let after = decided(&rule, &asked, &answer);
        for word in ["no-store", "no-transform"] {
            prop_assert!(!model::says(&answer, word) || model::says(&after, word), "{after:?}");
        }
        let limited = |answer, word| model::says(answer, "no-store") || model::says(answer, word);
        for word in ["private", "no-cache", "must-revalidate", "proxy-revalidate"] {
            prop_assert!(!model::says(&answer, word) || limited(&after, word), "{word}: {after:?}");
        }
        // Without a targeted field of its own nothing outranks what Cache-Control says.
        let was_targeted = model::targeted(&answer);
        if !was_targeted && rule.targeted.is_none() {
            let loosened = model::may_be_shared(&after) && !model::may_be_shared(&answer);
            prop_assert!(!loosened, "{after:?}");
        }
    }

    #[test]
    fn lifetimes_of_the_origin_never_grow_but_by_override(
        rule in rules(), asked in requests(), answer in answers()
    ) {
        let mode = rule.wish(&asked, &answer).map_or(Mode::Off, |wish| wish.mode);
        prop_assume!(mode != Mode::Override);
        let after = decided(&rule, &asked, &answer);
        for name in ["max-age", "s-maxage"] {
            let (Some(before), Some(now)) = (model::seconds(&answer, name), model::seconds(&after, name)) else {
                continue;
            };
            prop_assert!(now <= before, "{name}: {after:?}");
        }
    }

    #[test]
    fn a_cap_holds(rule in capping(), asked in requests(), answer in answers()) {
        let Some(wish) = rule.wish(&asked, &answer).cloned() else { return Ok(()) };
        prop_assume!(wish.mode == Mode::Cap && asked.is_retrieval());
        prop_assume!(!matches!(answer.status(), Some(401 | 403 | 407)));
        let after = decided(&rule, &asked, &answer);
        let limit = |name, limit: Option<u32>| {
            let limit = limit.map_or(u64::MAX, u64::from);
            model::seconds(&after, name).is_none_or(|held| held <= limit)
        };
        prop_assert!(limit("max-age", wish.ttl), "{after:?}");
        prop_assert!(limit("s-maxage", wish.for_shared()), "{after:?}");
    }

    #[test]
    fn vary_only_grows(rule in rules(), asked in requests(), answer in answers()) {
        let after = model::field(&decided(&rule, &asked, &answer), "vary").to_ascii_lowercase();
        for name in model::field(&answer, "vary").to_ascii_lowercase().split(',') {
            prop_assert!(after.contains(name.trim()), "{name}: {after}");
        }
    }

    #[test]
    fn any_bytes_are_taken(fields in vec((select(NAMES), vec(any::<u8>(), 0..40)), 0..8), rule in rules(), asked in requests()) {
        let fields = fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value));
        let status = (b":status".to_vec(), b"200".to_vec());
        let answer = ResponseHead {
            headers: forecourt::head::Headers::new(std::iter::once(status).chain(fields).collect()),
        };
        let after = decided(&rule, &asked, &answer);
        let again = rule.decide(&asked, &after, NOW, &mut Trace::off());
        prop_assert_eq!(again, vec![], "{:?}", after);
        if (asked.verified || asked.credentials) && !rule.shared {
            prop_assert!(!model::may_be_shared(&after), "{after:?}");
        }
    }
}

/// A property that never meets what it is about holds of anything. So of as many cases as each of
/// the above has, these counts must meet it.
#[test]
fn the_cases_meet_what_the_properties_are_about() {
    let mut runner = TestRunner::new(config());
    let cases = (rules(), requests(), answers());
    let mut met = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..config().cases {
        let (rule, asked, answer) = cases.new_tree(&mut runner).unwrap().current();
        for what in about(&rule, &asked, &answer) {
            *met.entry(what).or_default() += 1;
        }
        let rule = capping().new_tree(&mut runner).unwrap().current();
        let after = decided(&rule, &asked, &answer);
        let seconds = |answer| model::seconds(answer, "max-age");
        let capped = seconds(&after).is_some() && seconds(&after) < seconds(&answer);
        *met.entry("lifetime capped").or_default() += usize::from(capped);
    }
    for (what, least) in [
        ("changed", 500),
        ("doubtful", 50),
        ("credentials, sharable before", 200),
        ("cookie, sharable before", 30),
        ("cookie stripped", 5),
        ("forbidden, not forced", 200),
        ("forbidden, forced", 10),
        ("lifetime kept", 100),
        ("lifetime capped", 50),
        ("vary merged", 50),
        ("own key, kept at the edge", 20),
    ] {
        let found = met.get(what).copied().unwrap_or(0);
        assert!(found >= least, "{what}: {found} of {met:?}");
    }
}

/// Which of the properties the case is about.
fn about(rule: &Rule, asked: &Asked, answer: &ResponseHead) -> Vec<&'static str> {
    let after = decided(rule, asked, answer);
    let reading = directives::read(answer.headers.all("cache-control"));
    let wish = rule.wish(asked, answer);
    let forced = wish.is_some_and(|wish| wish.force);
    let (before, now) = (
        model::seconds(answer, "max-age"),
        model::seconds(&after, "max-age"),
    );
    let own_key = || {
        let edge = Asked {
            verified: true,
            own_key: true,
            ..asked.clone()
        };
        let kept = decided(rule, &edge, answer);
        !rule.shared && model::may_be_shared(&kept) && model::seconds(&kept, "max-age").is_some()
    };
    let cookie = answer.headers.has("set-cookie");
    let sharable = model::may_be_shared(answer);
    [
        ("changed", after != *answer),
        ("doubtful", reading.doubtful),
        (
            "credentials, sharable before",
            asked.has_credentials() && !rule.shared && sharable,
        ),
        ("cookie, sharable before", cookie && sharable),
        (
            "cookie stripped",
            cookie && !after.headers.has("set-cookie"),
        ),
        ("forbidden, not forced", !sharable && !forced),
        ("forbidden, forced", !sharable && forced),
        ("lifetime kept", before.is_some() && before == now),
        (
            "vary merged",
            answer.headers.has("vary")
                && model::field(&after, "vary") != model::field(answer, "vary"),
        ),
        ("own key, kept at the edge", own_key()),
    ]
    .into_iter()
    .filter_map(|(what, holds)| holds.then_some(what))
    .collect()
}

/// The fields that the hints read or write; `cache-status` apart, of which an unreadable one grows.
const NAMES: &[&str] = &[
    "cache-control",
    "expires",
    "date",
    "age",
    "vary",
    "pragma",
    "surrogate-control",
    "cdn-cache-control",
    "x-accel-expires",
    "edge-control",
    "set-cookie",
    "content-type",
    "surrogate-key",
    "cache-tag",
    "cache-groups",
    "no-vary-search",
];

fn decided(rule: &Rule, asked: &Asked, answer: &ResponseHead) -> ResponseHead {
    let mut after = answer.clone();
    let edits = rule.decide(asked, answer, NOW, &mut Trace::off());
    after.headers.apply(&edits);
    after
}

fn requests() -> impl Strategy<Value = Asked> {
    let method = select(&["GET", "GET", "GET", "HEAD", "POST", "DELETE"][..]);
    (
        any::<bool>(),
        any::<bool>(),
        method,
        option::of(any::<bool>()),
    )
        .prop_map(|(verified, credentials, method, from_cache)| Asked {
            verified,
            credentials,
            method: method.into(),
            parameters: vec![("id".to_owned(), b"a b".to_vec())],
            from_cache,
            ..Asked::default()
        })
}

fn answers() -> impl Strategy<Value = ResponseHead> {
    let status = select(
        &[
            "200", "200", "200", "206", "301", "304", "401", "403", "404", "500",
        ][..],
    );
    let field = prop_oneof![
        4 => cache_control().prop_map(|value| ("cache-control", value)),
        1 => select(DATES).prop_map(|value| ("expires", value.to_owned())),
        1 => select(DATES).prop_map(|value| ("date", value.to_owned())),
        1 => select(&["5", "x", "99999999999"][..]).prop_map(|value| ("age", value.to_owned())),
        1 => select(&["*", "accept", "Origin, accept", "a b"][..]).prop_map(|value| ("vary", value.to_owned())),
        1 => Just(("pragma", "no-cache".to_owned())),
        1 => cache_control().prop_map(|value| ("cdn-cache-control", value)),
        1 => cache_control().prop_map(|value| ("surrogate-control", value)),
        1 => Just(("set-cookie", "a=b".to_owned())),
        1 => select(&["text/html", "image/png", "x"][..]).prop_map(|value| ("content-type", value.to_owned())),
        1 => select(&["a b", "\"a\""][..]).prop_map(|value| ("cache-groups", value.to_owned())),
    ];
    (status, vec(field, 0..7)).prop_map(|(status, fields)| {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        model::answer(status, &fields)
    })
}

const DATES: &[&str] = &[
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:59:37 GMT",
    "Sun, 06 Nov 1994 08:39:37 GMT",
    "0",
    "",
];

fn cache_control() -> impl Strategy<Value = String> {
    let member = select(
        &[
            "public",
            "private",
            "Private",
            "private=\"x\"",
            "no-store",
            "no-cache",
            "no-cache=\"x\"",
            "max-age=0",
            "max-age=60",
            "max-age=600",
            "max-age=\"60\"",
            "max-age=x",
            "max-age",
            "max-age=99999999999",
            "s-maxage=0",
            "s-maxage=60",
            "s-maxage=900",
            "must-revalidate",
            "proxy-revalidate",
            "must-understand",
            "no-transform",
            "immutable",
            "stale-while-revalidate=60",
            "stale-if-error=900",
            "x",
            "y=z",
            "w=\"a b\"",
            "",
            "a b",
            "private; max-age=60",
            "max-age=60+30",
            "no-store foo",
            "\"",
        ][..],
    );
    vec(member, 0..5).prop_map(|members| members.join(", "))
}

fn rules() -> impl Strategy<Value = Rule> {
    let profile = select(
        &[
            Profile::Generic,
            Profile::Browser,
            Profile::CloudCdn,
            Profile::EnvoyCache,
        ][..],
    );
    let flags = any::<[bool; 3]>();
    let vary = subsequence(vec!["accept".to_owned(), "origin".to_owned()], 0..=2);
    let tags = prop_oneof![Just(vec![]), Just(vec![Template::parse("p-{id}").unwrap()])];
    (profile, wishes(), vec(cases(), 0..3), flags, vary, tags).prop_map(
        |(profile, base, cases, [shared, strip, more], vary, tags)| Rule {
            shared,
            profile,
            base,
            cases,
            vary,
            // The compilation refuses it for other profiles.
            targeted: (more && profile == Profile::Generic).then(|| "cdn-cache-control".to_owned()),
            strip_set_cookie: strip,
            no_vary_search: more.then(|| "key-order".to_owned()),
            tags: Tags {
                surrogate_key: tags.clone(),
                cache_tag: tags.clone(),
                cache_groups: tags,
            },
            cache_status: more.then(|| "edge".to_owned()),
            ..Rule::default()
        },
    )
}

/// Rules that cap whatever they cover.
fn capping() -> impl Strategy<Value = Rule> {
    let ttl = select(&[0, 30, 60, 300][..]);
    (rules(), ttl).prop_map(|(mut rule, ttl)| {
        let cases = rule.cases.iter_mut().map(|case| &mut case.wish);
        for wish in cases.chain([&mut rule.base]) {
            wish.mode = Mode::Cap;
            wish.ttl = Some(ttl);
            wish.immutable = false;
            wish.force = false;
        }
        rule
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let statuses = select(&["404", "5xx", "200", "4xx"][..]);
    let kind = select(&["text/html", "image/*"][..]);
    (option::of(statuses), option::of(kind), wishes()).prop_map(|(statuses, kind, wish)| Case {
        statuses: statuses.and_then(Statuses::parse).into_iter().collect(),
        content_types: kind.and_then(MediaRange::parse).into_iter().collect(),
        methods: Vec::new(),
        wish,
    })
}

/// Wishes as the policy's compilation lets them be: lifetimes only where the mode has a use for
/// them, `force` only with `override`.
fn wishes() -> impl Strategy<Value = Wish> {
    let mode = select(
        &[
            Mode::Off,
            Mode::Respect,
            Mode::Default,
            Mode::Cap,
            Mode::Override,
        ][..],
    );
    let keep = select(&[Keep::Any, Keep::Any, Keep::Private, Keep::Nobody][..]);
    let seconds = select(&[0, 30, 60, 300, 3_600, 31_622_400][..]);
    let times = (
        seconds.clone(),
        option::of(seconds.clone()),
        option::of(seconds.clone()),
        option::of(seconds),
    );
    (mode, keep, times, any::<[bool; 3]>()).prop_map(
        |(mode, keep, (ttl, shared_ttl, swr, sie), [immutable, must_revalidate, force])| {
            let lives = matches!(mode, Mode::Default | Mode::Cap | Mode::Override);
            let stale = lives && !must_revalidate;
            Wish {
                mode,
                keep,
                ttl: lives.then_some(ttl),
                shared_ttl: shared_ttl.filter(|_| lives && keep == Keep::Any),
                stale_while_revalidate: swr.filter(|_| stale),
                stale_if_error: sie.filter(|_| stale),
                immutable: immutable && lives && mode != Mode::Cap,
                must_revalidate,
                force: force && mode == Mode::Override,
            }
        },
    )
}
