//! A document and the files it refers to: read once, inside one folder, and bounded.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::cli::policy_file::Finding;
use crate::cli::yaml::{Document, Position};
use crate::config::problem::Place;
use crate::schema::{Limits, parse_json};

/// Largest file, in bytes.
pub const MAX_FILE: usize = 64 << 20;
/// Largest sum of all files, in bytes.
const MAX_BYTES: usize = 128 << 20;
/// Most files that a document may be made of.
const MAX_FILES: usize = 256;
/// Most values of all files together.
const MAX_VALUES: usize = 4_000_000;
/// How many references may lead from one to the next.
const MAX_HOPS: usize = 64;

const LIMITS: Limits = Limits {
    depth: 100,
    values: 2_000_000,
    string: usize::MAX,
};

/// Reads a file by its path below the root folder, `/` between its parts.
pub type Read<'r> = dyn FnMut(&str) -> Result<String, String> + 'r;

struct File {
    name: String,
    text: String,
    value: Value,
}

/// A document and every file that it refers to.
pub struct Documents {
    files: Vec<File>,
    /// The index of each file that was asked for, or why it could not be had.
    known: BTreeMap<String, Result<usize, String>>,
    anchors: BTreeMap<(usize, String), String>,
}

/// A value with the place it stands at.
#[derive(Clone)]
pub struct Node<'d> {
    docs: &'d Documents,
    file: usize,
    /// JSON Pointer (RFC 6901) within the file.
    pub pointer: String,
    /// The value.
    pub value: &'d Value,
}

/// A place by file and JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    file: usize,
    /// JSON Pointer within the file.
    pub pointer: String,
}

impl Documents {
    /// Reads a document's text and every file that something in it refers to. A file that cannot be
    /// had is a fault only where it is used.
    pub fn load(name: &str, text: String, read: &mut Read<'_>) -> Result<Self, Finding> {
        let mut docs = Self {
            files: Vec::new(),
            known: BTreeMap::new(),
            anchors: BTreeMap::new(),
        };
        let mut budget = Budget::default();
        budget
            .bytes(text.len())
            .map_err(|message| whole(name, message))?;
        let value = parse(name, &text)?;
        docs.add(name, text, value, &mut budget)
            .map_err(|message| whole(name, message))?;
        let mut next = 0;
        while let Some(file) = docs.files.get(next) {
            let wanted = references(&file.value, &file.name);
            for path in wanted {
                if !docs.known.contains_key(&path) {
                    let loaded = docs.fetch(&path, read, &mut budget);
                    docs.known.insert(path, loaded);
                }
            }
            next += 1;
        }
        Ok(docs)
    }

    fn fetch(
        &mut self,
        path: &str,
        read: &mut Read<'_>,
        budget: &mut Budget,
    ) -> Result<usize, String> {
        if self.files.len() >= MAX_FILES {
            return Err(format!(
                "the document is made of more than {MAX_FILES} files"
            ));
        }
        let text = read(path)?;
        budget.bytes(text.len())?;
        let value = parse(path, &text).map_err(|finding| finding.to_string())?;
        self.add(path, text, value, budget)
    }

    fn add(
        &mut self,
        name: &str,
        text: String,
        value: Value,
        budget: &mut Budget,
    ) -> Result<usize, String> {
        let index = self.files.len();
        budget.values(&value)?;
        anchors(&value, &mut String::new(), &mut |anchor, pointer| {
            let pointer = pointer.to_owned();
            self.anchors.insert((index, anchor.to_owned()), pointer);
        });
        self.known.insert(name.to_owned(), Ok(index));
        self.files.push(File {
            name: name.to_owned(),
            text,
            value,
        });
        Ok(index)
    }

    /// The whole document.
    pub fn root(&self) -> Option<Node<'_>> {
        let file = self.files.first()?;
        Some(Node {
            docs: self,
            file: 0,
            pointer: String::new(),
            value: &file.value,
        })
    }

    /// The value at a place.
    pub fn node(&self, spot: &Spot) -> Option<Node<'_>> {
        let value = self.files.get(spot.file)?.value.pointer(&spot.pointer)?;
        Some(Node {
            docs: self,
            file: spot.file,
            pointer: spot.pointer.clone(),
            value,
        })
    }

    /// Where a place stands in its file's text.
    fn position(&self, spot: &Spot) -> Option<Position> {
        let file = self.files.get(spot.file)?;
        let document = Document::parse(&file.text).ok()?;
        let mut place = Place::root();
        let mut value = &file.value;
        for step in spot.pointer.split('/').skip(1) {
            let name = step.replace("~1", "/").replace("~0", "~");
            (place, value) = match value {
                Value::Array(list) => {
                    let index = name.parse().ok()?;
                    (place.index(index), list.get(index)?)
                }
                other => (place.key(&name), other.get(&name)?),
            };
        }
        document.position(&place)
    }
}

