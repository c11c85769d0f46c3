//! `forecourt explain`: what the filter would decide, and why, from the exchange itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Format;
use super::policy_file::PolicyFile;
use crate::exchange::{Exchange, Step};
use crate::head::{Headers, RequestHead};
use crate::reply::Reply;
use crate::time::UnixTime;
use crate::token::{Env, InWasm, InlineOnly};
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
    /// The time to decide at, RFC 3339; now if it is not given
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    now: Option<UnixTime>,
    /// Show the values of the token's claims
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
    /// What the service would see, names to lists of values; empty for a reply.
    pub request_headers: Map<String, Value>,
    /// The reply, as a client would get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Answer>,
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
        let body = match self.read_body() {
            Ok(body) => body,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(2);
            }
        };
        let explanation = self.explain(&file, body);
        match self.format {
            Format::Json => println!("{}", serde_json::json!(explanation)),
            Format::Text => print!("{}", explanation.text()),
        }
        ExitCode::from(u8::from(explanation.decision == "reply"))
    }

    fn read_body(&self) -> Result<Vec<u8>, String> {
        match self.body.as_deref() {
            None => Ok(Vec::new()),
            Some(text) => match text.strip_prefix('@') {
                Some(path) => {
                    std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))
                }
                None => Ok(text.as_bytes().to_vec()),
            },
        }
    }

    fn explain(&self, file: &PolicyFile, body: Vec<u8>) -> Explanation {
        let mut exchange = Exchange::new(file.policy(), Trace::on(self.show_values));
        let env = Env {
            now: self.now.unwrap_or_else(now),
            keys: &InlineOnly,
            crypto: &InWasm,
            cache: None,
        };
        let head = self.head(body.len());
        let mut headers = head.headers.clone();
        let step = exchange.request(head, body.is_empty(), &env);
        let step = match step {
            Step::AwaitBody { edits, .. } => {
                headers.apply(&edits);
                exchange.body(&body)
            }
            Step::Forward(edits) => {
                headers.apply(&edits);
                Step::Forward(Vec::new())
            }
            reply => reply,
        };
        Explanation::new(&exchange, &step, &headers)
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
        fields.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let bytes =
            |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        RequestHead {
            headers: Headers::new(fields.into_iter().map(bytes).collect()),
        }
    }
}

impl Explanation {
    fn new(exchange: &Exchange, step: &Step, headers: &Headers) -> Self {
        let reply = match step {
            Step::Reply(reply) => Some(reply),
            _ => None,
        };
        let mut request_headers = Map::new();
        if reply.is_none() {
            for (name, value) in headers.iter() {
                let values = request_headers
                    .entry(String::from_utf8_lossy(name))
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(values) = values {
                    values.push(String::from_utf8_lossy(value).into());
                }
            }
        }
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
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.trace {
            text += &format!("{:<8} {}\n", step.part, step.note);
        }
        text += "\n";
        match (self.status, self.code) {
            (Some(status), Some(code)) => text += &format!("REPLY {status} {code}\n"),
            _ => text += "FORWARD\n",
        }
        for (name, values) in &self.request_headers {
            for value in values.as_array().into_iter().flatten() {
                text += &format!("  {name}: {}\n", value.as_str().unwrap_or_default());
            }
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

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    if name.trim().is_empty() {
        return Err("the name is missing".into());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn instant(text: &str) -> Result<UnixTime, String> {
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    since_epoch(time).ok_or_else(|| "is before 1970".into())
}

fn since_epoch(time: SystemTime) -> Option<UnixTime> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(UnixTime::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the clock is read"
)]
fn now() -> UnixTime {
    since_epoch(SystemTime::now()).unwrap_or_default()
}
