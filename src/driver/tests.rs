//! The driver against a host that records every effect and fails on command.

use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde_json::json;

use super::*;
use crate::config;
use crate::head::Headers;
use crate::host::Tally;
use crate::reply::Code;
use crate::token::InWasm;

mod callers;
mod identity;
mod waiting;

/// What the host was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Now,
    RequestHeaders,
    EditRequest(Vec<Edit>),
    RequestBody(usize),
    ResponseHeaders,
    HasResponseHeader(String),
    EditResponse(Vec<Edit>),
    ResponseBody(usize),
    NotModified(Vec<String>),
    Resume,
    Reply(u16, Code),
    Publish(String, String),
    ClearRouteCache,
    Count(String, u32),
}

#[derive(Default)]
struct Recorder {
    calls: Vec<Call>,
    request: Headers,
    response: Headers,
    body: Vec<u8>,
    /// The call with this number, from zero, fails.
    failing: Option<usize>,
    tally: Tally,
}

impl Recorder {
    fn new(request: &[(&str, &str)]) -> Self {
        Self {
            request: headers(request),
            response: headers(&[(":status", "200"), ("cache-control", "public, s-maxage=60")]),
            ..Self::default()
        }
    }

    fn record(&mut self, call: Call) -> Result<(), HostError> {
        self.calls.push(call);
        if self.failing == Some(self.calls.len() - 1) {
            return Err(HostError);
        }
        Ok(())
    }

    fn replies(&self) -> Vec<Code> {
        let reply = |call: &Call| match call {
            Call::Reply(_, code) => Some(*code),
            _ => None,
        };
        self.calls.iter().filter_map(reply).collect()
    }
}

impl Host for Recorder {
    fn now(&mut self) -> Result<Duration, HostError> {
        self.record(Call::Now)
            .map(|()| Duration::from_secs(1_800_000_000))
    }

    fn request_headers(&mut self) -> Result<Headers, HostError> {
        self.record(Call::RequestHeaders)
            .map(|()| self.request.clone())
    }

    fn edit_request(&mut self, edits: &[Edit]) -> Result<(), HostError> {
        self.record(Call::EditRequest(edits.to_vec()))
    }

    fn request_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        self.record(Call::RequestBody(size))?;
        Ok(self.body.iter().copied().take(size).collect())
    }

    fn response_headers(&mut self) -> Result<Headers, HostError> {
        self.record(Call::ResponseHeaders)
            .map(|()| self.response.clone())
    }

    fn has_response_header(&mut self, name: &str) -> Result<bool, HostError> {
        self.record(Call::HasResponseHeader(name.into()))
            .map(|()| self.response.has(name))
    }

    fn edit_response(&mut self, edits: &[Edit]) -> Result<(), HostError> {
        self.record(Call::EditResponse(edits.to_vec()))
    }

    fn response_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        self.record(Call::ResponseBody(size))?;
        Ok(self.body.iter().copied().take(size).collect())
    }

    fn answered_from_cache(&mut self) -> bool {
        false
    }

    fn not_modified(&mut self, fields: &[(String, Vec<u8>)]) -> Result<(), HostError> {
        let names = fields.iter().map(|(name, _)| name.clone()).collect();
        self.record(Call::NotModified(names))
    }

    fn resume(&mut self) -> Result<(), HostError> {
        self.record(Call::Resume)
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), HostError> {
        self.record(Call::Reply(reply.status, reply.code))
    }

    fn publish(&mut self, name: &str, value: &str) {
        let _ = self.record(Call::Publish(name.into(), value.into()));
    }

    fn clear_route_cache(&mut self) -> Result<(), HostError> {
        self.record(Call::ClearRouteCache)
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn count(&mut self, counter: Counter, times: u32) {
        let _ = self.record(Call::Count(counter.name(), times));
    }
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    let bytes =
        |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Headers::new(fields.iter().map(bytes).collect())
}

