//! Refusals: one stable reason code each, the same in reply, log, metric and docs, answered as
//! RFC 9457 problem details.

use std::borrow::Cow;

use serde::Serialize;

use crate::head::RequestHead;

/// Declares every reason code once: variant, code, status, title and what the docs say of it.
macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $title:literal $doc:literal,)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $doc] $variant,)* }

        impl Code {
            /// Every code, in the order of the docs.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// The problem's title (RFC 9457 §3.1.3): the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// What the reference says of it.
            pub const fn doc(self) -> &'static str {
                match self { $(Code::$variant => $doc,)* }
            }
        }
    };
}

codes! {
    RequestMalformed "request_malformed" 400 "Malformed request"
        "The request has no method, no path or more than one of them, or a header that must stand alone is repeated.",
    PathInvalid "path_invalid" 400 "Invalid path"
        "The path has no single meaning: dot segments, empty segments, a backslash, NUL, an encoded slash, bad percent-encoding, or a `;` without which it is another route's.",
    RouteNotFound "route_not_found" 404 "Not found"
        "No route of the policy has this host and path.",
    MethodNotAllowed "method_not_allowed" 405 "Method not allowed"
        "Routes have this path, but not this method; `Allow` lists theirs.",
    TokenMissing "token_missing" 401 "Token required"
        "The route asks for a token and the request carries none.",
    TokenAmbiguous "token_ambiguous" 401 "Ambiguous credentials"
        "The request carries more than one token where one is expected.",
    TokenMalformed "token_malformed" 401 "Malformed token"
        "Not a compact JWS: wrong number of parts, non-canonical base64url, bad JSON, or too large.",
    TokenUnsupported "token_unsupported" 401 "Unsupported token"
        "The token's header asks for something that is never honoured: `crit`, `b64`, compression or encryption.",
    TokenSignatureRemoved "token_signature_removed" 401 "Signature removed"
        "The signature part reads `SIGNATURE_REMOVED_BY_GOOGLE`: Cloud Run's own check ran before this filter and took it away. Run this filter before that check, or have callers send a second token in a header that the issuer's `from` names.",
    IssuerUnknown "issuer_unknown" 401 "Unknown issuer"
        "`iss` is not an issuer that this route accepts.",
    AlgorithmNotAllowed "algorithm_not_allowed" 401 "Algorithm not allowed"
        "`alg` is not one that the policy allows for this issuer, or does not fit the key.",
    KeyUnknown "key_unknown" 401 "Unknown key"
        "The issuer has no key with this `kid`, or `kid` is missing and several keys could apply.",
    SignatureInvalid "signature_invalid" 401 "Invalid signature"
        "The signature does not verify with the issuer's key.",
    ExpiryMissing "expiry_missing" 401 "Token never expires"
        "The token has no usable `exp`.",
    TokenExpired "token_expired" 401 "Token expired"
        "`exp` has passed, the policy's clock skew included.",
    TokenNotYetValid "token_not_yet_valid" 401 "Token not yet valid"
        "`nbf` or `iat` is in the future, the policy's clock skew included.",
    AudienceMismatch "audience_mismatch" 401 "Wrong audience"
        "`aud` is missing or names nobody whom this policy speaks for.",
    TokenTypeNotAllowed "token_type_not_allowed" 401 "Wrong kind of token"
        "The header's `typ` says that the token is for another purpose than access.",
    TokenLifetimeTooLong "token_lifetime_too_long" 401 "Token lives too long"
        "From `iat` to `exp` is longer than the policy allows for this issuer.",
    TokenRevoked "token_revoked" 401 "Token revoked"
        "The policy revokes the token by its `jti`, its `sub` or the time of its issue.",
    AuthenticationTooOld "authentication_too_old" 401 "Sign in again"
        "`auth_time` is missing or further back than the route's `maxAge` (RFC 9470).",
    ClaimMismatch "claim_mismatch" 403 "Not permitted"
        "The token is good, but a claim rule of the route is not met.",
    QueryTooLong "query_too_long" 414 "Query too long"
        "The query is longer than the route allows.",
    HeadersTooLarge "headers_too_large" 431 "Header fields too large"
        "The header fields together are larger than the route allows.",
    ParameterMalformed "parameter_malformed" 400 "Malformed parameter"
        "A parameter is not percent-encoded UTF-8, or not written in its style.",
    ParameterRepeated "parameter_repeated" 400 "Repeated parameter"
        "A parameter with one value is given several times, so two readers could see two values.",
    ParameterUnknown "parameter_unknown" 400 "Unknown parameter"
        "The query holds a parameter that the route does not describe.",
    ParameterMissing "parameter_missing" 400 "Parameter required"
        "A required parameter is missing.",
    ParameterInvalid "parameter_invalid" 400 "Invalid parameter"
        "A parameter breaks its schema; `errors` says which and how.",
    ContentTypeMissing "content_type_missing" 415 "Content type required"
        "A body came without `Content-Type`, or with several.",
    ContentTypeUnsupported "content_type_unsupported" 415 "Unsupported content type"
        "The route does not accept bodies of this type, charset or content coding.",
    BodyMissing "body_missing" 400 "Body required"
        "The route requires a body and none came.",
    BodyTooLarge "body_too_large" 413 "Body too large"
        "The body is larger than the route's `maxBytes`.",
    JsonInvalid "json_invalid" 400 "Invalid JSON"
        "The body is not one JSON text in UTF-8 (RFC 8259).",
    JsonDuplicateMember "json_duplicate_member" 400 "Duplicate JSON member"
        "An object of the body names a member twice, so two readers could see two values.",
    ContentCodingInvalid "content_coding_invalid" 400 "Damaged content coding"
        "The body does not inflate as its `Content-Encoding` says.",
    FormInvalid "form_invalid" 400 "Invalid form"
        "The body is not a form of its type, or a field is not written as the API describes it.",
    FormFieldRepeated "form_field_repeated" 400 "Repeated form field"
        "A form field with one value came several times, so two readers could see two values.",
    JsonTooDeep "json_too_deep" 400 "JSON nests too deeply"
        "Arrays and objects of the body nest deeper than the route allows.",
    JsonTooManyValues "json_too_many_values" 400 "Too many JSON values"
        "The body has more members and elements than the route allows.",
    JsonStringTooLong "json_string_too_long" 400 "JSON string too long"
        "A string or a member's name in the body is longer than the route allows.",
    SchemaMismatch "schema_mismatch" 400 "Request does not match the API"
        "The body breaks the route's schema; `errors` says where.",
    KeysUnavailable "keys_unavailable" 503 "Keys unavailable"
        "The issuer's keys have not been fetched yet or have grown too old.",
    IdentityUnavailable "identity_unavailable" 503 "Identity unavailable"
        "The route's service is private, and the metadata server has given no identity token for it, so the request was not sent.",
    Internal "internal" 503 "Temporarily unavailable"
        "The proxy failed to do what a check needed, so the request was not let through.",
}