impl<'d> Node<'d> {
    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name)?;
        let step = name.replace('~', "~0").replace('/', "~1");
        Some(self.below(&step, value))
    }

    fn below(&self, step: &str, value: &'d Value) -> Self {
        Self {
            docs: self.docs,
            file: self.file,
            pointer: format!("{}/{step}", self.pointer),
            value,
        }
    }

    /// The member of that name, where it is text.
    pub fn text(&self, name: &str) -> Option<&'d str> {
        self.value.get(name).and_then(Value::as_str)
    }

    /// Whether the member of that name is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.value.get(name) == Some(&Value::Bool(true))
    }

    /// The members of an object.
    pub fn members(&self) -> Vec<(&'d str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .map(|(name, value)| {
                let step = name.replace('~', "~0").replace('/', "~1");
                (name.as_str(), self.below(&step, value))
            })
            .collect()
    }

    /// The elements of an array.
    pub fn elements(&self) -> Vec<Self> {
        let elements = self.value.as_array().into_iter().flatten().enumerate();
        elements
            .map(|(index, value)| self.below(&index.to_string(), value))
            .collect()
    }

    /// The elements of the array of that name.
    pub fn list(&self, name: &str) -> Vec<Self> {
        self.get(name)
            .map(|list| list.elements())
            .unwrap_or_default()
    }

    /// The members of the object of that name.
    pub fn map(&self, name: &str) -> Vec<(&'d str, Self)> {
        self.get(name).map(|map| map.members()).unwrap_or_default()
    }

    /// Its place.
    pub fn spot(&self) -> Spot {
        Spot {
            file: self.file,
            pointer: self.pointer.clone(),
        }
    }

    /// The name of the file it stands in, where that is not the document itself.
    pub fn other_file(&self) -> Option<&'d str> {
        let file = self.docs.files.get(self.file).filter(|_| self.file > 0)?;
        Some(&file.name)
    }

    /// Its place for a person: `#` and the JSON Pointer, behind the file's name where that is not
    /// the document itself.
    pub fn place(&self) -> String {
        format!("{}#{}", self.other_file().unwrap_or_default(), self.pointer)
    }

    /// A fault at this place, with its line.
    pub fn fault(&self, message: impl Into<String>) -> Finding {
        let position = self.docs.position(&self.spot());
        let file = self.docs.files.get(self.file);
        Finding {
            file: file.map(|file| file.name.clone()).unwrap_or_default(),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            path: format!("#{}", self.pointer),
            message: message.into(),
        }
    }

    /// Where a reference that stands in this file leads.
    pub fn target(&self, reference: &str) -> Result<Self, String> {
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let file = match path {
            "" => self.file,
            path => {
                let own = self.docs.files.get(self.file);
                let own = own.map(|file| file.name.as_str()).unwrap_or_default();
                let name = locate(own, path)?;
                match self.docs.known.get(&name) {
                    Some(Ok(file)) => *file,
                    Some(Err(message)) => return Err(message.clone()),
                    None => return Err(format!("`{reference}` leads to nothing")),
                }
            }
        };
        let pointer = percent_decode_str(fragment)
            .decode_utf8()
            .map_err(|_| format!("`{reference}` is not UTF-8 once decoded"))?
            .into_owned();
        let pointer = match pointer.is_empty() || pointer.starts_with('/') {
            true => pointer,
            false => match self.docs.anchors.get(&(file, pointer)) {
                Some(pointer) => pointer.clone(),
                None => return Err(format!("`{reference}` leads to nothing")),
            },
        };
        self.docs
            .node(&Spot { file, pointer })
            .ok_or_else(|| format!("`{reference}` leads to nothing"))
    }

    /// What this object stands for: itself, or what its `$ref` leads to in the end.
    pub fn resolved(&self) -> Result<Self, Finding> {
        let mut node = self.clone();
        for _ in 0..MAX_HOPS {
            let Some(reference) = node.text("$ref") else {
                return Ok(node);
            };
            node = node
                .target(reference)
                .map_err(|message| node.fault(message))?;
        }
        Err(self.fault("its references lead in a circle"))
    }
}

