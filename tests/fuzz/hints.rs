//! What must hold for any bytes in the fields that the hints read. The fuzz targets and the replay
//! of their corpus run the same checks; the lines of an input are the lines of a field.

use forecourt::head::{Edit, Headers, RequestHead, ResponseHead};
use forecourt::hints::{
    Asked, Conditions, Mark, MediaRange, Mode, Profile, Rule, Tags, Template, Validation, Wish,
    directives, encoding, field, origin::Origin, own_key, status, structured, targeted, vary,
};
use forecourt::time::UnixTime;
use forecourt::trace::Trace;
use sfv::FieldType;

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every check with the name of its target.
pub const ALL: &[(&str, Check)] = &[
    ("hints_accept_encoding", accept_encoding),
    ("hints_cache_control", cache_control),
    ("hints_cache_status", cache_status),
    ("hints_conditions", conditions),
    ("hints_decide", decide),
    ("hints_http_date", http_date),
    ("hints_mark", mark_of_a_request),
    ("hints_media_range", media_range),
    ("hints_origin", origin_fields),
    ("hints_own_key", own_key_of_a_path),
    ("hints_structured", structured_fields),
    ("hints_tags", tags),
    ("hints_targeted", targeted_fields),
    ("hints_vary", vary_field),
];

/// What was read prints to something that reads the same, without a doubt.
pub fn cache_control(data: &[u8]) {
    let first = directives::read(lines(data));
    let printed = first.directives.to_string();
    let again = directives::read(std::iter::once(printed.as_bytes()));
    assert!(!again.doubtful, "{printed}");
    assert_eq!(first.directives, again.directives, "{printed}");
}

/// A date prints to a date of the same instant.
pub fn http_date(data: &[u8]) {
    if let Some(time) = field::http_date(data) {
        let printed = field::print_http_date(time);
        assert_eq!(
            field::http_date(printed.as_bytes()),
            Some(time),
            "{printed}"
        );
    }
}

/// What parses prints to something that parses to the same.
pub fn structured_fields(data: &[u8]) {
    if let Some(list) = structured::list(lines(data)) {
        let printed = list.serialize().unwrap_or_default();
        assert_eq!(structured::list(once(&printed)), Some(list), "{printed}");
    }
    if let Some(dictionary) = structured::dictionary(lines(data)) {
        let printed = dictionary.serialize().unwrap_or_default();
        assert_eq!(
            structured::dictionary(once(&printed)),
            Some(dictionary),
            "{printed}"
        );
    }
    if let Some(item) = structured::item(lines(data)) {
        let printed = item.serialize();
        assert_eq!(structured::item(once(&printed)), Some(item), "{printed}");
    }
}

/// A cap holds once it is applied.
pub fn targeted_fields(data: &[u8]) {
    for name in [
        "cdn-cache-control",
        "surrogate-control",
        "edge-control",
        "x-accel-expires",
    ] {
        let mut answer = ResponseHead {
            headers: fields(name, data),
        };
        let forbids = targeted::forbids(&answer, name);
        if let Some(edit) = targeted::cap(&answer, name, 60) {
            answer.headers.apply(std::slice::from_ref(&edit));
            assert_eq!(targeted::cap(&answer, name, 60), None, "{answer:?}");
            let kept = matches!(edit, Edit::Set(..));
            assert!(
                !kept || !forbids || targeted::forbids(&answer, name),
                "{answer:?}"
            );
        }
    }
}

/// No name is lost, and a second round adds none.
pub fn vary_field(data: &[u8]) {
    let mut answer = ResponseHead {
        headers: fields("vary", data),
    };
    let before = field::tokens(answer.headers.all("vary")).unwrap_or_default();
    let wanted = ["accept".to_owned(), "origin".to_owned()];
    answer
        .headers
        .apply(vary::merge(&answer, &wanted).as_slice());
    assert_eq!(vary::merge(&answer, &wanted), None, "{answer:?}");
    let after = field::tokens(answer.headers.all("vary"));
    let lost = |after: Vec<String>| before.iter().any(|name| !after.contains(name));
    assert!(!after.is_some_and(lost), "{answer:?}");
}