/// A request was refused, and why. Every check of the core answers with this one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason.
    pub code: Code,
    /// One sentence for the client's developer (RFC 9457 §3.1.4). Never holds a value the client sent.
    pub detail: Cow<'static, str>,
    /// What to mend, where there may be several things.
    pub errors: Vec<Violation>,
    /// More fields for the answer, such as `allow` or `www-authenticate`.
    pub headers: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal with a detail and nothing else.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// One thing to mend in a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The part of the request: `body`, `query`, `path`, `header` or `cookie`.
    pub location: &'static str,
    /// JSON Pointer (RFC 6901) into the body, or the parameter's name.
    pub pointer: String,
    /// The schema keyword that was not met.
    pub keyword: String,
    /// What was expected; never what was sent.
    pub expected: String,
}

/// An answer that Forecourt gives itself, in place of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The reason.
    pub code: Code,
    /// The HTTP status; a gRPC client reads [`Reply::grpc`] instead.
    pub status: u16,
    /// Fields, `content-type` and `cache-control` among them.
    pub headers: Vec<(String, String)>,
    /// Problem details, or nothing for `HEAD` and gRPC.
    pub body: Vec<u8>,
    /// `grpc-status` and `grpc-message`, where the client speaks gRPC.
    pub grpc: Option<(i32, &'static str)>,
}

/// RFC 9457 §3.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
}

impl Refusal {
    /// The answer to a request with this head.
    pub fn reply(&self, head: &RequestHead) -> Reply {
        // Several of our statuses may be cached by default (RFC 9110 §15.1), and none of them should.
        let mut headers = vec![("cache-control".to_owned(), "no-store".to_owned())];
        headers.extend(self.headers.iter().cloned());
        let grpc = head
            .is_grpc()
            .then(|| (grpc_status(self.code.status()), self.code.as_str()));
        let mut body = Vec::new();
        if grpc.is_none() {
            headers.push(("content-type".into(), "application/problem+json".into()));
            if head.method() != b"HEAD" {
                body = self.problem();
            }
        }
        Reply {
            code: self.code,
            status: self.code.status(),
            headers,
            body,
            grpc,
        }
    }

    fn problem(&self) -> Vec<u8> {
        let problem = Problem {
            r#type: format!("urn:forecourt:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            code: self.code.as_str(),
            errors: &self.errors,
        };
        // Strings and numbers always serialise; an empty body would still carry status and headers.
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

/// The gRPC status nearest to an HTTP status, by meaning: a refused request was not malformed HTTP,
/// so 400 is INVALID_ARGUMENT rather than gRPC's fallback INTERNAL.
fn grpc_status(http: u16) -> i32 {
    match http {
        400 | 414 | 415 | 431 => 3,
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        413 => 8,
        503 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let field =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        RequestHead {
            headers: Headers::new(fields.iter().map(field).collect()),
        }
    }

    #[test]
    fn codes_are_unique_and_tell_a_refusal() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
    }

    #[test]
    fn a_refusal_is_problem_details_that_no_cache_keeps() {
        let reply = Refusal::new(Code::TokenExpired, "The token has expired.")
            .reply(&head(&[(":method", "GET")]));
        assert_eq!(reply.status, 401);
        assert!(
            reply
                .headers
                .contains(&("cache-control".into(), "no-store".into()))
        );
        assert!(
            reply
                .headers
                .contains(&("content-type".into(), "application/problem+json".into()))
        );
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:forecourt:problem:token_expired", "title": "Token expired",
                "status": 401, "detail": "The token has expired.", "code": "token_expired",
            })
        );
    }

    #[test]
    fn head_gets_no_body_and_grpc_gets_a_status() {
        let refusal = Refusal::new(Code::ClaimMismatch, "No.");
        let reply = refusal.reply(&head(&[(":method", "HEAD")]));
        assert!(reply.body.is_empty());
        let reply = refusal.reply(&head(&[
            (":method", "POST"),
            ("content-type", "application/grpc+proto"),
        ]));
        assert_eq!(
            (reply.grpc, reply.body.len()),
            (Some((7, "claim_mismatch")), 0)
        );
        let reply = refusal.reply(&head(&[
            (":method", "POST"),
            ("content-type", "application/grpcx"),
        ]));
        assert_eq!(reply.grpc, None);
    }
}