fn stream(body_checks: &str) -> Stream {
    let policy = json!({
        "version": "forecourt/v1",
        "bodyChecks": body_checks,
        "routes": [
            { "match": { "path": "/open" }, "access": "public" },
            { "match": { "path": "/secret" }, "access": "public", "cache": { "noStore": true } },
            { "match": { "path": "/tagged" }, "access": "public",
              "cache": { "ttl": "1m", "validation": { "etag": "strong", "maxBytes": 16 } } },
            { "match": { "path": "/orders" }, "access": "public",
              "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 16, "schema": { "type": "object" } } } },
        ]
    });
    Stream::new(Rc::new(config::from_value(policy).unwrap()))
}

fn ask(stream: &mut Stream, host: &mut Recorder, ends: bool) -> Flow {
    let cache = Cache::new(0);
    let tools = Tools {
        keys: &Store::default(),
        crypto: &InWasm,
        cache: &cache,
    };
    stream.request_headers(host, &tools, ends)
}

const OPEN: &[(&str, &str)] = &[(":method", "GET"), (":path", "/open")];
const SECRET: &[(&str, &str)] = &[(":method", "GET"), (":path", "/secret")];
const ORDER: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/orders"),
    ("content-type", "application/json"),
];

#[test]
fn a_public_request_costs_one_host_call_and_so_does_its_answer() {
    let (mut stream, mut host) = (stream("hold"), Recorder::new(OPEN));
    assert_eq!(ask(&mut stream, &mut host, true), Flow::Continue);
    assert_eq!(host.calls, [Call::RequestHeaders]);
    host.calls.clear();
    assert_eq!(stream.response_headers(&mut host, false), Flow::Continue);
    let asked = Call::HasResponseHeader("set-cookie".into());
    assert_eq!(host.calls, [asked], "nothing to change");
}

#[test]
fn an_answer_that_sets_a_cookie_is_read_whole_even_on_a_public_route() {
    let (mut stream, mut host) = (stream("hold"), Recorder::new(OPEN));
    host.response = headers(&[(":status", "200"), ("set-cookie", "")]);
    ask(&mut stream, &mut host, true);
    host.calls.clear();
    assert_eq!(stream.response_headers(&mut host, false), Flow::Continue);
    let private = Edit::Set("cache-control".into(), b"private".to_vec());
    assert_eq!(
        host.calls,
        [
            Call::HasResponseHeader("set-cookie".into()),
            Call::ResponseHeaders,
            Call::EditResponse(vec![private]),
        ]
    );
}