/// What earlier hops said stays, as it was or written anew; our own member is the last, and one.
pub fn cache_status(data: &[u8]) {
    let mut answer = response(Vec::new());
    for line in lines(data) {
        let value = line.to_vec();
        answer
            .headers
            .apply(&[Edit::Add("cache-status".to_owned(), value)]);
    }
    let asked = Asked {
        method: b"GET".to_vec(),
        from_cache: Some(true),
        ..Asked::default()
    };
    let origin = Origin::read(&answer, UnixTime(0));
    let make = |answer: &ResponseHead| {
        status::edit("edge", &asked, answer, &origin, &origin.reading.directives)
    };
    let held = structured::list(answer.headers.all("cache-status"));
    let Some(edit) = make(&answer) else { return };
    answer.headers.apply(&[edit]);
    let Some(held) = held else {
        let last = answer.headers.all("cache-status").last();
        assert_eq!(last, Some(&b"edge;hit;detail=unsaid"[..]));
        return;
    };
    assert_eq!(make(&answer), None, "{answer:?}");
    let now = structured::list(answer.headers.all("cache-status")).unwrap_or_default();
    assert!(
        (held.len()..=held.len() + 1).contains(&now.len()),
        "{answer:?}"
    );
    let kept = now.len().saturating_sub(1);
    assert_eq!(now.get(..kept), held.get(..kept), "{answer:?}");
}

/// Lifetimes and ages are bounded, whatever the fields say.
pub fn origin_fields(data: &[u8]) {
    for name in ["age", "expires", "date", "pragma"] {
        let mut head = vec![(
            b"expires".to_vec(),
            b"Sun, 06 Nov 1994 08:59:37 GMT".to_vec(),
        )];
        head.retain(|(held, _)| held != name.as_bytes());
        head.extend(lines(data).map(|line| (name.as_bytes().to_vec(), line.to_vec())));
        let origin = Origin::read(&response(head), UnixTime(784_111_777));
        let most = directives::MAX_SECONDS;
        assert!(
            origin.age <= most && origin.lifetime() <= Some(most),
            "{origin:?}"
        );
    }
}

/// What is in `type/subtype` is in `type/*` and `*/*`.
pub fn media_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(range) = MediaRange::parse(text) else {
        return;
    };
    if let Some((kind, subtype)) = text.split_once('/')
        && !subtype.contains('*')
    {
        let wider = MediaRange::parse(&format!("{kind}/*"));
        let all = MediaRange::parse("*/*");
        for range in [Some(range), wider, all] {
            assert!(range.is_some_and(|range| range.contains(data)), "{text}");
        }
    }
}

/// A mark that reads is written as it came.
pub fn mark_of_a_request(data: &[u8]) {
    if let Some(mark) = Mark::parse(data) {
        assert_eq!(mark.print().as_bytes(), data);
    }
}

/// Whatever the path, a key that is put on comes off, and is seen while it is there.
pub fn own_key_of_a_path(data: &[u8]) {
    let head = RequestHead {
        headers: Headers::new(vec![
            (b":path".to_vec(), data.to_vec()),
            (b"authorization".to_vec(), data.to_vec()),
        ]),
    };
    let _ = own_key::unlock(&head);
    let key = own_key::of("issuer", "subject", [], &head.headers);
    let mut locked = head.clone();
    locked.headers.apply(&own_key::lock(&head, &key));
    assert!(own_key::is_claimed(&locked) && !locked.headers.has("authorization"));
    let Some(undone) = own_key::unlock(&locked) else {
        unreachable!("it was locked");
    };
    locked.headers.apply(&undone);
    assert_eq!(locked.target(), head.target());
    assert_eq!(locked.headers.single("authorization"), Ok(Some(data)));
}

/// One of few values comes out, or what went in.
pub fn accept_encoding(data: &[u8]) {
    let offered = ["br".to_owned(), "gzip".to_owned()];
    let mut head = RequestHead {
        headers: fields("accept-encoding", data),
    };
    if let Some(edit) = encoding::normalise(&head, &offered) {
        head.headers.apply(&[edit]);
        let values: Vec<_> = head.headers.all("accept-encoding").collect();
        let known: [&[u8]; 4] = [b"br, gzip", b"br", b"gzip", b"identity"];
        assert!(
            matches!(&*values, [value] if known.contains(value)),
            "{values:?}"
        );
        assert_eq!(encoding::normalise(&head, &offered), None, "{values:?}");
    }
}

