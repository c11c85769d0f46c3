//! Which route a request takes: host, path and method, matched on one normal form.
//!
//! A trie with one node a segment, one trie a host. Each node lies on one path from the root, so a
//! look-up visits it at most once, however hostile the request, and what it visits depends on the
//! request's own segments and labels: a policy of ten thousand routes costs what one of ten does.
//! (Only templates that differ in the text around a parameter of one segment, `{a}.json` and
//! `{a}.xml`, are tried one by one.) A literal beats a mixed segment, that a parameter, that the
//! rest of the path, from left to right, as OpenAPI 3.1 §4.8.8.2 asks ("concrete before templated").

pub mod host;
pub mod path;
pub mod template;

use std::collections::{BTreeSet, HashMap};

use host::HostPattern;
use path::Path;
use template::{Part, Template};

/// The methods of one template's routes.
#[derive(Clone, Debug, Default)]
struct Leaf {
    /// The names of the parameters belong to the route, since templates that differ only in them
    /// share a leaf.
    routes: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `None` takes every method that no other entry names.
    method: Option<String>,
    names: Vec<String>,
    route: usize,
    slashes: Slashes,
    /// It stands here for its template with or without a slash at the end; routes that are written
    /// so come first.
    implied: bool,
}

/// How a route takes paths that differ from its template in slashes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slashes {
    /// `/a/` is taken for `/a` and the other way round, unless a route is written so. Otherwise
    /// they are two paths.
    pub trailing_ignored: bool,
    /// `%2F` is a slash inside a parameter. Otherwise such a path is refused.
    pub encoded_kept: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<String, usize>,
    /// In order of precedence: more literal text first.
    mixed: Vec<(Vec<String>, usize)>,
    any: Option<usize>,
    rest: Option<Leaf>,
    here: Leaf,
}

/// The routes of one host pattern.
#[derive(Clone, Debug)]
struct Trie {
    nodes: Vec<Node>,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

/// Every route of a policy.
#[derive(Clone, Debug, Default)]
pub struct Router {
    exact: HashMap<String, Trie>,
    /// By the suffix, which begins with a dot.
    below: HashMap<String, Trie>,
    any: Trie,
}

/// The route taken, and its path parameters as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<'r, 'p> {
    /// Index of the route in the policy.
    pub route: usize,
    /// Name and percent-encoded value of each path parameter.
    pub params: Vec<(&'r str, &'p str)>,
}

/// Why no route was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route has this host and path.
    NotFound,
    /// Routes have this path, for these methods.
    Method(BTreeSet<String>),
    /// The path holds `%2F`, and no route that keeps it as it is takes the path.
    EncodedSlash,
    /// The path holds `;`, and a reader that drops it with what follows sees another route's path.
    PathParameter,
}

/// Two routes that no request could tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The route that was there first.
    pub with: usize,
}

impl Router {
    /// Adds a route. No `hosts` means any host, no `methods` any method.
    pub fn insert(
        &mut self,
        hosts: &[HostPattern],
        methods: &[String],
        template: &Template,
        slashes: Slashes,
        route: usize,
    ) -> Result<(), Conflict> {
        let hosts: Vec<Option<&HostPattern>> = match hosts {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        let methods: Vec<Option<&String>> = match methods {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        let implied = slashes.trailing_ignored.then(|| template.other_end());
        for host in hosts {
            for method in &methods {
                let entry = Entry {
                    method: method.cloned(),
                    names: template.names.clone(),
                    route,
                    slashes,
                    implied: false,
                };
                let trie = self.trie(host);
                trie.leaf(&template.segments).add(entry.clone())?;
                if let Some(Some(segments)) = &implied {
                    let implied = Entry {
                        implied: true,
                        ..entry
                    };
                    // Two of them conflict only where the routes themselves do.
                    let _ = trie.leaf(segments).add(implied);
                }
            }
        }
        Ok(())
    }

    fn trie(&mut self, host: Option<&HostPattern>) -> &mut Trie {
        match host {
            Some(HostPattern::Exact(name)) => self.exact.entry(name.clone()).or_default(),
            Some(HostPattern::Below(suffix)) => self.below.entry(suffix.clone()).or_default(),
            None => &mut self.any,
        }
    }

    /// The tries that a host's requests may find their route in, the nearest first: the exact
    /// host, wildcards from long to short, any host.
    fn tries<'r>(&'r self, host: Option<&str>) -> impl Iterator<Item = &'r Trie> {
        let exact = host.and_then(|host| self.exact.get(host));
        let suffixes = host.into_iter().flat_map(host::suffixes);
        let below = suffixes.filter_map(|suffix| {
            visit();
            self.below.get(suffix)
        });
        exact.into_iter().chain(below).chain([&self.any])
    }

    /// Finds the route of a request whose path has been split by [`path::parse`].
    ///
    /// `HEAD` takes `GET`'s route where it has none of its own (RFC 9110 §9.3.2).
    pub fn find<'r, 'p>(
        &'r self,
        authority: &[u8],
        method: &str,
        path: &Path<'p>,
    ) -> Result<Taken<'r, 'p>, Miss> {
        let authority = host::normal(authority);
        let host = authority.as_deref();
        let found = self.search(host, method, path);
        if path.encoded_slash
            && !found
                .as_ref()
                .is_ok_and(|(entry, _)| entry.slashes.encoded_kept)
        {
            return Err(Miss::EncodedSlash);
        }
        if let Some(other) = path.without_parameters() {
            let other = self.search(host, method, &other);
            let routes = [&found, &other].map(|found| match found {
                Ok((entry, _)) => Ok(entry.route),
                Err(miss) => Err(miss),
            });
            if routes[0] != routes[1] && routes[1] != Err(&Miss::NotFound) {
                return Err(Miss::PathParameter);
            }
        }
        let (entry, trail) = found?;
        Ok(Taken {
            route: entry.route,
            params: entry.names.iter().map(String::as_str).zip(trail).collect(),
        })
    }

