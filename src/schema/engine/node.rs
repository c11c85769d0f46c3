//! What schemas become: nodes in one list, which refer to each other by number.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::format::{Format, Labels};
use super::number::{Decimal, is_whole};
use super::pattern::{PatternId, Patterns};

/// Number of a node within [`Arena`].
pub type NodeId = u32;

/// Number of a schema resource: what has an address of its own.
pub type ResourceId = u32;

/// The schema `true`.
pub const ANYTHING: NodeId = 0;

/// The schema `false`.
pub const NOTHING: NodeId = 1;

/// All subschemas of a policy that its routes use.
#[derive(Debug, Default)]
pub struct Arena {
    pub nodes: Vec<Node>,
    pub patterns: Patterns,
    pub labels: Labels,
    /// Where dynamic anchors lead, by resource and name. Empty where no reference asks for them.
    pub dynamic: BTreeMap<(ResourceId, u32), NodeId>,
}

impl Arena {
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }
}

/// One subschema.
#[derive(Debug, Default)]
pub struct Node {
    pub types: Types,
    /// Whether its rules look at what its other rules have evaluated.
    pub tracks: bool,
    /// Whether its rules lead to further nodes.
    pub branches: bool,
    /// Steps that its own rules take.
    pub cost: u64,
    pub resource: ResourceId,
    pub rules: Box<[Rule]>,
}

/// Names of members.
pub type Names = Box<[Box<str>]>;

/// One keyword's assertion. Those that ask what others have evaluated come last.
#[derive(Debug)]
pub enum Rule {
    Nothing,
    Const(Box<Value>),
    Enum(Box<Choices>),
    Bound(Box<Bound>),
    MultipleOf(Box<(Number, Decimal)>),
    MinLength(u64),
    MaxLength(u64),
    Pattern(PatternId),
    Format(Format),
    /// `contentEncoding: base64`, with whether `application/json` is in it.
    Encoded(bool),
    /// `contentMediaType: application/json`.
    Json,
    MinItems(u64),
    MaxItems(u64),
    Unique,
    Items(Box<Items>),
    Contains(Box<Contains>),
    MinMembers(u64),
    MaxMembers(u64),
    Required(Names),
    Members(Box<Members>),
    Names(NodeId),
    DependentRequired(Box<[(Box<str>, Names)]>),
    DependentSchemas(Box<[(Box<str>, NodeId)]>),
    Ref(NodeId),
    DynamicRef(NodeId, u32),
    AllOf(Box<[NodeId]>),
    AnyOf(Box<[NodeId]>),
    OneOf(Box<[NodeId]>),
    Not(NodeId),
    Choose(Box<Chosen>),
    If(Box<If>),
    UnevaluatedItems(NodeId),
    UnevaluatedMembers(NodeId),
}

/// `enum`, its strings apart so that they can be looked up.
#[derive(Debug)]
pub struct Choices {
    /// Sorted.
    pub strings: Box<[Box<str>]>,
    pub others: Box<[Value]>,
    /// All of them as the schema has them, cut to what an error tells.
    pub text: Box<str>,
}

impl Choices {
    /// Whether the text is one of them.
    pub fn hold_text(&self, text: &str) -> bool {
        let found = self.strings.binary_search_by(|held| (**held).cmp(text));
        found.is_ok()
    }
}

/// A limit of numbers.
#[derive(Debug)]
pub struct Bound {
    pub kind: BoundKind,
    pub limit: Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// What elements must be.
#[derive(Debug)]
pub struct Items {
    /// The first ones, by their place.
    pub first: Box<[NodeId]>,
    /// All after them.
    pub rest: Option<NodeId>,
    /// Whether the rest is what draft 7 calls `additionalItems`.
    pub additional: bool,
}

#[derive(Debug)]
pub struct Contains {
    pub node: NodeId,
    pub least: u64,
    pub most: u64,
    /// Whether elements that match count as evaluated, which they do not in draft 7.
    pub evaluates: bool,
}

/// What members must be.
#[derive(Debug)]
pub struct Members {
    /// Sorted by name.
    pub named: Box<[(Box<str>, NodeId)]>,
    pub patterns: Box<[(PatternId, NodeId)]>,
    pub others: Option<NodeId>,
}

/// Branches of which a member of the value names the one that counts.
#[derive(Debug)]
pub struct Chosen {
    pub property: Box<str>,
    /// Sorted by name.
    pub by_name: Box<[(Box<str>, NodeId)]>,
    /// Whether `null` passes without being chosen.
    pub null: bool,
}

impl Chosen {
    /// The branch that the member's value names.
    pub fn branch(&self, member: &Value) -> Option<NodeId> {
        let name = member.as_str()?;
        let found = self
            .by_name
            .binary_search_by(|(held, _)| (**held).cmp(name));
        let branch = self.by_name.get(found.ok()?)?;
        Some(branch.1)
    }
}

#[derive(Debug)]
pub struct If {
    pub test: NodeId,
    pub then: NodeId,
    pub otherwise: NodeId,
}

impl Rule {
    /// Steps it takes by itself, whatever the value.
    pub fn cost(&self) -> u64 {
        let length = match self {
            Self::Enum(choices) => choices.others.len(),
            Self::Required(names) => names.len(),
            Self::DependentRequired(all) => all.iter().map(|(_, names)| 1 + names.len()).sum(),
            Self::DependentSchemas(all) => all.len(),
            Self::AllOf(all) | Self::AnyOf(all) | Self::OneOf(all) => all.len(),
            _ => 0,
        };
        length as u64 / 4
    }

