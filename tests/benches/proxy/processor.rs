//! What one would write in place of the module: an external processor in native Rust, on a Unix
//! socket, that checks the body against the same schema with the same engine and says who may keep
//! the answer.
//!
//! The few messages of `envoy.service.ext_proc.v3` that it needs are written out here, by their
//! field numbers.

use std::convert::Infallible;
use std::path::Path;

use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;

use forecourt::policy::Policy;
use forecourt::schema::{BodyPlan, BodyRule};
use forecourt::trace::Trace;

use crate::chains;

#[derive(Clone, PartialEq, Message)]
struct ProcessingRequest {
    #[prost(oneof = "Asked", tags = "2, 3, 4")]
    asked: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Asked {
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    #[prost(message, tag = "4")]
    RequestBody(HttpBody),
}

#[derive(Clone, PartialEq, Message)]
struct HttpHeaders {
    #[prost(message, optional, tag = "1")]
    headers: Option<HeaderList>,
    #[prost(bool, tag = "3")]
    end_of_stream: bool,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderList {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<HeaderValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", tag = "3")]
    raw_value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct HttpBody {
    #[prost(bytes = "bytes", tag = "1")]
    body: Bytes,
    #[prost(bool, tag = "2")]
    end_of_stream: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessingResponse {
    #[prost(oneof = "Answered", tags = "1, 2, 3, 7")]
    answered: Option<Answered>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answered {
    #[prost(message, tag = "1")]
    RequestHeaders(CommonAnswer),
    #[prost(message, tag = "2")]
    ResponseHeaders(CommonAnswer),
    #[prost(message, tag = "3")]
    RequestBody(CommonAnswer),
    #[prost(message, tag = "7")]
    Immediate(ImmediateResponse),
}

#[derive(Clone, PartialEq, Message)]
struct CommonAnswer {
    #[prost(message, optional, tag = "1")]
    response: Option<CommonResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct CommonResponse {
    #[prost(message, optional, tag = "2")]
    header_mutation: Option<HeaderMutation>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderMutation {
    #[prost(message, repeated, tag = "1")]
    set_headers: Vec<HeaderValueOption>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    header: Option<HeaderValue>,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`.
    #[prost(int32, tag = "3")]
    append_action: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ImmediateResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

/// Serves until it is ended.
pub fn serve(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let policy = forecourt::config::from_value(chains::body_policy())
            .unwrap_or_else(|problems| panic!("{problems}"));
        let rule: &'static BodyRule = Box::leak(Box::new(body_rule(&policy)));
        let listener = UnixListener::bind(socket).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service =
                service_fn(
                    move |request| async move { Ok::<_, Infallible>(answer(request, rule)) },
                );
            tokio::task::spawn_local(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

type Body = Either<Channel<Bytes>, Empty<Bytes>>;

/// One HTTP request of Envoy's is one stream of messages.
fn answer(request: Request<Incoming>, rule: &'static BodyRule) -> Response<Body> {
    let (sender, body) = Channel::new(4);
    tokio::spawn(converse(request.into_body(), sender, rule));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(Either::Left(body))
        .unwrap()
}

async fn converse(mut from: Incoming, mut to: Sender<Bytes>, rule: &'static BodyRule) {
    let mut held = Vec::new();
    while let Some(Ok(frame)) = from.frame().await {
        let Ok(data) = frame.into_data() else { break };
        held.extend_from_slice(&data);
        while let Some(message) = take(&mut held) {
            let answered = decide(message, rule);
            let message = ProcessingResponse {
                answered: Some(answered),
            };
            if to.send_data(framed(&message)).await.is_err() {
                return;
            }
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = to.send(Frame::trailers(trailers)).await;
}

/// The next whole message: a flag, its length, and the message.
fn take(held: &mut Vec<u8>) -> Option<ProcessingRequest> {
    let length = u32::from_be_bytes(held.get(1..5)?.try_into().unwrap()) as usize;
    let message = ProcessingRequest::decode(held.get(5..5 + length)?).unwrap();
    held.drain(..5 + length);
    Some(message)
}

fn framed(message: &ProcessingResponse) -> Bytes {
    let mut bytes = vec![0; 5];
    message.encode(&mut bytes).unwrap();
    let length = u32::try_from(bytes.len() - 5).unwrap();
    bytes[1..5].copy_from_slice(&length.to_be_bytes());
    bytes.into()
}

fn decide(message: ProcessingRequest, rule: &BodyRule) -> Answered {
    match message.asked {
        Some(Asked::RequestBody(body)) => match rule.check(&PLAN, &body.body, &mut Trace::off()) {
            Ok(()) => Answered::RequestBody(CommonAnswer::default()),
            Err(_) => Answered::Immediate(ImmediateResponse {
                status: Some(HttpStatus { code: 400 }),
                body: Bytes::from_static(b"{\"title\":\"The body does not match its schema\"}"),
            }),
        },
        Some(Asked::ResponseHeaders(_)) => Answered::ResponseHeaders(hinted()),
        Some(Asked::RequestHeaders(head)) if !head.end_of_stream && !is_json(&head) => {
            Answered::Immediate(ImmediateResponse {
                status: Some(HttpStatus { code: 415 }),
                body: Bytes::new(),
            })
        }
        _ => Answered::RequestHeaders(CommonAnswer::default()),
    }
}

fn is_json(head: &HttpHeaders) -> bool {
    let headers = head.headers.iter().flat_map(|list| &list.headers);
    headers
        .filter(|header| header.key == "content-type")
        .any(|header| header.raw_value == "application/json")
}

fn hinted() -> CommonAnswer {
    let header = HeaderValue {
        key: "cache-control".into(),
        raw_value: Bytes::from_static(chains::ORDER_HINT.as_bytes()),
    };
    CommonAnswer {
        response: Some(CommonResponse {
            header_mutation: Some(HeaderMutation {
                set_headers: vec![HeaderValueOption {
                    header: Some(header),
                    append_action: 2,
                }],
            }),
        }),
    }
}

const PLAN: BodyPlan = BodyPlan::Check {
    content: 0,
    coding: None,
    boundary: String::new(),
};

fn body_rule(policy: &Policy) -> BodyRule {
    let route = policy.routes.first().expect("a route");
    route.body.clone().expect("a rule on bodies")
}