    fn search<'r, 'p>(
        &'r self,
        host: Option<&str>,
        method: &str,
        path: &Path<'p>,
    ) -> Result<(&'r Entry, Vec<&'p str>), Miss> {
        let mut allowed = BTreeSet::new();
        let mut seen = false;
        for trie in self.tries(host) {
            let Some((leaf, trail)) = trie.find(path) else {
                continue;
            };
            seen = true;
            if let Some(entry) = leaf.entry(method) {
                return Ok((entry, trail));
            }
            allowed.extend(leaf.methods());
        }
        Err(if seen {
            Miss::Method(allowed)
        } else {
            Miss::NotFound
        })
    }
}

impl Leaf {
    fn add(&mut self, entry: Entry) -> Result<(), Conflict> {
        let same = |held: &&Entry| held.method == entry.method && held.implied == entry.implied;
        match self.routes.iter().find(same) {
            Some(held) => Err(Conflict { with: held.route }),
            None => {
                self.routes.push(entry);
                Ok(())
            }
        }
    }

    fn entry(&self, method: &str) -> Option<&Entry> {
        self.entry_among(method, false)
            .or_else(|| self.entry_among(method, true))
    }

    fn entry_among(&self, method: &str, implied: bool) -> Option<&Entry> {
        let mut routes = self.routes.iter().filter(|entry| entry.implied == implied);
        let named = |name: &str| {
            let mut routes = routes.clone();
            routes.find(|entry| entry.method.as_deref() == Some(name))
        };
        named(method)
            .or_else(|| (method == "HEAD").then(|| named("GET")).flatten())
            .or_else(|| routes.find(|entry| entry.method.is_none()))
    }

    fn methods(&self) -> impl Iterator<Item = String> {
        let named = self.routes.iter().filter_map(|entry| entry.method.clone());
        let head = self.entry("GET").is_some().then(|| "HEAD".to_owned());
        named.chain(head)
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "node numbers come from `push` and nodes are never removed"
)]
impl Trie {
    /// The leaf of a template, made where it is not there yet.
    fn leaf(&mut self, parts: &[Part]) -> &mut Leaf {
        let mut at = 0;
        for part in parts {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match part {
                Part::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Part::Any => *node.any.get_or_insert(next),
                Part::Mixed(literals) => match node.mixed.iter().find(|(held, _)| held == literals)
                {
                    Some((_, child)) => *child,
                    None => {
                        let weight = |l: &[String]| l.iter().map(String::len).sum::<usize>();
                        let place = node
                            .mixed
                            .partition_point(|(held, _)| weight(held) >= weight(literals));
                        node.mixed.insert(place, (literals.clone(), next));
                        next
                    }
                },
                Part::Rest => return self.nodes[at].rest.get_or_insert_default(),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        &mut self.nodes[at].here
    }

    fn find<'p>(&self, path: &Path<'p>) -> Option<(&Leaf, Vec<&'p str>)> {
        let mut trail = Vec::new();
        let leaf = self.walk(0, path, 0, &mut trail)?;
        Some((leaf, trail))
    }

    /// Walks down from node `at` with the segments from `depth` on; `trail` holds the parameters met
    /// on the way. The recursion is as deep as the path, so at most [`path::MAX_SEGMENTS`].
    fn walk<'p>(
        &self,
        at: usize,
        path: &Path<'p>,
        depth: usize,
        trail: &mut Vec<&'p str>,
    ) -> Option<&Leaf> {
        visit();
        let node = &self.nodes[at];
        let Some(segment) = path.segments.get(depth) else {
            return (!node.here.routes.is_empty()).then_some(&node.here);
        };
        let met = trail.len();
        let mut step = |child: usize, taken: &mut dyn Iterator<Item = &'p str>| {
            trail.extend(taken);
            let leaf = self.walk(child, path, depth + 1, trail);
            if leaf.is_none() {
                trail.truncate(met);
            }
            leaf
        };
        if let Some(child) = node.literals.get(segment.text.as_ref())
            && let Some(leaf) = step(*child, &mut std::iter::empty())
        {
            return Some(leaf);
        }
        for (literals, child) in &node.mixed {
            visit();
            if let Some(ranges) = template::match_mixed(literals, &segment.text)
                && let Some(leaf) = step(
                    *child,
                    &mut ranges
                        .iter()
                        .map(|(start, end)| segment.raw_range(*start, *end)),
                )
            {
                return Some(leaf);
            }
        }
        if segment.text.is_empty() {
            return None;
        }
        if let Some(child) = node.any
            && let Some(leaf) = step(child, &mut std::iter::once(segment.raw))
        {
            return Some(leaf);
        }
        let leaf = node.rest.as_ref()?;
        trail.push(path.from_segment(depth));
        Some(leaf)
    }
}

/// Counts what a look-up looks at, for the test that it does not grow with the policy.
fn visit() {
    #[cfg(test)]
    tests::VISITED.with(|visited| visited.set(visited.get() + 1));
}

#[cfg(test)]
mod tests;
