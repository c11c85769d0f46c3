//! Bodies: what a route accepts, decided as far as possible from the head alone.

use serde_json::Value;

use super::engine::{Schema, is_json};
use super::form::{FormFault, FormRule};
use super::inflate::{Coding, InflateError, MAX_RATIO, inflate};
use super::json::{self, Fault};
use super::media::{Fit, MediaRange, MediaType};
use super::multipart::{self, MultipartError};
use crate::head::RequestHead;
use crate::reply::{Code, Refusal};
use crate::trace::Trace;

/// What a route says about request bodies.
#[derive(Clone, Debug)]
pub struct BodyRule {
    /// Largest body, in bytes.
    pub max_bytes: u64,
    /// Whether a request without a body is refused. Not applied to methods whose content has no
    /// meaning (RFC 9110 §9.3.1: GET, HEAD, OPTIONS and the like).
    pub required: bool,
    /// The content types that are accepted; empty accepts any, unchecked but for its size.
    pub contents: Vec<Content>,
    /// Whether bodies with a content coding are inflated for the check; otherwise refused.
    pub inflate: bool,
    /// Bounds on JSON texts.
    pub limits: json::Limits,
    /// Whether refusals list what to mend.
    pub explain: bool,
    /// Whether refusals are only logged and counted.
    pub monitor: bool,
}

/// One accepted content type.
#[derive(Clone, Debug)]
pub struct Content {
    /// The types it stands for.
    pub range: MediaRange,
    /// How bodies of these types are checked.
    pub check: ContentCheck,
}

/// How a body is checked.
#[derive(Clone, Debug)]
pub enum ContentCheck {
    /// By its size alone.
    SizeOnly,
    /// As one JSON text, and against the schema where there is one.
    Json(Option<Schema>),
    /// As a URL-encoded form.
    UrlEncoded(FormRule),
    /// As a multipart form.
    Multipart(FormRule),
}

/// What is still to do once the head has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPlan {
    /// Nothing: there is no body.
    NoBody,
    /// Only count the bytes.
    SizeOnly,
    /// Hold the whole body and check it.
    Check {
        /// Which of the rule's contents the request declared.
        content: usize,
        /// The content coding to undo for the check.
        coding: Option<Coding>,
        /// What separates the parts of a multipart form; empty for other bodies.
        boundary: String,
    },
}

impl BodyRule {
    /// Largest body, in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Checks all that the head says about the body: declared length, content coding and type, and
    /// whether there is a body at all.
    pub fn check_head(
        &self,
        head: &RequestHead,
        end_of_stream: bool,
        trace: &mut Trace,
    ) -> Result<BodyPlan, Refusal> {
        if end_of_stream {
            self.check_absent(head.method())?;
            trace.note("body", || "no body".into());
            return Ok(BodyPlan::NoBody);
        }
        self.check_declared_length(head)?;
        if self.contents.is_empty() {
            trace.note("body", || {
                format!("any type, up to {} bytes", self.max_bytes)
            });
            return Ok(BodyPlan::SizeOnly);
        }
        let coding = self.coding(head)?;
        self.plan(head, coding, trace)
    }

    /// Checks a whole body, byte for byte as it will be forwarded.
    pub fn check(&self, plan: &BodyPlan, body: &[u8], trace: &mut Trace) -> Result<(), Refusal> {
        if body.len() as u64 > self.max_bytes {
            return Err(self.too_large());
        }
        let BodyPlan::Check {
            content,
            coding,
            boundary,
        } = plan
        else {
            return Ok(());
        };
        if body.is_empty() {
            // A chunked body can turn out to hold nothing.
            return if self.required {
                Err(missing())
            } else {
                Ok(())
            };
        }
        let inflated = coding
            .map(|coding| self.inflate(coding, body))
            .transpose()?;
        let body = inflated.as_deref().unwrap_or(body);
        match self.contents.get(*content).map(|content| &content.check) {
            Some(ContentCheck::Json(schema)) => self.check_json(schema.as_ref(), body, trace),
            Some(ContentCheck::UrlEncoded(form)) => self.check_form(form, body, None, trace),
            Some(ContentCheck::Multipart(form)) => {
                self.check_form(form, body, Some(boundary), trace)
            }
            Some(ContentCheck::SizeOnly) => Ok(()),
            None => Err(Refusal::new(Code::Internal, "The body had no plan.")),
        }
    }

