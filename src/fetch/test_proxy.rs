//! A proxy whose shared data and calls a test looks into.

use std::collections::HashMap;

use crate::host::{Counter, HostError, KeyHost, Request};

/// What the VMs of a proxy share, and what they asked for.
pub struct Proxy {
    /// Value and number of each name that is shared.
    pub shared: HashMap<String, (Vec<u8>, u32)>,
    swaps: u32,
    /// Calls in order, as `told` writes them.
    pub calls: Vec<String>,
    told: fn(&Request<'_>) -> String,
    pub counted: Vec<String>,
    /// Every host call fails.
    pub broken: bool,
    /// Calls cannot be sent.
    pub unreachable: bool,
}

impl Proxy {
    pub fn new(told: fn(&Request<'_>) -> String) -> Self {
        Self {
            shared: HashMap::new(),
            swaps: 0,
            calls: Vec::new(),
            told,
            counted: Vec::new(),
            broken: false,
            unreachable: false,
        }
    }

    fn works(&self) -> Result<(), HostError> {
        if self.broken { Err(HostError) } else { Ok(()) }
    }
}

/// Cluster and URL of a call.
pub fn address(request: &Request<'_>) -> String {
    format!(
        "{} {}://{}{}",
        request.cluster, request.scheme, request.authority, request.target
    )
}

impl KeyHost for Proxy {
    fn shared(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        self.works().map(|()| self.shared.get(name).cloned())
    }

    fn set_shared(
        &mut self,
        name: &str,
        value: &[u8],
        swap: Option<u32>,
    ) -> Result<bool, HostError> {
        self.works()?;
        let held = self.shared.get(name).map(|(_, number)| *number);
        if swap.is_some() && swap != held {
            return Ok(false);
        }
        self.swaps += 1;
        self.shared
            .insert(name.to_owned(), (value.to_vec(), self.swaps));
        Ok(true)
    }

    fn call(&mut self, request: &Request<'_>) -> Result<u32, HostError> {
        self.works()?;
        if self.unreachable {
            return Err(HostError);
        }
        self.calls.push((self.told)(request));
        Ok(self.calls.len() as u32)
    }

    fn chance(&mut self) -> u64 {
        7
    }

    fn count(&mut self, counter: Counter) {
        self.counted.push(counter.name());
    }
}
