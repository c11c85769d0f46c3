//! Which route a request takes: host, path and method, matched on one normal form.
//!
//! A trie with one node a segment. Each node lies on one path from the root, so a look-up visits it
//! at most once, however hostile the request, and a policy of ten thousand routes costs what one of
//! ten does. A literal beats a mixed segment, that a parameter, that the rest of the path, from left
//! to right, as OpenAPI 3.1 §4.8.8.2 asks ("concrete before templated").

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
    host: Option<HostPattern>,
    nodes: Vec<Node>,
}

/// Every route of a policy.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// In order of precedence: exact hosts, wildcards from long to short, any host.
    tries: Vec<Trie>,
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
        route: usize,
    ) -> Result<(), Conflict> {
        let hosts: Vec<Option<&HostPattern>> = match hosts {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        for host in hosts {
            let leaf = self.trie(host).leaf(&template.segments);
            let methods: Vec<Option<&String>> = match methods {
                [] => vec![None],
                some => some.iter().map(Some).collect(),
            };
            for method in methods {
                if let Some(held) = leaf.routes.iter().find(|e| e.method.as_ref() == method) {
                    return Err(Conflict { with: held.route });
                }
                leaf.routes.push(Entry {
                    method: method.cloned(),
                    names: template.names.clone(),
                    route,
                });
            }
        }
        Ok(())
    }

    fn trie(&mut self, host: Option<&HostPattern>) -> &mut Trie {
        let at = match self
            .tries
            .iter()
            .position(|trie| trie.host.as_ref() == host)
        {
            Some(at) => at,
            None => {
                let rank = |host: Option<&HostPattern>| host.map_or((2, 0), HostPattern::rank);
                let at = self
                    .tries
                    .partition_point(|trie| rank(trie.host.as_ref()) <= rank(host));
                self.tries.insert(
                    at,
                    Trie {
                        host: host.cloned(),
                        nodes: vec![Node::default()],
                    },
                );
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "`at` was just found or filled")]
        &mut self.tries[at]
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
        let mut allowed = BTreeSet::new();
        let mut seen = false;
        for trie in &self.tries {
            if let Some(pattern) = &trie.host
                && !authority
                    .as_deref()
                    .is_some_and(|host| pattern.matches(host))
            {
                continue;
            }
            let Some((leaf, trail)) = trie.find(path) else {
                continue;
            };
            seen = true;
            if let Some(entry) = leaf.entry(method) {
                return Ok(Taken {
                    route: entry.route,
                    params: entry.names.iter().map(String::as_str).zip(trail).collect(),
                });
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
    fn entry(&self, method: &str) -> Option<&Entry> {
        let named = |name: &str| {
            self.routes
                .iter()
                .find(|entry| entry.method.as_deref() == Some(name))
        };
        named(method)
            .or_else(|| (method == "HEAD").then(|| named("GET")).flatten())
            .or_else(|| self.routes.iter().find(|entry| entry.method.is_none()))
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn router(routes: &[(&str, &str, &str)]) -> Router {
        let mut router = Router::default();
        for (index, (host, methods, template)) in routes.iter().enumerate() {
            let hosts: Vec<_> = host
                .split_whitespace()
                .map(|host| HostPattern::parse(host).unwrap())
                .collect();
            let methods: Vec<_> = methods.split_whitespace().map(str::to_owned).collect();
            let template = Template::parse(template).unwrap();
            router.insert(&hosts, &methods, &template, index).unwrap();
        }
        router
    }

    fn find(
        router: &Router,
        host: &str,
        method: &str,
        target: &str,
    ) -> Result<(usize, String), Miss> {
        let path = path::parse(target.as_bytes()).unwrap();
        router.find(host.as_bytes(), method, &path).map(|taken| {
            let params: Vec<_> = taken
                .params
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect();
            (taken.route, params.join(" "))
        })
    }

    fn methods(names: &[&str]) -> Miss {
        Miss::Method(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn concrete_comes_before_templated_from_left_to_right() {
        let router = router(&[
            ("", "GET", "/{a}/x"),
            ("", "GET", "/p/{b}"),
            ("", "GET", "/p/x"),
            ("", "GET", "/p/{n}.json"),
            ("", "GET", "/p/long-{n}.json"),
            ("", "GET", "/{rest=**}"),
        ]);
        for (target, route, params) in [
            ("/p/x", 2, ""),
            ("/p/y", 1, "b=y"),
            ("/p/y.json", 3, "n=y"),
            ("/p/long-y.json", 4, "n=y"),
            ("/q/x", 0, "a=q"),
            ("/q/y/z%40", 5, "rest=q/y/z%40"),
            ("/p/x/z", 5, "rest=p/x/z"),
            ("/%70/x", 2, ""),
        ] {
            assert_eq!(
                find(&router, "", "GET", target),
                Ok((route, params.into())),
                "{target}"
            );
        }
        assert_eq!(find(&router, "", "GET", "/"), Err(Miss::NotFound));
    }

    #[test]
    fn a_trailing_slash_is_another_path() {
        let router = router(&[
            ("", "GET", "/a"),
            ("", "GET", "/b/"),
            ("", "GET", "/c/{id}"),
        ]);
        assert_eq!(find(&router, "", "GET", "/a/"), Err(Miss::NotFound));
        assert_eq!(find(&router, "", "GET", "/b"), Err(Miss::NotFound));
        assert_eq!(find(&router, "", "GET", "/b/"), Ok((1, String::new())));
        assert_eq!(find(&router, "", "GET", "/c/"), Err(Miss::NotFound));
    }

    #[test]
    fn methods_fall_back_as_http_says_and_misses_list_the_rest() {
        let router = router(&[
            ("", "GET", "/a"),
            ("", "PUT DELETE", "/a"),
            ("", "", "/any"),
            ("", "POST", "/any"),
            ("", "POST", "/a/special"),
            ("", "GET", "/a/{id}"),
        ]);
        assert_eq!(find(&router, "", "HEAD", "/a").unwrap().0, 0);
        assert_eq!(
            find(&router, "", "POST", "/a"),
            Err(methods(&["DELETE", "GET", "HEAD", "PUT"]))
        );
        assert_eq!(
            find(&router, "", "get", "/a"),
            Err(methods(&["DELETE", "GET", "HEAD", "PUT"]))
        );
        assert_eq!(find(&router, "", "POST", "/any").unwrap().0, 3);
        assert_eq!(find(&router, "", "BREW", "/any").unwrap().0, 2);
        assert_eq!(
            find(&router, "", "GET", "/a/special"),
            Err(methods(&["POST"]))
        );
    }

    #[test]
    fn the_nearer_host_wins_and_the_others_fill_in() {
        let router = router(&[
            ("", "GET", "/a"),
            ("*.example.com", "GET", "/a"),
            ("api.example.com", "GET", "/a"),
            ("*.eu.example.com", "GET", "/a"),
            ("", "GET", "/b"),
        ]);
        for (host, route) in [
            ("other.test", 0),
            ("", 0),
            ("x.example.com", 1),
            ("API.example.com:8443", 2),
            ("api.example.com.", 2),
            ("x.eu.example.com", 3),
            ("example.com", 0),
        ] {
            assert_eq!(find(&router, host, "GET", "/a").unwrap().0, route, "{host}");
        }
        assert_eq!(find(&router, "api.example.com", "GET", "/b").unwrap().0, 4);
    }

    #[test]
    fn routes_that_no_request_can_tell_apart_conflict() {
        let mut router = router(&[("", "GET", "/a/{id}")]);
        let template = Template::parse("/a/{other}").unwrap();
        assert_eq!(router.insert(&[], &["POST".into()], &template, 1), Ok(()));
        assert_eq!(
            router.insert(&[], &["GET".into()], &template, 2),
            Err(Conflict { with: 0 })
        );
    }

    #[test]
    fn no_path_makes_the_walk_go_twice_through_a_node() {
        // Literal and parameter at each level: 2^16 leaves would be walked by a naive search.
        let mut routes = Vec::new();
        for bits in 0..256u32 {
            let template: String = (0..8)
                .map(|level| {
                    if bits >> level & 1 == 1 {
                        "/a".to_owned()
                    } else {
                        format!("/{{p{level}}}")
                    }
                })
                .collect();
            routes.push(template + "/end");
        }
        let list: Vec<_> = routes
            .iter()
            .map(|template| ("", "GET", template.as_str()))
            .collect();
        let router = router(&list);
        assert_eq!(
            find(&router, "", "GET", &("/a".repeat(8) + "/end"))
                .unwrap()
                .0,
            255
        );
        assert_eq!(
            find(&router, "", "GET", &("/a".repeat(8) + "/other")),
            Err(Miss::NotFound)
        );
    }
}
