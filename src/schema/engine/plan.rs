//! How values are checked while they are being read, decided once for all requests.
//!
//! A value may have to be what several nodes ask for: those that `allOf` and references lead to, or
//! that each name the same member. A plan stands for a list of nodes, and says for each kind of
//! value which rules hold for it and which plans its parts follow. What takes the whole value to
//! decide (alternatives, uniqueness, what is left unevaluated) is planned as such: that part is
//! read into memory, no other.

use std::collections::BTreeMap;

use super::node::{
    ANYTHING, Arena, Items, Kind, Members, NOTHING, Names, Node, NodeId, Rule, Types,
};

/// Number of a plan within [`Plans`].
pub type PlanId = u32;

/// The plan of values that may be anything.
pub const ANY: PlanId = 0;

/// The plan that no value follows.
pub const NONE: PlanId = 1;

/// Most nodes that are looked at for one plan.
const MAX_NODES: usize = 64;

/// Most nodes of one plan.
const MAX_LIST: usize = 8;

/// Most members that one plan names, and most elements that it has by their place.
const MAX_NAMED: usize = 256;

/// All plans of a policy.
#[derive(Debug, Default)]
pub struct Plans(Vec<Plan>);

#[derive(Debug)]
struct Plan {
    nodes: Box<[NodeId]>,
    /// By [`Kind`].
    steps: [Step; 6],
}

/// How values of one kind are checked.
#[derive(Debug, Default)]
pub enum Step {
    /// None is valid.
    #[default]
    Refuse,
    /// All are valid, whatever is in them.
    Accept,
    /// The value is read as a whole and given to the nodes.
    Whole,
    Scalar(Box<Scalar>),
    Elements(Box<Elements>),
    Members(Box<Fields>),
}

/// What the nodes of one plan take together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// Steps of all nodes.
    pub cost: u64,
    /// How deep they nest.
    pub nesting: usize,
}

#[derive(Debug)]
pub struct Scalar {
    pub effort: Effort,
    /// Whether numbers must have no fractional part.
    pub whole: bool,
    /// By node and place among its rules.
    pub rules: Box<[(NodeId, u32)]>,
}

#[derive(Debug)]
pub struct Elements {
    pub effort: Effort,
    pub least: u64,
    pub most: u64,
    /// Plans of the first ones.
    first: Box<[PlanId]>,
    rest: PlanId,
    /// Steps that each element takes.
    pub each: u64,
}

#[derive(Debug)]
pub struct Fields {
    pub effort: Effort,
    least: u64,
    most: u64,
    /// Sorted by [`order`].
    named: Box<[Field]>,
    /// What all others must be.
    pub others: PlanId,
    /// What every name must be.
    pub names: PlanId,
    required: Marks,
    /// Members that ask for others.
    dependent: Box<[(usize, Marks)]>,
    /// Steps that each member takes.
    pub each: u64,
}

#[derive(Debug)]
struct Field {
    name: Box<str>,
    plan: PlanId,
}

/// A set of named members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u64; MAX_NAMED / 64]);

impl Plans {
    /// How that plan checks values of that kind.
    pub fn step(&self, id: PlanId, kind: Kind) -> &Step {
        if id == ANY {
            return &Step::Accept;
        }
        let steps = self.0.get(id as usize).map(|plan| &plan.steps);
        let step = steps.and_then(|steps| steps.get(kind as usize));
        step.unwrap_or(&Step::Refuse)
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What a value of that plan must be valid for.
    pub fn nodes(&self, id: PlanId) -> &[NodeId] {
        self.0
            .get(id as usize)
            .map_or(&[NOTHING], |plan| &plan.nodes)
    }
}

impl Elements {
    /// The plan of the element at that place.
    pub fn plan(&self, index: usize) -> PlanId {
        self.first.get(index).copied().unwrap_or(self.rest)
    }
}

impl Fields {
    /// The place and the plan of the member of that name.
    pub fn find(&self, name: &str) -> Option<(usize, PlanId)> {
        let found = self
            .named
            .binary_search_by(|field| order(&field.name, name));
        let at = found.ok()?;
        self.named.get(at).map(|field| (at, field.plan))
    }