    /// Calls `edge` with each node it leads to, and whether that node applies to the same value.
    pub fn edges(&mut self, edge: &mut dyn FnMut(&mut NodeId, bool)) {
        match self {
            Self::Items(items) => {
                items.first.iter_mut().for_each(|id| edge(id, false));
                items.rest.iter_mut().for_each(|id| edge(id, false));
            }
            Self::Contains(contains) => edge(&mut contains.node, false),
            Self::Members(members) => {
                members.named.iter_mut().for_each(|(_, id)| edge(id, false));
                members
                    .patterns
                    .iter_mut()
                    .for_each(|(_, id)| edge(id, false));
                members.others.iter_mut().for_each(|id| edge(id, false));
            }
            Self::Names(id) | Self::UnevaluatedItems(id) | Self::UnevaluatedMembers(id) => {
                edge(id, false);
            }
            Self::DependentSchemas(all) => all.iter_mut().for_each(|(_, id)| edge(id, true)),
            Self::Ref(id) | Self::DynamicRef(id, _) | Self::Not(id) => edge(id, true),
            Self::AllOf(all) | Self::AnyOf(all) | Self::OneOf(all) => {
                all.iter_mut().for_each(|id| edge(id, true));
            }
            Self::Choose(chosen) => chosen.by_name.iter_mut().for_each(|(_, id)| edge(id, true)),
            Self::If(branches) => {
                edge(&mut branches.test, true);
                edge(&mut branches.then, true);
                edge(&mut branches.otherwise, true);
            }
            _ => {}
        }
    }
}

/// A set of the types of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types(u8);

/// All types by name, in the order in which errors list them.
pub const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

const NULL: u8 = 1;
const BOOLEAN: u8 = 1 << 1;
const INTEGER: u8 = 1 << 2;
const NUMBER: u8 = 1 << 3;
const STRING: u8 = 1 << 4;
const ARRAY: u8 = 1 << 5;
const OBJECT: u8 = 1 << 6;

impl Types {
    pub const ALL: Self = Self(0x7F);
    pub const NONE: Self = Self(0);

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        let index = TYPES.iter().position(|known| *known == name)?;
        Some(Self(1 << index))
    }

    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn hold(self, value: &Value) -> bool {
        let of_value = match value {
            Value::Null => NULL,
            Value::Bool(_) => BOOLEAN,
            Value::Number(number) if self.0 & NUMBER == 0 && is_whole(number) => INTEGER,
            Value::Number(_) => NUMBER,
            Value::String(_) => STRING,
            Value::Array(_) => ARRAY,
            Value::Object(_) => OBJECT,
        };
        self.0 & of_value != 0
    }

    /// Whether values of that kind may be of one of the types.
    pub fn take(self, kind: Kind) -> bool {
        let of_kind = match kind {
            Kind::Null => NULL,
            Kind::Boolean => BOOLEAN,
            Kind::Number => NUMBER | INTEGER,
            Kind::Text => STRING,
            Kind::Elements => ARRAY,
            Kind::Members => OBJECT,
        };
        self.0 & of_kind != 0
    }

    /// Whether numbers must have no fractional part.
    pub fn are_whole(self) -> bool {
        self.0 & NUMBER == 0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = TYPES.iter().enumerate();
        all.filter(move |(index, _)| self.0 >> index & 1 == 1)
            .map(|(_, name)| *name)
    }
}

impl Default for Types {
    fn default() -> Self {
        Self::ALL
    }
}

/// What kind of value a JSON text writes; unlike a type it shows from the first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Elements,
    Members,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Null,
        Self::Boolean,
        Self::Number,
        Self::Text,
        Self::Elements,
        Self::Members,
    ];

    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::Elements,
            Value::Object(_) => Self::Members,
        }
    }
}