#[derive(Default)]
struct Budget {
    bytes: usize,
    values: usize,
}

impl Budget {
    fn bytes(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        match bytes > MAX_FILE || self.bytes > MAX_BYTES {
            true => Err("is too large: 64 MiB a file and 128 MiB in all are read".into()),
            false => Ok(()),
        }
    }

    fn values(&mut self, value: &Value) -> Result<(), String> {
        self.values = self.values.saturating_add(count(value));
        match self.values > MAX_VALUES {
            true => Err(format!("has more than {MAX_VALUES} values in all")),
            false => Ok(()),
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn whole(name: &str, message: String) -> Finding {
    Finding {
        file: name.to_owned(),
        line: None,
        column: None,
        path: String::new(),
        message,
    }
}

/// Reads JSON or YAML. The JSON reader is many times faster and knows no lines, so a text that it
/// does not take is read once more as the YAML that JSON is.
fn parse(name: &str, text: &str) -> Result<Value, Finding> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{')
        && let Ok(value) = parse_json(text.as_bytes(), &LIMITS)
    {
        return Ok(value);
    }
    let document = Document::parse(text).map_err(|error| Finding {
        file: name.to_owned(),
        line: Some(error.position.line),
        column: Some(error.position.column),
        path: String::new(),
        message: error.message,
    })?;
    let mut value = document.value;
    merge(&mut value);
    Ok(value)
}

/// Writes YAML 1.1's merge keys out (`<<: *alias`), which documents use though YAML 1.2 has none.
fn merge(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(merge),
        Value::Object(members) => {
            members.values_mut().for_each(merge);
            let merged = match members.get("<<") {
                Some(Value::Object(_)) => members.remove("<<").into_iter().collect(),
                Some(Value::Array(list)) if list.iter().all(Value::is_object) => {
                    match members.remove("<<") {
                        Some(Value::Array(list)) => list,
                        _ => Vec::new(),
                    }
                }
                _ => Vec::new(),
            };
            for other in merged {
                let Value::Object(other) = other else {
                    continue;
                };
                for (name, value) in other {
                    members.entry(name).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

/// The files that the references of a document lead to. Examples may hold what looks like one: such
/// a file is read for nothing.
fn references(value: &Value, own: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_object(value, &mut |members| {
        let reference = members.get("$ref").and_then(Value::as_str);
        let mapped = members.get("mapping").and_then(Value::as_object);
        let mapped = mapped.into_iter().flat_map(Map::values);
        for text in reference
            .into_iter()
            .chain(mapped.filter_map(Value::as_str))
        {
            let path = text.split('#').next().unwrap_or_default();
            if !path.is_empty()
                && let Ok(name) = locate(own, path)
            {
                found.push(name);
            }
        }
    });
    found
}

fn each_object<'v>(value: &'v Value, visit: &mut impl FnMut(&'v Map<String, Value>)) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| each_object(one, visit)),
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|one| each_object(one, visit));
        }
        _ => {}
    }
}

/// Every `$anchor` (JSON Schema 2020-12 §8.2.2) with its pointer.
fn anchors(value: &Value, pointer: &mut String, found: &mut impl FnMut(&str, &str)) {
    let length = pointer.len();
    match value {
        Value::Array(list) => {
            for (index, one) in list.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                anchors(one, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            if let Some(Value::String(anchor)) = members.get("$anchor") {
                found(anchor, pointer);
            }
            for (name, one) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                anchors(one, pointer, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// The file that a relative reference of the file `own` means, as a path below the root folder.
fn locate(own: &str, path: &str) -> Result<String, String> {
    let scheme = path.split(['/', '?']).next().unwrap_or_default();
    if scheme.contains(':') || path.starts_with("//") {
        return Err(format!(
            "`{path}` is elsewhere, and nothing is fetched; keep a copy beside the document"
        ));
    }
    let outside = || {
        format!(
            "`{path}` lies outside the document's folder; name a folder that holds both with \
             --root"
        )
    };
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| format!("`{path}` is not UTF-8 once decoded"))?;
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(outside());
    }
    let mut steps: Vec<&str> = own.split('/').collect();
    steps.pop();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop().ok_or_else(outside)?;
            }
            step => steps.push(step),
        }
    }
    Ok(steps.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(text: &str, files: &[(&str, &str)]) -> Result<Documents, Finding> {
        let mut asked = |path: &str| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| format!("cannot read {path}"))
        };
        Documents::load("api.yaml", text.to_owned(), &mut asked)
    }

    fn lead(text: &str, files: &[(&str, &str)], reference: &str) -> Result<Value, String> {
        let docs = load(text, files).unwrap();
        let root = docs.root().unwrap();
        root.target(reference).map(|node| node.value.clone())
    }

    #[test]
    fn references_lead_through_files_of_the_folder() {
        let files = [
            ("parts/a.yaml", "x: { $ref: '../b.json#/y' }\n'a/b~c d': 5"),
            ("b.json", r#"{"y": 7, "back": {"$ref": "api.yaml#/z"}}"#),
        ];
        let text = "z: 1\na: { $ref: 'parts/a.yaml#/x' }\nb: { $anchor: here, v: 2 }";
        assert_eq!(lead(text, &files, "b.json#/y"), Ok(json!(7)));
        assert_eq!(
            lead(text, &files, "parts/a.yaml#/a~1b~0c%20d"),
            Ok(json!(5))
        );
        assert_eq!(lead(text, &files, "#here").unwrap()["v"], 2);
        let docs = load(text, &files).unwrap();
        let a = docs.root().unwrap().get("a").unwrap().resolved().unwrap();
        assert_eq!(a.value, &json!(7));
        assert_eq!(a.place(), "b.json#/y");
    }

    #[test]
    fn nothing_outside_the_folder_and_nothing_remote_is_read() {
        for (reference, said) in [
            ("../secret.yaml", "outside"),
            ("a/../../secret.yaml", "outside"),
            ("%2e%2e/secret.yaml", "outside"),
            ("/etc/passwd", "outside"),
            ("..\\secret.yaml", "outside"),
            ("https://example.com/a.yaml#/x", "nothing is fetched"),
            ("file:///etc/passwd", "nothing is fetched"),
            ("//example.com/a.yaml", "nothing is fetched"),
            ("none.yaml#/x", "cannot read none.yaml"),
            ("#/none", "leads to nothing"),
            ("#none", "leads to nothing"),
            ("#/%ff", "not UTF-8"),
        ] {
            let text = format!("a: {{ $ref: '{reference}' }}");
            let mut asked = Vec::new();
            let docs = Documents::load("api.yaml", text, &mut |path| {
                asked.push(path.to_owned());
                Err(format!("cannot read {path}"))
            })
            .unwrap();
            let node = docs.root().unwrap().get("a").unwrap();
            let fault = match node.resolved() {
                Ok(_) => panic!("{reference} leads somewhere"),
                Err(fault) => fault,
            };
            assert!(fault.message.contains(said), "{reference}: {fault}");
            assert_eq!(fault.line, Some(1));
            assert!(
                asked.iter().all(|path| path == "none.yaml"),
                "{reference} made it ask for {asked:?}"
            );
        }
    }

    #[test]
    fn circles_of_references_are_faults_with_their_line() {
        let docs = load("b: 1\na: { $ref: '#/c' }\nc: { $ref: '#/a' }", &[]).unwrap();
        let node = docs.root().unwrap().get("a").unwrap();
        let fault = node.resolved().err().unwrap();
        assert!(fault.message.contains("circle"));
        assert_eq!((fault.line, fault.path.as_str()), (Some(2), "#/a"));
    }

    #[test]
    fn texts_that_are_no_document_are_faults_with_their_line() {
        for (text, line) in [
            ("{\n\"a\": 1,\n\"a\": 2}", 3),
            ("a: 1\na: 2", 2),
            ("a: &x [*x]", 1),
            ("a: 1\nb: ]", 2),
        ] {
            let fault = load(text, &[]).err().unwrap();
            assert_eq!(fault.line, Some(line), "{text}: {fault}");
        }
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        assert!(load(&format!("{{\"a\": {deep}}}"), &[]).is_err());
    }

    #[test]
    fn merge_keys_are_written_out() {
        let docs = load("a: &a { x: 1, y: 2 }\nb: { <<: *a, y: 3 }", &[]).unwrap();
        assert_eq!(docs.root().unwrap().value["b"], json!({"x": 1, "y": 3}));
    }

    #[test]
    fn a_document_has_a_bounded_number_of_files() {
        let mut next = 0;
        let docs = Documents::load("0.yaml", "a: { $ref: 1.yaml }".into(), &mut |_| {
            next += 1;
            Ok(format!("a: {{ $ref: {}.yaml }}", next + 1))
        })
        .unwrap();
        assert_eq!(docs.files.len(), MAX_FILES);
        assert_eq!(next, MAX_FILES - 1);
    }
}