    /// Whether an object may have so many members, with those named ones among them.
    pub fn hold(&self, marks: &Marks, length: u64) -> bool {
        let mut dependent = self.dependent.iter();
        (self.least..=self.most).contains(&length)
            && marks.hold_all(&self.required)
            && dependent.all(|(member, asked)| !marks.holds(*member) || marks.hold_all(asked))
    }
}

/// Shorter names come first: most comparisons end there.
fn order(one: &str, other: &str) -> std::cmp::Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl Marks {
    /// Adds one; whether it is new.
    pub fn add(&mut self, index: usize) -> bool {
        let Some(word) = self.0.get_mut(index / 64) else {
            return false;
        };
        let bit = 1 << (index % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn merge(&mut self, other: &Self) {
        for (held, more) in self.0.iter_mut().zip(&other.0) {
            *held |= more;
        }
    }

    fn holds(&self, index: usize) -> bool {
        let word = self.0.get(index / 64).copied().unwrap_or_default();
        word >> (index % 64) & 1 == 1
    }

    fn hold_all(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(own, asked)| own & asked == *asked)
    }
}

/// Makes the plans of those nodes.
pub fn plan(arena: &Arena, entries: &[NodeId]) -> (Plans, Vec<PlanId>) {
    let mut planner = Planner {
        nodes: &arena.nodes,
        plans: Vec::new(),
        known: BTreeMap::new(),
        planned: 0,
        most: arena.nodes.len() * 2 + 64,
    };
    planner.reserve(vec![ANYTHING]);
    planner.reserve(vec![NOTHING]);
    let ids = entries.iter().map(|entry| {
        // Dynamic references lead where the way that was taken says.
        if arena.dynamic.is_empty() {
            planner.id([*entry])
        } else {
            NONE
        }
    });
    let ids = ids.collect();
    planner.run();
    (Plans(planner.plans), ids)
}

struct Planner<'a> {
    nodes: &'a [Node],
    plans: Vec<Plan>,
    known: BTreeMap<Vec<NodeId>, PlanId>,
    /// How many plans have been worked out.
    planned: usize,
    /// Most plans: lists of nodes could otherwise combine without end.
    most: usize,
}

/// Why nodes need no closer look.
enum Stop {
    Refuse,
    Whole,
}

/// What nodes ask of values of one kind.
struct Asked<'a> {
    kind: Kind,
    looked: usize,
    effort: Effort,
    whole: bool,
    rules: Vec<(NodeId, u32)>,
    least: u64,
    most: u64,
    items: Vec<&'a Items>,
    members: Vec<&'a Members>,
    names: Vec<NodeId>,
    required: Vec<&'a Names>,
    dependent: Vec<&'a (Box<str>, Names)>,
}

impl<'a> Planner<'a> {
    fn run(&mut self) {
        while let Some(plan) = self.plans.get(self.planned) {
            let nodes = plan.nodes.clone();
            let steps = Kind::ALL.map(|kind| self.step(&nodes, kind));
            if let Some(plan) = self.plans.get_mut(self.planned) {
                plan.steps = steps;
            }
            self.planned += 1;
        }
    }

    /// The plan of values that must be valid for each of the nodes. A node that is there twice
    /// counts twice, as it does where the value is checked as a whole.
    fn id(&mut self, nodes: impl IntoIterator<Item = NodeId>) -> PlanId {
        let mut nodes: Vec<_> = nodes.into_iter().filter(|id| *id != ANYTHING).collect();
        if nodes.is_empty() {
            return ANY;
        }
        if nodes.contains(&NOTHING) {
            return NONE;
        }
        nodes.sort_unstable();
        match self.known.get(&nodes) {
            Some(known) => *known,
            None => self.reserve(nodes),
        }
    }

    fn reserve(&mut self, nodes: Vec<NodeId>) -> PlanId {
        let id = self.plans.len() as PlanId;
        self.plans.push(Plan {
            nodes: nodes.clone().into(),
            steps: Default::default(),
        });
        self.known.insert(nodes, id);
        id
    }

    fn step(&mut self, nodes: &[NodeId], kind: Kind) -> Step {
        if nodes == [ANYTHING] {
            return Step::Accept;
        }
        let mut asked = Asked::of(kind);
        for id in nodes {
            match self.look(*id, 1, &mut asked) {
                Ok(()) => {}
                Err(Stop::Refuse) => return Step::Refuse,
                Err(Stop::Whole) => return Step::Whole,
            }
        }
        let parts = asked.items.len() + asked.members.len();
        if nodes.len() > MAX_LIST || parts > 0 && self.plans.len() > self.most {
            return Step::Whole;
        }
        match kind {
            Kind::Elements => self.elements(asked),
            Kind::Members => self.members(asked),
            _ => asked.scalar(),
        }
    }

