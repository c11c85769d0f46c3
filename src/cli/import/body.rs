//! Request bodies: `requestBody`, and Swagger 2.0's `consumes` with `in: body` or `formData`.

use serde_json::{Map, Value, json};

use super::convert::Converter;
use super::documents::Node;
use super::parameters::Parameters;
use super::report::Kind;
use crate::schema::MediaRange;

/// A media type and what a body of it must hold.
struct Content {
    range: String,
    schema: Option<Value>,
    encoding: Map<String, Value>,
}

impl Content {
    fn new(range: &MediaRange) -> Self {
        Self {
            range: range.to_string(),
            schema: None,
            encoding: Map::new(),
        }
    }
}

/// How far a body of a media range is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Json,
    Form {
        multipart: bool,
    },
    /// JSON is among others.
    Some,
    SizeOnly,
}

fn reach(range: &MediaRange) -> Reach {
    if range.is_json() {
        Reach::Json
    } else if range.is("multipart", "form-data") {
        Reach::Form { multipart: true }
    } else if range.is("application", "x-www-form-urlencoded") {
        Reach::Form { multipart: false }
    } else if range.is("*", "*") || range.is("application", "*") {
        Reach::Some
    } else {
        Reach::SizeOnly
    }
}

impl<'d> Converter<'d> {
    /// The body of an operation of OpenAPI 3.
    pub(super) fn request_body(&mut self, operation: &Node<'d>) -> Option<Value> {
        let node = operation.get("requestBody")?;
        let node = self.resolve(&node)?;
        let mut contents: Vec<Content> = Vec::new();
        for (media, content) in node.map("content") {
            self.add_content(media, &content, &mut contents);
        }
        Some(written(contents, node.flag("required")))
    }

    fn add_content(&mut self, media: &str, node: &Node<'d>, contents: &mut Vec<Content>) {
        let Some(range) = self.range(media, node) else {
            return;
        };
        let Some(node) = self.resolve(node) else {
            return;
        };
        let schema = node.get("schema");
        let reach = self.reach(&range, schema.as_ref(), &node);
        let mut content = Content::new(&range);
        if reach != Reach::SizeOnly {
            content.schema = schema.map(|schema| self.schema(&schema));
        }
        if let Reach::Form { multipart } = reach {
            for (name, field) in node.map("encoding") {
                let encoding = self.encoding(&field, multipart);
                if !encoding.is_empty() {
                    content.encoding.insert(name.to_owned(), encoding.into());
                }
            }
        }
        add(content, reach, contents);
    }

    /// How far bodies of that type are checked, with what is missing reported.
    fn reach(&mut self, range: &MediaRange, schema: Option<&Node<'d>>, node: &Node<'d>) -> Reach {
        let reach = reach(range);
        let asks = schema.is_some_and(|schema| {
            let text = schema.text("type") == Some("string");
            !text
                && schema
                    .value
                    .as_object()
                    .is_none_or(|keywords| !keywords.is_empty())
        });
        match reach {
            Reach::SizeOnly if asks => {
                let message = format!("of a body of type `{range}` only the size is checked");
                self.note(Kind::Unchecked, node, message);
            }
            Reach::Some if asks => {
                let message =
                    format!("of `{range}` the schema is checked for JSON, of other types the size");
                self.note(Kind::Unchecked, node, message);
            }
            _ => {}
        }
        if matches!(reach, Reach::SizeOnly | Reach::Form { multipart: true }) {
            let message = "uploads may have 65536 bytes, as nothing says otherwise: see `maxBytes`";
            self.note(Kind::Assumed, node, message);
        }
        reach
    }

    /// A key of `content`, without its parameters.
    fn range(&mut self, media: &str, node: &Node<'d>) -> Option<MediaRange> {
        let essence = media.split(';').next().unwrap_or_default().trim();
        let range = MediaRange::parse(essence);
        if range.is_none() {
            let message = format!("`{media}` is no media type; bodies of it are refused");
            self.note(Kind::Closed, node, message);
        }
        range
    }