    fn check_absent(&self, method: &[u8]) -> Result<(), Refusal> {
        let without_content = matches!(
            method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"CONNECT"
        );
        if self.required && !without_content {
            return Err(missing());
        }
        Ok(())
    }

    fn check_declared_length(&self, head: &RequestHead) -> Result<(), Refusal> {
        let malformed = || {
            Refusal::new(
                Code::RequestMalformed,
                "`Content-Length` is not one number.",
            )
        };
        let value = head
            .headers
            .single("content-length")
            .map_err(|_| malformed())?;
        let Some(value) = value else { return Ok(()) };
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(malformed());
        }
        // Only digits: what does not fit 64 bits is certainly too large.
        let length = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        if length.is_none_or(|length: u64| length > self.max_bytes) {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn plan(
        &self,
        head: &RequestHead,
        coding: Option<Coding>,
        trace: &mut Trace,
    ) -> Result<BodyPlan, Refusal> {
        let missing = |detail| Refusal::new(Code::ContentTypeMissing, detail);
        let several = || missing("The request has several `Content-Type` fields.");
        let value = head
            .headers
            .single("content-type")
            .map_err(|_| several())?
            .ok_or_else(|| missing("The request has a body, but no `Content-Type`."))?;
        let media = MediaType::parse(value).ok_or_else(|| {
            // Envoy joins repeated fields, this one too, with a comma.
            if value.contains(&b',') {
                several()
            } else {
                self.unsupported("The `Content-Type` is not a media type.")
            }
        })?;
        let (content, accepted) = self
            .closest(&media)
            .ok_or_else(|| self.unsupported("This route does not take bodies of this type."))?;
        trace.note("body", || format!("content type fits {}", accepted.range));
        let boundary = match &accepted.check {
            ContentCheck::SizeOnly => return Ok(BodyPlan::SizeOnly),
            ContentCheck::Multipart(_) => multipart::boundary(&media)
                .ok_or_else(|| self.unsupported("The `Content-Type` has no usable `boundary`."))?
                .to_owned(),
            _ if media.is_utf8() => String::new(),
            _ => return Err(self.unsupported("JSON and forms must be in UTF-8.")),
        };
        Ok(BodyPlan::Check {
            content,
            coding,
            boundary,
        })
    }

    fn closest(&self, media: &MediaType) -> Option<(usize, &Content)> {
        let mut best: Option<(Fit, usize, &Content)> = None;
        for (index, content) in self.contents.iter().enumerate() {
            let Some(fit) = content.range.fit(media) else {
                continue;
            };
            if best.is_none_or(|(held, ..)| fit > held) {
                best = Some((fit, index, content));
            }
        }
        best.map(|(_, index, content)| (index, content))
    }

    /// The one content coding to undo, if there is any.
    fn coding(&self, head: &RequestHead) -> Result<Option<Coding>, Refusal> {
        let fields = head.headers.all("content-encoding");
        let mut codings = fields
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        let Some(first) = codings.next() else {
            return Ok(None);
        };
        match Coding::parse(first) {
            Some(coding) if self.inflate && codings.next().is_none() => Ok(Some(coding)),
            _ => Err(self.refuse_coding()),
        }
    }

    /// 415; the coding is the reason, so the answer says which one would do (RFC 9110 §15.5.16).
    fn refuse_coding(&self) -> Refusal {
        let accepted = if self.inflate {
            "gzip, deflate"
        } else {
            "identity"
        };
        let detail = "This route does not take bodies with this content coding.";
        let mut refusal = Refusal::new(Code::ContentTypeUnsupported, detail);
        refusal
            .headers
            .push(("accept-encoding".into(), accepted.into()));
        refusal
    }

    fn inflate(&self, coding: Coding, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        inflate(coding, body, self.max_bytes).map_err(|error| match error {
            InflateError::TooLarge => Refusal::new(
                Code::BodyTooLarge,
                format!(
                    "The body inflates to more than {} bytes, or grows more than {MAX_RATIO} times.",
                    self.max_bytes
                ),
            ),
            InflateError::Damaged => Refusal::new(
                Code::ContentCodingInvalid,
                "The body does not inflate as its `Content-Encoding` says.",
            ),
        })
    }

    fn check_form(
        &self,
        form: &FormRule,
        body: &[u8],
        boundary: Option<&str>,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let checked = match boundary {
            None => form.check_urlencoded(body, &self.limits),
            Some(boundary) => {
                let parts = multipart::parse(body, boundary).map_err(|MultipartError(what)| {
                    let detail = format!("The body is not a valid multipart form: {what}.");
                    Refusal::new(Code::FormInvalid, detail)
                })?;
                form.check_parts(parts, &self.limits)
            }
        };
        checked.map_err(|fault| self.refuse_form(fault))?;
        trace.note("body", || "form matches".into());
        Ok(())
    }

    fn refuse_form(&self, fault: FormFault) -> Refusal {
        let (code, detail, errors) = match fault {
            FormFault::Malformed(violation) => (
                Code::FormInvalid,
                "A field of the form is not written as the API describes it.",
                vec![violation],
            ),
            FormFault::Repeated(violation) => (
                Code::FormFieldRepeated,
                "A field that has one value came several times.",
                vec![violation],
            ),
            FormFault::Part(violation) => (
                Code::SchemaMismatch,
                "A part of the form is not what the API describes.",
                vec![violation],
            ),
            FormFault::Mismatch(violations) => (
                Code::SchemaMismatch,
                "The form does not match its schema.",
                violations,
            ),
        };
        let mut refusal = Refusal::new(code, detail);
        if self.explain {
            refusal.errors = errors;
        }
        refusal
    }

    fn check_json(
        &self,
        schema: Option<&Schema>,
        body: &[u8],
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let text = json::text(body).map_err(|fault| self.refuse_json(fault))?;
        let accepted = match schema {
            Some(schema) => schema.accepts(text, &self.limits),
            None => is_json(text, &self.limits),
        };
        if !accepted {
            self.check_text(schema, text)?;
        }
        trace.note("body", || match schema {
            Some(_) => "matches its schema".into(),
            None => "well-formed JSON".into(),
        });
        Ok(())
    }

    /// Decides on what is not accepted while it is read, and says what is wrong with it.
    fn check_text(&self, schema: Option<&Schema>, text: &str) -> Result<(), Refusal> {
        let read = json::parse_text(text, &self.limits);
        let value = read.map_err(|fault| self.refuse_json(fault))?;
        match schema {
            Some(schema) => self.check_value(schema, value),
            None => Ok(()),
        }
    }

    fn check_value(&self, schema: &Schema, value: Value) -> Result<(), Refusal> {
        schema.check(value, "body").map_err(|mismatch| {
            let mut refusal =
                Refusal::new(Code::SchemaMismatch, "The body does not match its schema.");
            if self.explain {
                refusal.errors = mismatch.violations;
            }
            refusal
        })
    }

    fn refuse_json(&self, fault: Fault) -> Refusal {
        let limits = &self.limits;
        match fault {
            Fault::Syntax(what) => Refusal::new(
                Code::JsonInvalid,
                format!("The body is not valid JSON: {what}."),
            ),
            Fault::Duplicate(pointer) => self.refuse_at(
                Code::JsonDuplicateMember,
                "An object of the body names a member twice.",
                pointer,
                "a name that the object does not have yet".into(),
            ),
            Fault::TooDeep(pointer) => self.refuse_at(
                Code::JsonTooDeep,
                "The body nests too deeply.",
                pointer,
                format!("at most {} levels of nesting", limits.depth),
            ),
            Fault::TooMany => self.refuse_at(
                Code::JsonTooManyValues,
                "The body holds too many values.",
                String::new(),
                format!("at most {} members and elements", limits.values),
            ),
            Fault::TooLong(pointer) => self.refuse_at(
                Code::JsonStringTooLong,
                "A string of the body is too long.",
                pointer,
                format!("strings of at most {} bytes", limits.string),
            ),
        }
    }

    fn refuse_at(
        &self,
        code: Code,
        detail: &'static str,
        pointer: String,
        expected: String,
    ) -> Refusal {
        let mut refusal = Refusal::new(code, detail);
        if self.explain {
            refusal
                .errors
                .push(super::explain::violation("body", pointer, "json", expected));
        }
        refusal
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(
            Code::BodyTooLarge,
            format!("The body is larger than {} bytes.", self.max_bytes),
        )
    }

    /// 415 with what would do (RFC 9110 §15.5.16).
    fn unsupported(&self, detail: &'static str) -> Refusal {
        let mut refusal = Refusal::new(Code::ContentTypeUnsupported, detail);
        let accepted: Vec<_> = self
            .contents
            .iter()
            .map(|content| content.range.to_string())
            .collect();
        refusal.headers.push(("accept".into(), accepted.join(", ")));
        refusal
    }
}

fn missing() -> Refusal {
    Refusal::new(Code::BodyMissing, "The request must have a body.")
}