    /// Collects what a node asks of values of one kind, and what it leads to for the same value.
    fn look(&self, id: NodeId, depth: usize, asked: &mut Asked<'a>) -> Result<(), Stop> {
        if !self.takes(id, asked.kind) {
            return Err(Stop::Refuse);
        }
        let Some(node) = self.nodes.get(id as usize) else {
            return Err(Stop::Refuse);
        };
        asked.looked += 1;
        if asked.looked > MAX_NODES {
            return Err(Stop::Whole);
        }
        asked.whole |= node.types.are_whole();
        if !node.rules.is_empty() {
            asked.effort.cost += node.cost;
        }
        asked.effort.nesting = asked.effort.nesting.max(depth);
        for (at, rule) in node.rules.iter().enumerate() {
            match rule {
                Rule::Ref(next) => self.look(*next, depth + 1, asked)?,
                Rule::AllOf(all) => {
                    for next in all {
                        self.look(*next, depth + 1, asked)?;
                    }
                }
                Rule::AnyOf(all) | Rule::OneOf(all) => {
                    let mut able = all.iter().filter(|next| self.takes(**next, asked.kind));
                    match (able.next(), able.next()) {
                        (None, _) => return Err(Stop::Refuse),
                        (Some(only), None) => self.look(*only, depth + 1, asked)?,
                        _ => return Err(Stop::Whole),
                    }
                }
                Rule::If(branches) if !self.takes(branches.test, asked.kind) => {
                    self.look(branches.otherwise, depth + 1, asked)?;
                }
                Rule::Not(inner) if !self.takes(*inner, asked.kind) => {}
                Rule::If(_) | Rule::Not(_) | Rule::DynamicRef(..) => return Err(Stop::Whole),
                rule => asked.add(rule, (id, at as u32))?,
            }
        }
        Ok(())
    }

    /// Whether values of that kind may be valid for the node, as far as its types tell.
    fn takes(&self, id: NodeId, kind: Kind) -> bool {
        let types = self
            .nodes
            .get(id as usize)
            .map_or(Types::NONE, |node| node.types);
        id != NOTHING && types.take(kind)
    }

    fn elements(&mut self, asked: Asked<'a>) -> Step {
        let first = asked.items.iter().map(|items| items.first.len());
        let first = first.max().unwrap_or_default();
        if first > MAX_NAMED {
            return Step::Whole;
        }
        let first = (0..first).map(|index| {
            let nodes = asked.items.iter();
            self.id(nodes.filter_map(|items| items.first.get(index).copied().or(items.rest)))
        });
        Step::Elements(Box::new(Elements {
            first: first.collect(),
            rest: self.id(asked.items.iter().filter_map(|items| items.rest)),
            effort: asked.effort,
            least: asked.least,
            most: asked.most,
            each: asked.items.len() as u64,
        }))
    }

    fn members(&mut self, asked: Asked<'a>) -> Step {
        let names = asked.all_names();
        if names.len() > MAX_NAMED {
            return Step::Whole;
        }
        let marks = |list: &Names| {
            let mut marks = Marks::default();
            for name in list {
                if let Some(at) = find(&names, name) {
                    marks.add(at);
                }
            }
            marks
        };
        let mut required = Marks::default();
        for list in &asked.required {
            required.merge(&marks(list));
        }
        let dependent = asked.dependent.iter();
        let dependent =
            dependent.filter_map(|(name, list)| Some((find(&names, name)?, marks(list))));
        Step::Members(Box::new(Fields {
            required,
            dependent: dependent.collect(),
            named: names
                .iter()
                .map(|name| Field {
                    name: (*name).into(),
                    plan: self.id(asked.nodes_of(name)),
                })
                .collect(),
            others: self.id(asked.members.iter().filter_map(|members| members.others)),
            names: self.id(asked.names.iter().copied()),
            effort: asked.effort,
            least: asked.least,
            most: asked.most,
            each: asked.members.len() as u64,
        }))
    }
}

fn find(names: &[&str], name: &str) -> Option<usize> {
    names.binary_search_by(|held| order(held, name)).ok()
}

