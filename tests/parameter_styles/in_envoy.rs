//! Every row once more, over the wire: one route a row, all in one Envoy.

use forecourt::cli::client::{self, Request};
use forecourt::cli::serve::Service;
use forecourt::reply::Code;
use serde_json::{Value, json};

use crate::hostile::hostile;
use crate::param;
use crate::support::envoy::start;
use crate::table::{STYLES, exactly};

/// Rows that Envoy decides on, or rewrites for the service too, before any parameter is read:
/// location, text, the code instead, why.
const OTHERWISE: &[(&str, &str, &str, &str)] = &[
    (
        "path",
        ".",
        "route_not_found",
        "normalize_path resolves a segment that is a dot",
    ),
    (
        "path",
        ".a%2Eb.c",
        "parameter_invalid",
        "normalize_path decodes dots, so that they delimit",
    ),
    (
        "path",
        "%c3",
        "path_invalid",
        "a path has to be UTF-8 as a whole",
    ),
];

/// A row with the code that its refusal has.
struct Row {
    location: &'static str,
    text: &'static str,
    about: String,
    request: Value,
    expected: Option<Code>,
}

fn rows() -> Vec<Row> {
    let row = |location: &'static str, style, explode, schema: &Value, text, expected| Row {
        location,
        text,
        about: format!("{location} {style} {explode} {schema} {text}"),
        request: param(location, style, explode, schema),
        expected,
    };
    let good = STYLES.iter().map(|(location, style, explode, kind, text)| {
        row(location, style, *explode, &exactly(kind), text, None)
    });
    let hostile = hostile().into_iter();
    let hostile = hostile.map(|(location, style, explode, schema, text, expected)| {
        row(location, style, explode, &schema, text, expected)
    });
    good.chain(hostile).collect()
}

fn policy(rows: &[Row]) -> Value {
    let routes = rows.iter().enumerate().map(|(index, row)| {
        let end = if row.location == "path" {
            "/{color}"
        } else {
            ""
        };
        json!({"match": {"methods": ["GET"], "path": format!("/r{index}{end}")}, "access": "public",
            "request": row.request})
    });
    json!({"version": "forecourt/v1", "routing": {"encodedSlash": "keep"},
        "routes": routes.collect::<Vec<_>>()})
}

fn request(index: usize, row: &Row) -> Request {
    let text = row.text;
    match row.location {
        "path" => Request::new("GET", &format!("/r{index}/{text}")),
        "query" if text.is_empty() => Request::new("GET", &format!("/r{index}")),
        "query" => Request::new("GET", &format!("/r{index}?{text}")),
        "header" => text.split('\n').fold(
            Request::new("GET", &format!("/r{index}")),
            |request, line| request.header("color", line),
        ),
        _ => Request::new("GET", &format!("/r{index}")).header("cookie", text),
    }
}

#[tokio::test]
async fn every_row_is_decided_on_in_real_envoy_as_natively() {
    let rows = rows();
    let service = Service::start().unwrap();
    let envoy = start(&service, &policy(&rows)).await;
    let mut failures = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        service.forget();
        let answer = client::send(envoy.listener(), &request(index, row)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", row.about));
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = match answer.status {
            200 => None,
            _ => problem["code"].as_str(),
        };
        let before = OTHERWISE
            .iter()
            .find(|(location, text, ..)| (*location, *text) == (row.location, row.text));
        let expected = match before {
            Some((_, _, code, _)) => Some(*code),
            None => row.expected.map(Code::as_str),
        };
        let reached = service.count();
        if code != expected || reached != usize::from(expected.is_none()) {
            failures.push(format!(
                "{}: {code:?}, service asked {reached} times",
                row.about
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