/// A 304 names the tag that the client sent, or it sent `*`.
pub fn conditions(data: &[u8]) {
    let tag = b"\"tag\"";
    let asked = Asked {
        method: b"GET".to_vec(),
        conditions: Conditions::read(&RequestHead {
            headers: fields("if-none-match", data),
        }),
        ..Asked::default()
    };
    let answer = response(vec![(b"etag".to_vec(), tag.to_vec())]);
    if everything().not_modified(&asked, &answer).is_some() {
        let named = data.windows(tag.len()).any(|window| window == tag);
        assert!(
            named || data.trim_ascii() == b"*",
            "{}",
            data.escape_ascii()
        );
    }
    let answer = response(vec![(b"etag".to_vec(), data.to_vec())]);
    let _ = everything().not_modified(&asked, &answer);
}

/// What stands in the path stays one tag.
pub fn tags(data: &[u8]) {
    let Some(template) = Template::parse("p-{id}") else {
        unreachable!("the template is a good one");
    };
    let tags = Tags {
        surrogate_key: vec![template.clone()],
        cache_tag: vec![template.clone()],
        cache_groups: vec![template],
    };
    let path = [("id".to_owned(), data.to_vec())];
    for edit in tags.edits(&response(Vec::new()), &path) {
        let Edit::Set(_, value) = edit else {
            unreachable!("tags are set");
        };
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
        assert!(value.iter().all(plain), "{}", value.escape_ascii());
    }
}

/// Each line is `name: value`. Credentials are never shared, and a second round changes nothing.
pub fn decide(data: &[u8]) {
    let pairs = lines(data).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(at)?;
        let name = std::str::from_utf8(name).ok()?;
        // A Cache-Status that nobody can read grows with each round.
        (name != "cache-status").then(|| (name.into(), value[1..].trim_ascii().to_vec()))
    });
    let answer = response(pairs.collect());
    for profile in [
        Profile::Generic,
        Profile::Browser,
        Profile::CloudCdn,
        Profile::EnvoyCache,
    ] {
        for mode in [
            Mode::Off,
            Mode::Respect,
            Mode::Default,
            Mode::Cap,
            Mode::Override,
        ] {
            let mut rule = everything();
            rule.profile = profile;
            rule.base.mode = mode;
            check_decision(&rule, &answer);
        }
    }
}

fn check_decision(rule: &Rule, answer: &ResponseHead) {
    let asked = Asked {
        verified: true,
        method: b"GET".to_vec(),
        ..Asked::default()
    };
    let mut after = answer.clone();
    let decide = |answer: &ResponseHead| {
        rule.decide(&asked, answer, UnixTime(784_111_777), &mut Trace::off())
    };
    after.headers.apply(&decide(answer));
    assert_eq!(decide(&after), [], "{rule:?} {after:?}");
    let said = directives::read(after.headers.all("cache-control")).directives;
    assert!(said.forbids_sharing(), "{rule:?} {after:?}");
    assert_eq!(targeted::present(&after), [""; 0], "{rule:?} {after:?}");
}

/// A rule with a part in everything.
fn everything() -> Rule {
    Rule {
        base: Wish {
            mode: Mode::Default,
            ttl: Some(60),
            shared_ttl: Some(300),
            ..Wish::default()
        },
        vary: vec!["accept".to_owned()],
        validation: Some(Validation {
            etag: None,
            max_bytes: 1,
        }),
        ..Rule::default()
    }
}

fn response(mut fields: Vec<(Vec<u8>, Vec<u8>)>) -> ResponseHead {
    if !fields.iter().any(|(name, _)| name == b":status") {
        fields.push((b":status".to_vec(), b"200".to_vec()));
    }
    ResponseHead {
        headers: Headers::new(fields),
    }
}

fn fields(name: &str, data: &[u8]) -> Headers {
    let fields = lines(data).map(|line| (name.as_bytes().to_vec(), line.to_vec()));
    Headers::new(fields.collect())
}

fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}

fn once(text: &str) -> impl Iterator<Item = &[u8]> {
    (!text.is_empty()).then_some(text.as_bytes()).into_iter()
}