impl<'a> Asked<'a> {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            looked: 0,
            effort: Effort::default(),
            whole: false,
            rules: Vec::new(),
            least: 0,
            most: u64::MAX,
            items: Vec::new(),
            members: Vec::new(),
            names: Vec::new(),
            required: Vec::new(),
            dependent: Vec::new(),
        }
    }

    /// Adds a rule that leads to no further node for the same value.
    fn add(&mut self, rule: &'a Rule, at: (NodeId, u32)) -> Result<(), Stop> {
        match rule {
            Rule::Nothing => return Err(Stop::Refuse),
            Rule::Const(expected) => return self.add_choice(Kind::of(expected) == self.kind, at),
            Rule::Enum(choices) => {
                let text = self.kind == Kind::Text && !choices.strings.is_empty();
                let mut others = choices.others.iter();
                let any = text || others.any(|choice| Kind::of(choice) == self.kind);
                return self.add_choice(any, at);
            }
            Rule::Choose(chosen) => {
                return match self.kind {
                    Kind::Members => Err(Stop::Whole),
                    Kind::Null if chosen.null => Ok(()),
                    _ => Err(Stop::Refuse),
                };
            }
            _ => {}
        }
        match self.kind {
            Kind::Null | Kind::Boolean => Ok(()),
            Kind::Number => self.add_number(rule, at),
            Kind::Text => self.add_text(rule, at),
            Kind::Elements => self.add_elements(rule),
            Kind::Members => self.add_members(rule),
        }
    }

    /// A list of values, with whether one is of this kind.
    fn add_choice(&mut self, any: bool, at: (NodeId, u32)) -> Result<(), Stop> {
        match self.kind {
            _ if !any => Err(Stop::Refuse),
            Kind::Elements | Kind::Members => Err(Stop::Whole),
            _ => {
                self.rules.push(at);
                Ok(())
            }
        }
    }

    fn add_number(&mut self, rule: &Rule, at: (NodeId, u32)) -> Result<(), Stop> {
        if matches!(rule, Rule::Bound(_) | Rule::MultipleOf(_)) {
            self.rules.push(at);
        }
        Ok(())
    }

    fn add_text(&mut self, rule: &Rule, at: (NodeId, u32)) -> Result<(), Stop> {
        if matches!(
            rule,
            Rule::MinLength(_)
                | Rule::MaxLength(_)
                | Rule::Pattern(_)
                | Rule::Format(_)
                | Rule::Encoded(_)
                | Rule::Json
        ) {
            self.rules.push(at);
        }
        Ok(())
    }

    fn add_elements(&mut self, rule: &'a Rule) -> Result<(), Stop> {
        match rule {
            Rule::MinItems(least) => self.least = self.least.max(*least),
            Rule::MaxItems(most) => self.most = self.most.min(*most),
            Rule::Items(items) => self.items.push(items),
            Rule::Unique | Rule::Contains(_) | Rule::UnevaluatedItems(_) => {
                return Err(Stop::Whole);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_members(&mut self, rule: &'a Rule) -> Result<(), Stop> {
        match rule {
            Rule::MinMembers(least) => self.least = self.least.max(*least),
            Rule::MaxMembers(most) => self.most = self.most.min(*most),
            Rule::Members(members) if members.patterns.is_empty() => self.members.push(members),
            Rule::Names(id) => self.names.push(*id),
            Rule::Required(names) => self.required.push(names),
            Rule::DependentRequired(all) => self.dependent.extend(all),
            Rule::Members(_) | Rule::DependentSchemas(_) | Rule::UnevaluatedMembers(_) => {
                return Err(Stop::Whole);
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(self) -> Step {
        let whole = self.whole && self.kind == Kind::Number;
        if self.effort.cost == 0 && !whole {
            return Step::Accept;
        }
        Step::Scalar(Box::new(Scalar {
            effort: self.effort,
            whole,
            rules: self.rules.into(),
        }))
    }

    /// Every name that something is asked of, sorted by [`order`].
    fn all_names(&self) -> Vec<&'a str> {
        let named = self.members.iter().flat_map(|members| &members.named);
        let dependent = self.dependent.iter();
        let asked = dependent.flat_map(|(name, names)| std::iter::once(name).chain(names));
        let mut names: Vec<&str> = named
            .map(|(name, _)| &**name)
            .chain(
                self.required
                    .iter()
                    .flat_map(|names| names.iter())
                    .map(|name| &**name),
            )
            .chain(asked.map(|name| &**name))
            .collect();
        names.sort_unstable_by(|one, other| order(one, other));
        names.dedup();
        names
    }

    /// What the member of that name must be.
    fn nodes_of(&self, name: &str) -> impl Iterator<Item = NodeId> {
        self.members.iter().filter_map(move |members| {
            let own = super::check::named(members, name);
            own.or(members.others)
        })
    }
}
