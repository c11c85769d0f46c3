//! A route's `request`: raw form and compilation.

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use super::problem::{Place, Problems};
use super::schemas::SchemaTable;
use crate::schema::{BodyRule, Content, ContentCheck, Limits, MediaRange};

/// `maxBytes` where the policy names none.
pub const DEFAULT_MAX_BYTES: u64 = 64 << 10;

/// Largest `maxBytes` of a body that is held for a check: Wasm never gives memory back.
pub const MOST_CHECKED_BYTES: u64 = 8 << 20;

/// Largest `maxBytes` of a body that only its size is checked of.
pub const MOST_BYTES: u64 = 1 << 30;

/// What a request must look like to reach the service.
#[derive(Clone, Debug, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Request", deny_unknown_fields))]
pub struct RawRequest {
    /// What its body must look like. Without it bodies pass unchecked.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<RawBody>,
}

/// What a request's body must look like.
#[derive(Clone, Debug, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "RequestBody", deny_unknown_fields))]
pub struct RawBody {
    /// Accepted media types: a type, `type/*`, `type/*+json` or `*/*`. `application/json` takes
    /// every `+json` type too. With a schema the default is `application/json`; without one any
    /// type passes.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_types: Option<Vec<String>>,
    /// Largest body in bytes: 65536 by default, at most 8388608 (8 MiB) where the body is checked
    /// and 1073741824 (1 GiB) where only its size is.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether a request without a body is refused; GET, HEAD and OPTIONS never need one. By
    /// default true where there is a schema, and false elsewhere.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// JSON Schema of the body, draft 2020-12, or draft 7 where `$schema` says so.
    /// `$ref: "#/schemas/NAME"` leads to one of the policy's `schemas`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl RawRequest {
    /// Every schema used here with its place, for [`SchemaTable::compile`].
    pub fn schemas(&self, at: &Place) -> Vec<(Place, &Value)> {
        let body = self.body.as_ref();
        body.and_then(|body| body.schema.as_ref())
            .map(|schema| (at.key("body").key("schema"), schema))
            .into_iter()
            .collect()
    }

    /// Compiles the rule for bodies, where there is one.
    pub fn compile(
        &self,
        at: &Place,
        schemas: &SchemaTable,
        problems: &mut Problems,
    ) -> Option<BodyRule> {
        let body = self.body.as_ref()?;
        Some(body.compile(&at.key("body"), schemas, problems))
    }
}

impl RawBody {
    fn compile(&self, at: &Place, schemas: &SchemaTable, problems: &mut Problems) -> BodyRule {
        let contents = self.contents(at, schemas, problems);
        let checked = contents
            .iter()
            .any(|content| !matches!(content.check, ContentCheck::SizeOnly));
        if self.schema.is_some() && !checked {
            problems.add(
                &at.key("contentTypes"),
                "names no JSON type, so `schema` would never be used; add `application/json`",
            );
        }
        BodyRule {
            max_bytes: self.max_bytes(checked, &at.key("maxBytes"), problems),
            required: self.required.unwrap_or(self.schema.is_some()),
            contents,
            limits: Limits::default(),
            explain: true,
        }
    }

    fn contents(&self, at: &Place, schemas: &SchemaTable, problems: &mut Problems) -> Vec<Content> {
        let json = ["application/json".to_owned()];
        let types = match (&self.content_types, &self.schema) {
            (Some(types), _) => types.as_slice(),
            (None, Some(_)) => &json,
            (None, None) => &[],
        };
        let at_types = at.key("contentTypes");
        if self.content_types.is_some() && types.is_empty() {
            problems.add(
                &at_types,
                "is empty, so no body could ever pass; name a type, or leave it out",
            );
        }
        let schema = schemas.get(&at.key("schema"));
        let mut contents: Vec<Content> = Vec::with_capacity(types.len());
        for (index, text) in types.iter().enumerate() {
            let place = at_types.index(index);
            let Some(range) = MediaRange::parse(text) else {
                problems.add(&place, media_problem(text));
                continue;
            };
            if contents.iter().any(|content| content.range == range) {
                problems.add(&place, format!("`{range}` is there twice; drop one"));
                continue;
            }
            let check = if range.is_json() {
                ContentCheck::Json(schema.clone())
            } else {
                ContentCheck::SizeOnly
            };
            contents.push(Content { range, check });
        }
        contents
    }

    fn max_bytes(&self, checked: bool, at: &Place, problems: &mut Problems) -> u64 {
        let most = if checked {
            MOST_CHECKED_BYTES
        } else {
            MOST_BYTES
        };
        let asked = self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        if asked == 0 {
            problems.add(at, "is 0, so no body could ever pass; write at least 1");
        } else if asked > most {
            problems.add(
                at,
                format!("is more than the {most} bytes that can be held; write less"),
            );
        }
        asked.min(most)
    }
}