#[test]
fn the_time_is_asked_for_where_an_answer_depends_on_it() {
    let expires = ("expires", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (response, path, timed) in [
        (vec![(":status", "200")], "/tagged", false),
        (vec![(":status", "200"), expires], "/tagged", true),
        (vec![(":status", "200"), expires], "/open", false),
    ] {
        let request = [(":method", "GET"), (":path", path)];
        let (mut stream, mut host) = (stream("hold"), Recorder::new(&request));
        host.response = headers(&response);
        ask(&mut stream, &mut host, true);
        host.calls.clear();
        stream.response_headers(&mut host, false);
        assert_eq!(
            host.calls.contains(&Call::Now),
            timed,
            "{path} {response:?}"
        );
    }
}

#[test]
fn what_was_gathered_is_told_once() {
    let mut host = Recorder::new(OPEN);
    for _ in 0..3 {
        ask(&mut stream("hold"), &mut host, true);
    }
    host.calls.clear();
    let tally = std::mem::take(&mut host.tally);
    tally.tokens(2, 0);
    tally.tell(&mut host);
    assert!(tally.is_empty());
    tally.tell(&mut host);
    assert_eq!(
        host.calls,
        [
            Call::Count("forecourt.forwarded".into(), 3),
            Call::Count("forecourt.token_cache.hit".into(), 2),
        ]
    );
}

#[test]
fn a_body_is_read_once_when_it_is_whole_however_it_comes() {
    for sizes in [&[2][..], &[1, 2], &[0, 1, 1, 2]] {
        let (mut stream, mut host) = (stream("hold"), Recorder::new(ORDER));
        host.body = b"{}".to_vec();
        assert_eq!(
            ask(&mut stream, &mut host, false),
            Flow::Pause,
            "the headers wait"
        );
        for (at, size) in sizes.iter().enumerate() {
            let ends = at + 1 == sizes.len();
            let flow = stream.request_body(&mut host, *size, ends);
            assert_eq!(flow, if ends { Flow::Continue } else { Flow::Pause });
        }
        let reads: Vec<_> = host
            .calls
            .iter()
            .filter(|call| matches!(call, Call::RequestBody(_)))
            .collect();
        assert_eq!(reads, [&Call::RequestBody(2)]);
        assert_eq!(host.replies(), []);
    }
}

#[test]
fn trailers_end_a_body_too() {
    for (body, replies) in [(&b"{}"[..], vec![]), (b"[]", vec![Code::SchemaMismatch])] {
        let (mut stream, mut host) = (stream("hold"), Recorder::new(ORDER));
        host.body = body.to_vec();
        ask(&mut stream, &mut host, false);
        assert_eq!(stream.request_body(&mut host, 2, false), Flow::Pause);
        let flow = stream.request_trailers(&mut host);
        assert_eq!(flow == Flow::Continue, replies.is_empty());
        assert_eq!(host.replies(), replies);
    }
}

#[test]
fn a_body_that_outgrows_its_cap_is_refused_unread() {
    let (mut stream, mut host) = (stream("hold"), Recorder::new(ORDER));
    ask(&mut stream, &mut host, false);
    assert_eq!(stream.request_body(&mut host, 16, false), Flow::Pause);
    assert_eq!(stream.request_body(&mut host, 17, false), Flow::Pause);
    assert_eq!(host.replies(), [Code::BodyTooLarge]);
    assert!(
        !host
            .calls
            .iter()
            .any(|call| matches!(call, Call::RequestBody(_)))
    );
    assert_eq!(
        stream.request_body(&mut host, 18, true),
        Flow::Pause,
        "what still comes goes nowhere"
    );
    assert_eq!(host.replies().len(), 1, "one reply, not two");
}

#[test]
fn in_stream_mode_the_headers_go_first() {
    let (mut stream, mut host) = (stream("stream"), Recorder::new(ORDER));
    host.body = b"[]".to_vec();
    assert_eq!(ask(&mut stream, &mut host, false), Flow::Continue);
    assert_eq!(stream.request_body(&mut host, 2, true), Flow::Pause);
    assert_eq!(host.replies(), [Code::SchemaMismatch]);
}

#[test]
fn whatever_host_call_fails_nothing_passes() {
    let fields: Vec<_> = ORDER.to_vec();
    for failing in 0..2 {
        let (mut stream, mut host) = (stream("hold"), Recorder::new(&fields));
        host.body = b"{}".to_vec();
        host.failing = Some(failing);
        ask(&mut stream, &mut host, false);
        let flow = stream.request_body(&mut host, 2, true);
        assert_eq!(flow, Flow::Pause, "call {failing}");
        assert_eq!(host.replies(), [Code::Internal], "call {failing}");
    }
}

#[test]
fn an_answer_whose_hints_cannot_be_set_is_withheld() {
    let dated = ("expires", "Sun, 06 Nov 1994 08:49:37 GMT");
    for failing in 0..3 {
        let (mut stream, mut host) = (stream("hold"), Recorder::new(SECRET));
        host.response = headers(&[(":status", "200"), dated]);
        ask(&mut stream, &mut host, true);
        host.calls.clear();
        host.failing = Some(failing);
        assert_eq!(
            stream.response_headers(&mut host, false),
            Flow::Pause,
            "call {failing}"
        );
        assert_eq!(host.replies(), [Code::Internal], "call {failing}");
    }
}

#[test]
fn our_own_replies_pass_back_through_the_filter_untouched() {
    let (mut stream, mut host) = (
        stream("hold"),
        Recorder::new(&[(":method", "GET"), (":path", "/none")]),
    );
    assert_eq!(ask(&mut stream, &mut host, true), Flow::Pause);
    assert_eq!(
        host.calls[1..],
        [
            Call::Count("forecourt.refused.route_not_found".into(), 1),
            Call::Publish("forecourt_decision".into(), "route_not_found".into()),
            Call::Reply(404, Code::RouteNotFound),
        ]
    );
    host.calls.clear();
    assert_eq!(stream.response_headers(&mut host, false), Flow::Continue);
    assert_eq!(host.calls, []);
}

#[test]
fn events_out_of_order_change_nothing() {
    let (mut stream, mut host) = (stream("hold"), Recorder::new(OPEN));
    assert_eq!(
        stream.request_body(&mut host, 5, true),
        Flow::Pause,
        "a body before its head"
    );
    assert_eq!(stream.request_trailers(&mut host), Flow::Pause);
    assert_eq!(ask(&mut stream, &mut host, false), Flow::Continue);
    assert_eq!(stream.request_body(&mut host, 5, true), Flow::Continue);
    assert_eq!(stream.request_trailers(&mut host), Flow::Continue);
}

const TAGGED: &[(&str, &str)] = &[(":method", "GET"), (":path", "/tagged")];

/// Asks for a tagged answer, with a further field, and returns the stream and its host.
fn tagged(body_checks: &str, field: (&str, &str), length: &str) -> (Stream, Recorder) {
    let (mut stream, mut host) = (
        stream(body_checks),
        Recorder::new(&[TAGGED, &[field]].concat()),
    );
    assert_eq!(ask(&mut stream, &mut host, true), Flow::Continue);
    host.response = headers(&[(":status", "200"), ("content-length", length)]);
    host.body = b"hello".to_vec();
    host.calls.clear();
    (stream, host)
}

#[test]
fn a_small_answer_waits_for_its_entity_tag_and_the_next_client_gets_304() {
    let (mut stream, mut host) = tagged("hold", ("x", "y"), "5");
    assert_eq!(stream.response_headers(&mut host, false), Flow::Pause);
    assert_eq!(stream.response_body(&mut host, 3, false), Flow::Pause);
    assert_eq!(stream.response_body(&mut host, 5, true), Flow::Continue);
    let Some(Call::EditResponse(edits)) = host.calls.last() else {
        panic!("{:?}", host.calls);
    };
    let [Edit::Set(name, tag)] = edits.as_slice() else {
        panic!("{edits:?}");
    };
    assert_eq!(name, "etag");

    let tag = std::str::from_utf8(tag).unwrap();
    let (mut stream, mut host) = tagged("hold", ("if-none-match", tag), "5");
    assert_eq!(stream.response_headers(&mut host, false), Flow::Pause);
    assert_eq!(stream.response_body(&mut host, 5, true), Flow::Pause);
    assert_eq!(
        host.calls.last(),
        Some(&Call::NotModified(vec![
            "cache-control".into(),
            "etag".into()
        ]))
    );
}

#[test]
fn answers_that_are_large_or_cannot_wait_are_never_held() {
    for (body_checks, length) in [("hold", "17"), ("stream", "5")] {
        let (mut stream, mut host) = tagged(body_checks, ("x", "y"), length);
        assert_eq!(stream.response_headers(&mut host, false), Flow::Continue);
        assert_eq!(stream.response_body(&mut host, 5, true), Flow::Continue);
        assert!(
            !host
                .calls
                .iter()
                .any(|call| matches!(call, Call::ResponseBody(_)))
        );
    }
    let (mut stream, mut host) = tagged("hold", ("x", "y"), "5");
    assert_eq!(stream.response_headers(&mut host, false), Flow::Pause);
    let flow = stream.response_body(&mut host, 17, false);
    assert_eq!(flow, Flow::Continue, "it said that it was smaller");
}
