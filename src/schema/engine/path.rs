//! Where a subschema stands, written down only if something is to be said about it.

use super::{Fault, Finding};

/// How deep a schema may nest.
pub const MAX_DEPTH: usize = 100;

/// The way to a subschema from the root of its document.
#[derive(Clone, Copy)]
pub struct Path<'p> {
    around: Option<&'p Path<'p>>,
    step: Step<'p>,
    /// Number of the document.
    pub document: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    /// The JSON Pointer that the way begins with.
    Root(&'p str),
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// The way to a document's root, or to a part of it that a reference leads to.
    pub fn root(document: usize, pointer: &'p str) -> Self {
        Self {
            around: None,
            step: Step::Root(pointer),
            document,
            depth: 0,
        }
    }

    /// The way to a member.
    pub fn key<'c>(&'c self, key: &'c str) -> Path<'c> {
        self.to(Step::Key(key))
    }

    /// The way to an element.
    pub fn index(&self, index: usize) -> Path<'_> {
        self.to(Step::Index(index))
    }

    fn to<'c>(&'c self, step: Step<'c>) -> Path<'c> {
        Path {
            around: Some(self),
            step,
            document: self.document,
            depth: self.depth + 1,
        }
    }

    /// Whether it is the document itself.
    pub fn is_root(&self) -> bool {
        matches!(self.step, Step::Root(""))
    }

    /// Whether what stands there is not looked at.
    pub fn is_too_deep(&self) -> bool {
        self.depth > MAX_DEPTH
    }

    /// As a JSON Pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut pointer = self.around.map(Path::pointer).unwrap_or_default();
        match self.step {
            Step::Root(start) => pointer.push_str(start),
            Step::Key(key) => {
                pointer.push('/');
                pointer.push_str(&escape(key));
            }
            Step::Index(index) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
        pointer
    }

    pub(super) fn finding(&self, fault: Fault) -> Finding {
        Finding {
            document: self.document,
            pointer: self.pointer(),
            fault,
        }
    }
}

/// One step of a JSON Pointer.
pub fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}
