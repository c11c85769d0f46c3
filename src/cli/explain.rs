//! `forecourt explain`: what the filter would decide, and why, from the exchange itself.

mod key_files;
mod mask;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use self::key_files::{KeyFile, KeyFiles};
use self::mask::Mask;
use super::policy_file::PolicyFile;
use super::{Format, clock};
use crate::exchange::{AnswerStep, Exchange, Step};
use crate::head::{Edit, Headers, RequestHead, ResponseHead};
use crate::reply::Reply;
use crate::time::UnixTime;
use crate::token::identity::StandIn;
use crate::token::{Env, InWasm};
use crate::trace::{self, Trace};

/// Show what the filter would decide on a request, and how it comes to that
///
/// Runs the filter's own code, natively. Exit code 0: the request would be forwarded. 1: it would be
/// refused, or the policy is not valid. 2: wrong usage.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The policy, YAML or JSON; `-` for standard input
    file: PathBuf,
    /// The request's method
    #[arg(long, short = 'X', default_value = "GET")]
    method: String,
    /// The request's path, with the query if it has one
    #[arg(long, short)]
    path: String,
    /// The host that the request is for
    #[arg(long, default_value = "localhost")]
    host: String,
    /// A header, may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The body, or `@FILE` to read it from there
    #[arg(long, short, value_name = "TEXT|@FILE")]
    body: Option<String>,
    /// The status that the service answers with, to see what caches would be told
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    response_status: Option<u16>,
    /// A header of the service's answer, may be repeated; status 200 unless given
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header)]
    response_headers: Vec<(String, String)>,
    /// The body of the service's answer, or `@FILE`; only routes that make entity tags look at it
    #[arg(long, value_name = "TEXT|@FILE")]
    response_body: Option<String>,
    /// A file with the keys that an issuer serves, in the form in which it serves them; may be
    /// repeated. Nothing is fetched: without it, what such an issuer signed cannot be verified
    #[arg(long, value_name = "ISSUER=FILE", value_parser = KeyFile::parse)]
    jwks: Vec<KeyFile>,
    /// The time to decide at, RFC 3339; now if it is not given
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    now: Option<UnixTime>,
    /// Show the token and the values of its claims
    #[arg(long)]
    show_values: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What was decided, as `--format json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `forward` or `reply`.
    pub decision: &'static str,
    /// The status of a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The reason code of a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Reason codes that monitor mode let pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monitored: Vec<&'static str>,
    /// How it came about.
    pub trace: Vec<trace::Step>,
    /// What the service would see, names to lists of values; empty for a reply. Tokens and claims are
    /// masked unless asked for.
    pub request_headers: Map<String, Value>,
    /// The reply, as a client would get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Answer>,
    /// What the client would get of the service's answer, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// An answer of the service as it goes on.
#[derive(Debug, Serialize)]
pub struct Response {
    status: u16,
    /// Names to lists of values.
    headers: Map<String, Value>,
}

/// A reply, in print.
#[derive(Debug, Serialize)]
pub struct Answer {
    headers: Vec<(String, String)>,
    body: Value,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        let file = match PolicyFile::load(&self.file) {
            Ok(file) => file,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(error.exit_code());
            }
        };
        let bodies = read(self.body.as_deref())
            .and_then(|body| Ok((body, read(self.response_body.as_deref())?)));
        let (body, answer) = match bodies {
            Ok(bodies) => bodies,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(2);
            }
        };
        let explanation = match self.explain(&file, &body, &answer) {
            Ok(explanation) => explanation,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(2);
            }
        };
        match self.format {
            Format::Json => println!("{}", serde_json::json!(explanation)),
            Format::Text => print!("{}", explanation.text()),
        }
        ExitCode::from(u8::from(explanation.decision == "reply"))
    }

    fn explain(
        &self,
        file: &PolicyFile,
        body: &[u8],
        answer: &[u8],
    ) -> Result<Explanation, String> {
        let policy = file.policy();
        let mut trace = Trace::on(self.show_values);
        let now = self.now.unwrap_or_else(clock::now);
        let keys = KeyFiles::read(&self.jwks, &policy, now, &mut trace)?;
        let mut exchange = Exchange::new(Rc::clone(&policy), trace);
        let env = Env {
            now,
            keys: &keys,
            identities: &StandIn::default(),
            crypto: &InWasm,
            cache: None,
        };
        let head = self.head(body.len());
        let mask = match self.show_values {
            true => Mask::default(),
            false => Mask::of(&policy, &head),
        };
        let mut headers = head.headers.clone();
        let step = exchange.request(head, body.is_empty(), &env);
        let step = match step {
            Step::AwaitBody { edits, .. } => {
                headers.apply(&edits);
                exchange.body(body)
            }
            Step::Forward(edits) => {
                headers.apply(&edits);
                Step::Forward(Vec::new())
            }
            reply => reply,
        };
        let answered = matches!(step, Step::Forward(_)) && self.has_response();
        let response = answered.then(|| self.respond(&mut exchange, answer, now));
        let mut explanation = Explanation {
            response,
            ..Explanation::new(&exchange, &step, &mask.apply(&headers))
        };
        let remarks = keys.remarks(&policy).into_iter();
        let remarks = remarks.map(|note| trace::Step { part: "keys", note });
        explanation.trace.extend(remarks);
        Ok(explanation)
    }

    fn has_response(&self) -> bool {
        self.response_status.is_some()
            || !self.response_headers.is_empty()
            || self.response_body.is_some()
    }

    fn respond(&self, exchange: &mut Exchange, body: &[u8], now: UnixTime) -> Response {
        let status = self.response_status.unwrap_or(200);
        let (code, length) = (status.to_string(), body.len().to_string());
        let mut fields = vec![(":status", code.as_str())];
        if !body.is_empty() {
            fields.push(("content-length", &length));
        }
        fields.extend(pairs(&self.response_headers));
        let mut headers = bytes(fields);
        let answer = ResponseHead {
            headers: headers.clone(),
        };
        let mut step = exchange.response(answer, body.is_empty(), now);
        if let AnswerStep::AwaitBody(edits) = step {
            headers.apply(&edits);
            step = exchange.response_body(Some(body));
        }
        match step {
            AnswerStep::Forward(edits) | AnswerStep::AwaitBody(edits) => {
                headers.apply(&edits);
                headers.apply(&[Edit::Remove(":status".into())]);
                Response {
                    status,
                    headers: listed(&headers),
                }
            }
            AnswerStep::NotModified(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name.into_bytes(), value));
                Response {
                    status: 304,
                    headers: listed(&Headers::new(fields.collect())),
                }
            }
        }
    }

    fn head(&self, body: usize) -> RequestHead {
        let mut fields = vec![
            (":method", self.method.as_str()),
            (":scheme", "https"),
            (":authority", &self.host),
            (":path", &self.path),
        ];
        let length = body.to_string();
        let given = |name: &str| {
            self.headers
                .iter()
                .any(|(held, _)| held.eq_ignore_ascii_case(name))
        };
        if body > 0 && !given("content-length") {
            fields.push(("content-length", &length));
        }
        if body > 0 && !given("content-type") {
            fields.push(("content-type", "application/json"));
        }
        fields.extend(pairs(&self.headers));
        RequestHead {
            headers: bytes(fields),
        }
    }
}

impl Explanation {
    fn new(exchange: &Exchange, step: &Step, headers: &Headers) -> Self {
        let reply = match step {
            Step::Reply(reply) => Some(reply),
            _ => None,
        };
        let request_headers = match reply {
            None => listed(headers),
            Some(_) => Map::new(),
        };
        Self {
            decision: if reply.is_some() { "reply" } else { "forward" },
            status: reply.map(|reply| reply.status),
            code: reply.map(|reply| reply.code.as_str()),
            monitored: exchange
                .monitored()
                .iter()
                .map(|code| code.as_str())
                .collect(),
            trace: exchange.trace().steps().to_vec(),
            request_headers,
            reply: reply.map(Answer::new),
            response: None,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.trace {
            text += &format!("{:<10} {}\n", step.part, step.note);
        }
        text += "\n";
        match (self.status, self.code) {
            (Some(status), Some(code)) => text += &format!("REPLY {status} {code}\n"),
            _ => text += "FORWARD\n",
        }
        text += &lines(&self.request_headers);
        if let Some(response) = &self.response {
            text += &format!("\nRESPONSE {}\n", response.status);
            text += &lines(&response.headers);
        }
        if let Some(reply) = &self.reply {
            for (name, value) in &reply.headers {
                text += &format!("  {name}: {value}\n");
            }
            if !reply.body.is_null() {
                text += &format!("{:#}\n", reply.body);
            }
        }
        text
    }
}

impl Answer {
    fn new(reply: &Reply) -> Self {
        Self {
            headers: reply.headers.clone(),
            body: serde_json::from_slice(&reply.body).unwrap_or(Value::Null),
        }
    }
}

fn read(body: Option<&str>) -> Result<Vec<u8>, String> {
    match body {
        None => Ok(Vec::new()),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))
            }
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn bytes(fields: Vec<(&str, &str)>) -> Headers {
    let bytes = |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Headers::new(fields.into_iter().map(bytes).collect())
}

/// Names to lists of values.
fn listed(headers: &Headers) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in headers.iter() {
        let values = map
            .entry(String::from_utf8_lossy(name))
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(String::from_utf8_lossy(value).into());
        }
    }
    map
}

fn lines(headers: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, values) in headers {
        for value in values.as_array().into_iter().flatten() {
            text += &format!("  {name}: {}\n", value.as_str().unwrap_or_default());
        }
    }
    text
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    if name.trim().is_empty() {
        return Err("the name is missing".into());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn instant(text: &str) -> Result<UnixTime, String> {
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
    since_epoch
        .map(UnixTime::from)
        .map_err(|_| "is before 1970".into())
}