fn media_problem(text: &str) -> String {
    if text.contains(';') {
        format!("`{text}` has parameters, which play no part in matching; write the type alone")
    } else {
        format!("`{text}` is not a media type; write one such as `application/json` or `image/*`")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::head::{Headers, RequestHead};
    use crate::reply::{Code, Refusal};
    use crate::schema::BodyPlan;
    use crate::trace::Trace;

    fn compile(request: Value) -> (Option<BodyRule>, Vec<String>) {
        let at = Place::root().key("request");
        let mut problems = Problems::default();
        let raw: RawRequest = match deserr::deserialize::<RawRequest, Value, Problems>(request) {
            Ok(raw) => raw,
            Err(refused) => return (None, refused.0.iter().map(ToString::to_string).collect()),
        };
        let table = SchemaTable::compile(&BTreeMap::new(), &at, raw.schemas(&at), &mut problems);
        let rule = raw.compile(&at, &table, &mut problems);
        (rule, problems.0.iter().map(ToString::to_string).collect())
    }

    fn rule(body: Value) -> BodyRule {
        let (rule, problems) = compile(json!({"body": body}));
        assert_eq!(problems, Vec::<String>::new());
        rule.unwrap()
    }

    fn order() -> BodyRule {
        rule(
            json!({"maxBytes": 100, "schema": {"type": "object", "required": ["sku"],
            "properties": {"sku": {"type": "string"}}}}),
        )
    }

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let method = (b":method".to_vec(), b"POST".to_vec());
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        RequestHead {
            headers: Headers::new(std::iter::once(method).chain(fields).collect()),
        }
    }

    fn code<T>(result: Result<T, Refusal>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    fn check_head(rule: &BodyRule, fields: &[(&str, &str)]) -> Result<BodyPlan, Refusal> {
        rule.check_head(&head(fields), false, &mut Trace::off())
    }

    fn check_body(rule: &BodyRule, body: &[u8]) -> Result<(), Refusal> {
        let plan = check_head(rule, &[("content-type", "application/json")]).unwrap();
        rule.check(&plan, body, &mut Trace::off())
    }

    #[test]
    fn the_content_type_is_settled_in_the_head() {
        let rule = order();
        for (value, expected) in [
            ("application/json", None),
            ("application/json; charset=utf-8", None),
            ("application/vnd.shop+json", None),
            (
                "application/json; charset=utf-16",
                Some(Code::ContentTypeUnsupported),
            ),
            ("text/plain", Some(Code::ContentTypeUnsupported)),
            (
                "text/plain; a=\"application/json\"",
                Some(Code::ContentTypeUnsupported),
            ),
            (
                "application/json, text/plain",
                Some(Code::ContentTypeUnsupported),
            ),
            ("", Some(Code::ContentTypeUnsupported)),
        ] {
            assert_eq!(
                code(check_head(&rule, &[("content-type", value)])),
                expected,
                "{value}"
            );
        }
        assert_eq!(code(check_head(&rule, &[])), Some(Code::ContentTypeMissing));
        let twice = [
            ("content-type", "application/json"),
            ("content-type", "application/json"),
        ];
        assert_eq!(
            code(check_head(&rule, &twice)),
            Some(Code::ContentTypeMissing)
        );
        let refusal = check_head(&rule, &[("content-type", "text/plain")]).unwrap_err();
        assert_eq!(
            refusal.headers,
            [("accept".to_owned(), "application/json".to_owned())]
        );
    }

    #[test]
    fn the_closest_of_the_accepted_types_decides() {
        let rule = rule(json!({"contentTypes": ["*/*", "application/json", "image/*"]}));
        let plan = |media| check_head(&rule, &[("content-type", media)]).unwrap();
        assert_eq!(plan("application/json"), BodyPlan::Check { content: 1 });
        assert_eq!(plan("text/vnd.a+json"), BodyPlan::Check { content: 1 });
        assert_eq!(plan("image/png"), BodyPlan::SizeOnly);
    }

    #[test]
    fn content_codings_are_refused() {
        let rule = order();
        for (value, expected) in [
            ("identity", None),
            ("Identity, identity", None),
            ("", None),
            ("gzip", Some(Code::ContentTypeUnsupported)),
            ("identity, br", Some(Code::ContentTypeUnsupported)),
        ] {
            let fields = [
                ("content-type", "application/json"),
                ("content-encoding", value),
            ];
            assert_eq!(code(check_head(&rule, &fields)), expected, "{value}");
        }
    }

    #[test]
    fn a_declared_length_over_the_cap_is_refused_before_the_body() {
        let rule = order();
        for (value, expected) in [
            ("100", None),
            ("101", Some(Code::BodyTooLarge)),
            ("99999999999999999999999999", Some(Code::BodyTooLarge)),
            ("-1", Some(Code::RequestMalformed)),
            ("1, 1", Some(Code::RequestMalformed)),
            ("0x10", Some(Code::RequestMalformed)),
            ("", Some(Code::RequestMalformed)),
        ] {
            let fields = [
                ("content-type", "application/json"),
                ("content-length", value),
            ];
            assert_eq!(code(check_head(&rule, &fields)), expected, "{value}");
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(
            code(check_head(&rule, &twice)),
            Some(Code::RequestMalformed)
        );
    }

    #[test]
    fn a_missing_body_is_refused_where_one_is_required() {
        let absent = |rule: &BodyRule, method: &str| {
            let mut head = head(&[]);
            head.headers = Headers::new(vec![(b":method".to_vec(), method.as_bytes().to_vec())]);
            rule.check_head(&head, true, &mut Trace::off())
        };
        assert_eq!(code(absent(&order(), "POST")), Some(Code::BodyMissing));
        assert_eq!(absent(&order(), "GET"), Ok(BodyPlan::NoBody));
        assert_eq!(
            absent(&rule(json!({"maxBytes": 5})), "POST"),
            Ok(BodyPlan::NoBody)
        );
        assert_eq!(code(check_body(&order(), b"")), Some(Code::BodyMissing));
        let optional = rule(json!({"required": false, "schema": {"type": "object"}}));
        assert_eq!(absent(&optional, "POST"), Ok(BodyPlan::NoBody));
        assert_eq!(check_body(&optional, b""), Ok(()));
    }

    #[test]
    fn bodies_are_checked_whole() {
        let rule = order();
        for (body, expected) in [
            (&br#"{"sku":"a"}"#[..], None),
            (br#"{"sku":1}"#, Some(Code::SchemaMismatch)),
            (br#"{"sku":"a","sku":"b"}"#, Some(Code::JsonDuplicateMember)),
            (br#"{"sku":"a"} x"#, Some(Code::JsonInvalid)),
            (b"\xef\xbb\xbf{\"sku\":\"a\"}", Some(Code::JsonInvalid)),
            (b"{\"sku\":\"\xff\"}", Some(Code::JsonInvalid)),
            (&[b'['; 80], Some(Code::JsonTooDeep)),
            (&[b' '; 101], Some(Code::BodyTooLarge)),
        ] {
            let found = code(check_body(&rule, body));
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn json_without_a_schema_is_still_read_strictly() {
        let rule = rule(json!({"contentTypes": ["application/json"]}));
        assert_eq!(check_body(&rule, b"[1]"), Ok(()));
        assert_eq!(code(check_body(&rule, b"[1")), Some(Code::JsonInvalid));
    }

    #[test]
    fn a_body_of_a_mebibyte_is_checked_or_refused_by_its_values() {
        let rule = rule(json!({"maxBytes": 2 << 20, "schema": {"items": {"type": "string"}}}));
        let long = format!("[\"{}\"]", "a".repeat(1 << 20));
        assert_eq!(check_body(&rule, long.as_bytes()), Ok(()));
        let wide = format!("[{}1]", "1,".repeat(1 << 19));
        assert_eq!(
            code(check_body(&rule, wide.as_bytes())),
            Some(Code::JsonTooManyValues)
        );
    }

    #[test]
    fn any_type_passes_by_size_where_none_is_named() {
        let rule = rule(json!({"maxBytes": 5}));
        assert_eq!(check_head(&rule, &[]), Ok(BodyPlan::SizeOnly));
        let plan = BodyPlan::SizeOnly;
        assert_eq!(rule.check(&plan, b"12345", &mut Trace::off()), Ok(()));
        let over = rule.check(&plan, b"123456", &mut Trace::off());
        assert_eq!(code(over), Some(Code::BodyTooLarge));
    }

    #[test]
    fn problems_say_where_and_what_to_write() {
        for (body, expected) in [
            (
                json!({"contentType": []}),
                "body.contentType: unknown key `contentType`, did you mean `contentTypes`?",
            ),
            (
                json!({"contentTypes": []}),
                "request.body.contentTypes: is empty",
            ),
            (
                json!({"contentTypes": ["json"]}),
                "request.body.contentTypes[0]: `json` is not a media type",
            ),
            (
                json!({"contentTypes": ["a/b; c=d"]}),
                "write the type alone",
            ),
            (
                json!({"contentTypes": ["a/b", "A/B"]}),
                "request.body.contentTypes[1]: `a/b` is there twice",
            ),
            (
                json!({"contentTypes": ["text/plain"], "schema": {}}),
                "names no JSON type",
            ),
            (json!({"maxBytes": 0}), "request.body.maxBytes: is 0"),
            (
                json!({"maxBytes": 9_000_000, "schema": {}}),
                "is more than the 8388608 bytes",
            ),
            (
                json!({"maxBytes": 2_000_000_000_u64}),
                "is more than the 1073741824 bytes",
            ),
            (
                json!({"schema": {"typo": 1, "requird": []}}),
                "request.body.schema.requird",
            ),
        ] {
            let (_, problems) = compile(json!({"body": body.clone()}));
            assert!(
                problems.join("\n").contains(expected),
                "{body}: {problems:?}"
            );
        }
    }
}