    /// An Encoding Object.
    fn encoding(&mut self, node: &Node<'d>, multipart: bool) -> Map<String, Value> {
        let mut out = Map::new();
        if let Some(types) = node.text("contentType").filter(|_| multipart) {
            let types = types
                .split(',')
                .map(|one| one.split(';').next().unwrap_or(one).trim());
            let types: Vec<Value> = types.map(Value::from).collect();
            out.insert("contentTypes".into(), types.into());
        }
        if node.get("headers").is_some() {
            self.note(
                Kind::Unchecked,
                node,
                "headers of a form's parts are not checked",
            );
        }
        for key in ["style", "explode"] {
            match node.value.get(key) {
                Some(value) if !multipart => {
                    out.insert(key.into(), value.clone());
                }
                Some(_) => {
                    let message = format!("`{key}` has no meaning in a multipart form");
                    self.note(Kind::Unchecked, node, message);
                }
                None => {}
            }
        }
        out
    }

    /// The body of an operation of Swagger 2.0.
    pub(super) fn consumed(
        &mut self,
        operation: &Node<'d>,
        found: &Parameters<'d>,
    ) -> Option<Value> {
        let file = |field: &Node<'_>| field.text("type") == Some("file");
        let fallback = match (&found.body, found.form.iter().any(file)) {
            (None, _) if found.form.is_empty() => return None,
            (Some(_), _) => "application/json",
            (None, true) => "multipart/form-data",
            (None, false) => "application/x-www-form-urlencoded",
        };
        let root = self.docs.root()?;
        let declared = operation.get("consumes").or_else(|| root.get("consumes"));
        let declared = declared.map(|list| list.elements()).unwrap_or_default();
        let mut types: Vec<&str> = declared
            .iter()
            .filter_map(|one| one.value.as_str())
            .collect();
        if types.is_empty() {
            types.push(fallback);
        }
        let mut contents = Vec::new();
        let mut required = found.form.iter().any(|field| field.flag("required"));
        for media in types {
            match &found.body {
                Some(body) => {
                    required = body.flag("required");
                    self.add_content(media, body, &mut contents);
                }
                None => self.add_form(media, &found.form, operation, &mut contents),
            }
        }
        Some(written(contents, required))
    }

    fn add_form(
        &mut self,
        media: &str,
        fields: &[Node<'d>],
        operation: &Node<'d>,
        contents: &mut Vec<Content>,
    ) {
        let Some(range) = self.range(media, operation) else {
            return;
        };
        let mut content = Content::new(&range);
        let reach = self.reach(&range, None, operation);
        if let Reach::Form { multipart } = reach {
            let (schema, encoding) = self.form_schema(fields);
            content.schema = Some(schema);
            if !multipart {
                content.encoding = encoding;
            }
        } else {
            let message = format!("`{range}` is no form; its fields are not checked");
            self.note(Kind::Unchecked, operation, message);
        }
        add(content, reach, contents);
    }
}

/// Adds a content; where JSON is among other types, JSON of its own beside it.
fn add(mut content: Content, reach: Reach, contents: &mut Vec<Content>) {
    if contents.iter().any(|held| held.range == content.range) {
        return;
    }
    if reach == Reach::Some
        && let Some(schema) = content.schema.take()
        && !contents.iter().any(|held| held.range == "application/json")
    {
        contents.push(Content {
            range: "application/json".into(),
            schema: Some(schema),
            encoding: Map::new(),
        });
    }
    contents.push(content);
}

/// The shortest form that a policy has for the body.
fn written(contents: Vec<Content>, required: bool) -> Value {
    let mut out = Map::new();
    let has_schema = contents.iter().any(|content| content.schema.is_some());
    if required != has_schema {
        out.insert("required".into(), required.into());
    }
    let alike = contents.windows(2).all(|pair| match pair {
        [one, other] => one.schema == other.schema,
        _ => true,
    });
    let plain = contents.iter().all(|content| content.encoding.is_empty());
    if alike && plain {
        let ranges: Vec<Value> = contents
            .iter()
            .map(|one| one.range.as_str().into())
            .collect();
        let schema = contents.into_iter().find_map(|content| content.schema);
        let usual = schema.is_some() && ranges == [json!("application/json")];
        if !usual && !ranges.is_empty() {
            out.insert("contentTypes".into(), ranges.into());
        }
        if let Some(schema) = schema {
            out.insert("schema".into(), schema);
        }
        return Value::Object(out);
    }
    let contents: Map<String, Value> = contents
        .into_iter()
        .map(|content| {
            let mut out = Map::new();
            if let Some(schema) = content.schema {
                out.insert("schema".into(), schema);
            }
            if !content.encoding.is_empty() {
                out.insert("encoding".into(), content.encoding.into());
            }
            (content.range, Value::Object(out))
        })
        .collect();
    out.insert("content".into(), contents.into());
    Value::Object(out)
}
