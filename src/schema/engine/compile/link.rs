//! The last steps over all nodes: which are used, and whether checks come to an end.

use std::collections::BTreeMap;

use crate::schema::engine::node::{NOTHING, Node, NodeId, ResourceId, Rule, Types};

type Dynamic = BTreeMap<(ResourceId, u32), NodeId>;

/// A node from which references for the same value lead back to it.
pub fn endless(nodes: &mut [Node]) -> Option<NodeId> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; nodes.len()];
    for root in 0..nodes.len() {
        // On a stack of our own: chains of references may be long.
        let mut stack = vec![root];
        while let Some(&at) = stack.last() {
            let Some(state) = states.get_mut(at) else {
                break;
            };
            match *state {
                State::New => *state = State::Open,
                State::Open => *state = State::Done,
                State::Done => {}
            }
            if *state == State::Done {
                stack.pop();
                continue;
            }
            for next in same_value(nodes, at) {
                match states.get(next as usize) {
                    Some(State::Open) => return Some(next),
                    Some(State::New) => stack.push(next as usize),
                    _ => {}
                }
            }
        }
    }
    None
}

fn same_value(nodes: &mut [Node], at: usize) -> Vec<NodeId> {
    let mut next = Vec::new();
    if let Some(node) = nodes.get_mut(at) {
        for rule in &mut node.rules {
            rule.edges(&mut |id, same| {
                if same {
                    next.push(*id);
                }
            });
        }
    }
    next
}

/// Lets everything that leads to a node which is nothing but a reference lead on. Not where there
/// are dynamic references: the node may stand for a resource on their way.
pub fn skip_references(nodes: &mut [Node], entries: &mut [NodeId], dynamic: &mut Dynamic) {
    if !dynamic.is_empty() {
        return;
    }
    let leads: Vec<NodeId> = (0..nodes.len() as NodeId)
        .map(|id| {
            let mut last = id;
            // References never lead back, so this ends.
            while let Some(next) = nodes.get(last as usize).and_then(only_reference) {
                last = next;
            }
            last
        })
        .collect();
    rename(nodes, entries, dynamic, &leads);
}

fn only_reference(node: &Node) -> Option<NodeId> {
    match node.rules.as_ref() {
        [Rule::Ref(next)] if node.types == Types::ALL => Some(*next),
        _ => None,
    }
}

/// Drops nodes that no entry leads to.
pub fn keep_reachable(nodes: &mut Vec<Node>, entries: &mut [NodeId], dynamic: &mut Dynamic) {
    let mut reached = vec![false; nodes.len()];
    let mut next: Vec<NodeId> = entries.to_vec();
    next.extend(0..=NOTHING);
    next.extend(dynamic.values());
    while let Some(id) = next.pop() {
        let (Some(seen), Some(node)) = (reached.get_mut(id as usize), nodes.get_mut(id as usize))
        else {
            continue;
        };
        if !std::mem::replace(seen, true) {
            for rule in &mut node.rules {
                rule.edges(&mut |id, _| next.push(*id));
            }
        }
    }
    let mut count = 0;
    let names: Vec<NodeId> = reached
        .iter()
        .map(|reached| {
            let name = count;
            count += NodeId::from(*reached);
            name
        })
        .collect();
    rename(nodes, entries, dynamic, &names);
    let mut reached = reached.into_iter();
    nodes.retain(|_| reached.next().unwrap_or_default());
    nodes.shrink_to_fit();
}

fn rename(nodes: &mut [Node], entries: &mut [NodeId], dynamic: &mut Dynamic, names: &[NodeId]) {
    let rename = |id: &mut NodeId| {
        if let Some(name) = names.get(*id as usize) {
            *id = *name;
        }
    };
    for node in nodes {
        for rule in &mut node.rules {
            rule.edges(&mut |id, _| rename(id));
        }
    }
    entries.iter_mut().for_each(rename);
    dynamic.values_mut().for_each(rename);
}
